"""`manage.py jobs_work default`: claims jobs and runs them."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from django.core.checks import Tags
from django.core.management.base import CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ...backends import Backend
from ...conf import ISOLATIONS, SHOWS, conf
from ...exceptions import InvalidDefinition, StoreUnavailable
from ...maintenance.cleanup import expire
from ...maintenance.reap import reap
from ...maintenance.stats import backlog
from ...worker.assembly import WorkerOptions, assemble, isolation_of
from ...worker.console import MOST_COUNTED
from ...worker.coordinator import Limits
from ...worker.housekeeping import Chore
from ...worker.interrupts import Patience
from ...worker.order import Asked, Order
from ...worker.reload import Start
from ...worker.shows import console_for, has_rich, has_terminal
from ...worker.stopping import StopSignals
from ..base import JobsCommand

BACKLOG_SECONDS = 2.0


def at_least(low: float, kind: type[int] | type[float] = int) -> Any:
    """An argparse type: a number of at least `low`."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise ArgumentTypeError(_("%(text)r is not a number") % {"text": text[:80]}) from None
        if not low <= value < 1e9:
            raise ArgumentTypeError(_("%(text)s is not at least %(low)g") % {"text": text[:80], "low": low})
        return value

    return parse


def queues_asked(text: str) -> list[Asked]:
    """Queues, prefixes and weights with commas between."""
    try:
        return [Asked.parse(part.strip()) for part in text.split(",")]
    except InvalidDefinition as error:
        raise ArgumentTypeError(str(error)) from None


class Command(JobsCommand):
    """Work until told to stop."""

    about = gettext_lazy("Claim the jobs of the given queues and run them, until told to stop.")
    # Those of the site's pages would load its URLs, views and templates, 4 MB that no worker needs.
    requires_system_checks = ("django_jobs", Tags.models)

    def add_arguments(self, parser: ArgumentParser) -> None:
        add, seconds = parser.add_argument, _("SECONDS")
        add(
            "names",
            nargs="*",
            type=queues_asked,
            metavar="queue",
            help=_(
                "The queues, served in this order; mail.* is every queue whose name starts with 'mail.', and mail:3 "
                "has three shares beside a queue with one. Default: those of JOBS_QUEUES."
            ),
        )
        add(
            *("--queue", "--queues"),
            dest="queues",
            action="extend",
            type=queues_asked,
            metavar="Q",
            help=_("A queue too. May be repeated, or be several names with commas between."),
        )
        add("--fair", action="store_true", help=_("Serve the queues in turn, instead of one before the other."))
        self.add_backend(parser)
        add(
            "--max-workers",
            type=at_least(1),
            metavar="N",
            help=_("How many children run jobs. Default: the biggest max_workers of the queues."),
        )
        add(
            "--isolation",
            choices=ISOLATIONS,
            help=_("Where jobs run: in children, or in this process. Default: as the first queue says."),
        )
        add(
            "--sleep",
            type=at_least(0.01, float),
            metavar=seconds,
            help=_("How long to wait between polls when idle. Default: JOBS_POLL_INTERVAL."),
        )
        add("--once", action="store_true", help=_("Claim one job, run it in this process, settle it, and exit."))
        add(
            "--max",
            type=at_least(0),
            metavar="N",
            help=_("Exit after so many cycles of one job each, run in this process; 0 is no limit."),
        )
        add("--max-jobs", type=at_least(1), metavar="N", help=_("Exit after so many jobs."))
        add("--max-time", "--cooldown", type=at_least(0, float), metavar=seconds, help=_("Exit after this long."))
        add(
            "--max-memory",
            type=at_least(1, float),
            metavar="MB",
            help=_("Exit when the coordinator is bigger than this."),
        )
        add("--stop-when-empty", action="store_true", help=_("Exit when nothing waits, or is due within seconds."))
        add(
            "--show",
            choices=SHOWS,
            help=_("What to print of the jobs; tui is a live view on a terminal. Default: JOBS_SHOW."),
        )
        add("--json", dest="show", action="store_const", const="json", help=_("A line of JSON for each job."))

    start: Start | None = None
    stop_signals: StopSignals | None = None

    def run_from_argv(self, argv: list[str]) -> None:
        # As early as a command can: from here on a signal ends the worker as one later does.
        self.stop_signals = StopSignals()
        self.stop_signals.install()
        self.start = Start.of_this_process()
        super().run_from_argv(argv)

    def run(self, **options: Any) -> None:
        backend = self.backend(options)
        given = [asked for some in (*options["names"], options["queues"] or []) for asked in some]
        order = Order(given or [Asked(name) for name in conf.queue_names()], options["fair"])
        self.check_backend(backend)
        asked = WorkerOptions(
            max_workers=options["max_workers"],
            isolation=options["isolation"],
            poll_interval=options["sleep"],
            limits=Limits(
                cycles=1 if options["once"] else options["max"] or None,
                jobs=options["max_jobs"],
                seconds=options["max_time"],
                memory_mb=options["max_memory"],
                when_empty=options["stop_when_empty"],
            ),
            stop_signals=self.stop_signals,
        )
        self.note(order, asked)
        chores = [
            Chore("reap", conf.reap_interval, partial(reap, backend)),
            Chore("expire", conf.cleanup_interval, partial(expire, backend)),
        ]
        show = self.showable(options["show"] or conf.show)
        with console_for(show, detail=options["verbosity"], coloured=self.coloured(options)) as console:
            if show == "tui":
                chores.append(Chore("backlog", BACKLOG_SECONDS, lambda: console.backlog(self.waiting(backend, order))))
            assemble(backend, order, replace(asked, console=console), chores).run()
        self.end_or_start_anew()

    def waiting(self, backend: Backend, order: Order) -> dict[str, int]:
        """How many jobs wait in each queue that is served."""
        return backlog(backend, order.names, MOST_COUNTED + 1)

    def showable(self, show: str) -> str:
        """What can be shown here of what is asked for."""
        if show != "tui":
            return show
        if has_terminal() and not has_rich():
            self.stderr.write(
                _("Note: lines are printed, as rich is not installed: pip install 'django-jobs-queue[tui]'")
            )
        return "tui" if has_terminal() and has_rich() else "lines"

    def coloured(self, options: dict[str, Any]) -> bool | None:
        """Whether colours are wanted; None where the terminal and the environment decide."""
        return False if options["no_color"] else True if options["force_color"] else None

    def end_or_start_anew(self) -> None:
        """Where the process is the worker's own: its last step."""
        if self.stop_signals is None or self.start is None:
            return
        self.stop_signals.hold()  # a stop that came until now counts, and one that comes later finds the next program
        if self.stop_signals.wants_reload:
            try:
                self.start.again()
            except OSError as error:
                raise CommandError(_("The worker could not start anew: %(error)s") % {"error": error}) from error

    def check_backend(self, backend: Backend) -> None:
        """End with 1 where there is nothing to work on."""
        facts = {"backend": backend.alias}
        if not backend.supports.claim:
            raise CommandError(_("The backend '%(backend)s' keeps no jobs, so there is nothing to work on.") % facts)
        if not backend.supports.shared:
            raise CommandError(
                _("The backend '%(backend)s' keeps its jobs in the process that made them, not here.") % facts
            )
        with suppress(StoreUnavailable), Patience(conf.lease_seconds / 2):  # one that is away is waited for
            if problem := backend.not_ready():
                raise CommandError(problem)

    def note(self, order: Order, asked: WorkerOptions) -> None:
        """Say what was asked for and has no effect."""
        for name in order.names:
            if name not in conf.queue_names():
                self.stderr.write(_("Note: the queue '%(queue)s' is not in JOBS_QUEUES.") % {"queue": name})
        if asked.max_workers is not None and isolation_of(order, asked) == "inline":
            self.stderr.write(
                _("Note: --max-workers is ignored, as the jobs run in this process, one after the other.")
            )
