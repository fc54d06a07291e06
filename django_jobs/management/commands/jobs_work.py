"""`manage.py jobs_work default`: claims jobs and runs them."""

from __future__ import annotations

from argparse import ArgumentTypeError
from functools import partial
from typing import Any

from django.core.checks import Tags
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...backends import get_backend
from ...conf import ISOLATIONS, SHOWS, conf
from ...exceptions import InvalidDefinition
from ...maintenance.cleanup import expire
from ...maintenance.reap import reap
from ...names import check_queue
from ...worker.assembly import WorkerOptions, assemble
from ...worker.coordinator import Chore, Limits
from ...worker.interrupts import StopSignals


def at_least(low: float, kind: type[int] | type[float] = int) -> Any:
    """An argparse type: a number of at least `low`."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is not a number") from None
        if not low <= value < 1e9:
            raise ArgumentTypeError(f"{text} is not at least {low:g}")
        return value

    return parse


class Command(BaseCommand):
    help = "Claim the jobs of the given queues and run them, until told to stop."
    # Those of the site's pages would load its URLs, views and templates, 4 MB that no worker needs.
    requires_system_checks = ("django_jobs", Tags.models)

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("queues", nargs="*", help="queues, served in this order; none: those of JOBS_QUEUES")
        add("--queue", "--queues", dest="more", action="append", default=[], metavar="A,B", help="queues, with commas")
        add("--backend", help="an alias of JOBS_BACKENDS")
        add("--max-workers", type=at_least(1), help="children; default: max_workers of the queues")
        add("--isolation", choices=ISOLATIONS, help="where jobs run; default: the isolation of the first queue")
        add("--sleep", type=at_least(0.01, float), metavar="SECONDS", help="how long to wait between polls when idle")
        add("--once", action="store_true", help="claim one job, settle it, and exit")
        add("--max", type=at_least(0), metavar="N", help="so many cycles of one job each; 0: no limit")
        add("--max-jobs", type=at_least(1), metavar="N", help="exit after so many jobs")
        add("--max-time", "--cooldown", type=at_least(0, float), metavar="SECONDS", help="exit after this long")
        add("--max-memory", type=at_least(1, float), metavar="MB", help="exit when the coordinator is bigger than this")
        add("--stop-when-empty", action="store_true", help="exit when nothing is waiting, or due within seconds")
        add("--show", choices=SHOWS, help="what to print; default: JOBS_SHOW")

    def handle(self, *args: Any, **options: Any) -> None:
        stop_signals = None
        if getattr(self, "_called_from_command_line", False):
            stop_signals = StopSignals()
            stop_signals.install()  # now: a signal during the start ends the worker as one later does
        try:
            backend = get_backend(options["backend"])
            queues = [name.strip() for text in (*options["queues"], *options["more"]) for name in text.split(",")]
            queues = [check_queue(name) for name in dict.fromkeys(queues) if name] or conf.queue_names()
        except (ImproperlyConfigured, InvalidDefinition) as error:
            raise CommandError(str(error), returncode=2) from error
        if not backend.supports.claim:
            raise CommandError(f"The backend {backend.alias!r} keeps no jobs, so there is nothing to work on.")
        if not backend.supports.shared:
            raise CommandError(f"The backend {backend.alias!r} keeps its jobs in the process that made them, not here.")
        for name in queues:
            if name not in conf.queue_names():
                self.stderr.write(f"Note: the queue {name!r} is not in JOBS_QUEUES.")
        if problem := backend.not_ready():
            raise CommandError(problem)
        cycles = 1 if options["once"] else options["max"] or None
        limits = Limits(
            cycles=cycles,
            jobs=options["max_jobs"],
            seconds=options["max_time"],
            memory_mb=options["max_memory"],
            when_empty=options["stop_when_empty"],
        )
        chores = [
            Chore("reap", conf.reap_interval, partial(reap, backend)),
            Chore("expire", conf.cleanup_interval, partial(expire, backend)),
        ]
        asked = WorkerOptions(
            max_workers=options["max_workers"],
            isolation=options["isolation"],
            poll_interval=options["sleep"],
            show=options["show"],
            limits=limits,
            stop_signals=stop_signals,
        )
        assemble(backend, queues, asked, chores).run()
