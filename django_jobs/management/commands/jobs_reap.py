"""`jobs_reap`: give back what lost workers held."""

from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, InterfaceError, close_old_connections
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ...backends import Backend
from ...maintenance.reap import count_lost, reap, run_hooks_of
from ..base import JobsCommand, duration, queue_names, seconds_above_zero


class Command(JobsCommand):
    """Reap once, or again and again."""

    about = gettext_lazy(
        "Give back the jobs of workers that were lost. Workers do this by themselves; the lease of a worker decides "
        "whether it is lost."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="*", type=queue_names, metavar="queue", help=_("Only these queues."))
        self.add_queues(parser)
        parser.add_argument("--all", action="store_true", help=_("Every queue: the default without names."))
        parser.add_argument(
            "--visibility",
            type=duration,
            default=0.0,
            metavar="S",
            help=_(
                "Leave jobs that were claimed less than this long ago: seconds, or a text such as 10m. It is not what "
                "decides that a worker is lost: its lease is."
            ),
        )
        parser.add_argument(
            "--loop",
            type=seconds_above_zero,
            metavar="SECONDS",
            help=_("Go on for ever, with this pause between. SIGTERM and SIGINT end it."),
        )
        parser.add_argument("--dry-run", action="store_true", help=_("Change nothing; say how many there are."))
        self.add_json(parser)
        self.add_backend(parser)

    def run(self, **options: Any) -> None:
        given = [*options["names"], options["queues"] or []]
        names = list(dict.fromkeys(name for some in given for name in some))
        if names and options["all"]:
            self.usage_error(_("give the names of queues or --all, not both"))
        backend = self.backend(options)
        if options["loop"] is None:
            self.report(reap_counts(backend, names, options), names, options)
            return
        if options["dry_run"]:
            self.usage_error(_("a dry run does not go on for ever: give --dry-run or --loop"))
        with stop_signals() as stop:
            while not stop.is_set():
                self.reap_again(backend, names, options)
                stop.wait(options["loop"])

    def reap_again(self, backend: Backend, names: list[str], options: dict[str, Any]) -> None:
        """One round of the loop: a store that is away is waited for."""
        try:
            counts = reap_counts(backend, names, options)
        except (DatabaseError, InterfaceError) as error:
            self.complain(_("The database could not do that: %(error)s") % {"error": error})
        else:
            if counts:
                self.report(counts, sorted(counts), options)
        finally:
            close_old_connections()

    def report(self, counts: Counter[str], names: list[str], options: dict[str, Any]) -> None:
        """One line for each queue; with `--json`, one document."""
        if options["json"]:
            reaped = {name: counts[name] for name in names or sorted(counts)}
            self.print_json({"dry_run": options["dry_run"], "reaped": reaped, "total": counts.total()})
        else:
            for name in names or sorted(counts):
                text = _("Reaped %(n)d expired message(s) from queue '%(queue)s'.")
                if options["dry_run"]:
                    text = _("Would reap %(n)d job(s) from queue '%(queue)s'.")
                self.stdout.write(text % {"n": counts[name], "queue": name})
            if not names and not counts:
                self.stdout.write(_("No job was lost."))
        self.stdout.flush()


def reap_counts(backend: Backend, names: list[str], options: dict[str, Any]) -> Counter[str]:
    """How many were reaped, or would be, by queue."""
    if options["dry_run"]:
        return count_lost(backend, names or None, visibility=options["visibility"])
    settled = reap(backend, names or None, visibility=options["visibility"])
    run_hooks_of(settled)
    return Counter(settlement.claim.queue for settlement in settled)


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; the handlers that were there before come back at the end."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
