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
from ...maintenance.reap import reap, run_hooks_of
from ..base import JobsCommand, queue_names, seconds_above_zero


class Command(JobsCommand):
    """Reap once, or again and again."""

    about = gettext_lazy(
        "Give back the jobs of workers that were lost. Workers do this by themselves; the lease of a worker decides "
        "whether it is lost."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="*", type=queue_names, metavar="queue", help=_("Only these queues."))
        parser.add_argument("--all", action="store_true", help=_("Every queue: the default without names."))
        parser.add_argument(
            "--loop",
            type=seconds_above_zero,
            metavar="SECONDS",
            help=_("Go on for ever, with this pause between. SIGTERM and SIGINT end it."),
        )
        self.add_backend(parser)

    def run(self, **options: Any) -> None:
        names = list(dict.fromkeys(name for given in options["names"] for name in given))
        if names and options["all"]:
            self.usage_error(_("give the names of queues or --all, not both"))
        backend = self.backend(options)
        if options["loop"] is None:
            self.report(reap_counts(backend, names), names)
            return
        with stop_signals() as stop:
            while not stop.is_set():
                self.reap_again(backend, names)
                stop.wait(options["loop"])

    def reap_again(self, backend: Backend, names: list[str]) -> None:
        """One round of the loop: a store that is away is waited for."""
        try:
            counts = reap_counts(backend, names)
        except (DatabaseError, InterfaceError) as error:
            self.complain(_("The database could not do that: %(error)s") % {"error": error})
        else:
            if counts:
                self.report(counts, sorted(counts))
        finally:
            close_old_connections()

    def report(self, counts: Counter[str], names: list[str]) -> None:
        """One line for each queue."""
        for name in names or sorted(counts):
            text = _("Reaped %(n)d expired message(s) from queue '%(queue)s'.")
            self.stdout.write(text % {"n": counts[name], "queue": name})
        if not names and not counts:
            self.stdout.write(_("No job was lost."))
        self.stdout.flush()


def reap_counts(backend: Backend, names: list[str]) -> Counter[str]:
    """How many were reaped, by queue."""
    settled = reap(backend, names or None)
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
