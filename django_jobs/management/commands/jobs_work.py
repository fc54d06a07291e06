"""`manage.py jobs_work default`: claims jobs and runs them."""

from __future__ import annotations

import signal
from argparse import ArgumentParser, ArgumentTypeError, BooleanOptionalAction
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from django.core.checks import Tags
from django.core.management.base import CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ...backends import Backend, get_backend
from ...conf import ISOLATIONS, SHOWS, conf
from ...exceptions import StoreUnavailable
from ...maintenance.cleanup import expire
from ...maintenance.reap import reap
from ...maintenance.stats import backlog
from ...worker.assembly import WorkerOptions, assemble, isolation_of, supervise
from ...worker.background import Launch, write_to
from ...worker.console import MOST_COUNTED, Console
from ...worker.coordinator import Coordinator, Limits
from ...worker.housekeeping import Chore
from ...worker.interrupts import Patience, hear_of_the_end_of_the_parent
from ...worker.order import Asked, Order
from ...worker.pidfile import PidFile
from ...worker.reload import Start
from ...worker.shows import console_for, has_rich, has_terminal
from ...worker.stopping import StopSignals
from ...worker.supervisor import Supervisor
from ...worker.watch import Watch, has_watchfiles
from ..base import JobsCommand, queues_asked

W = TypeVar("W", covariant=True)
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


def backend_name(queue: str) -> str:
    """The alias of the backend that keeps a queue."""
    return conf.queue(queue).backend or conf.default_backend


def queues_of(backend: Backend) -> list[str]:
    """The queues of JOBS_QUEUES that this backend keeps; all of them where it keeps none."""
    return [name for name in conf.queue_names() if backend_name(name) == backend.alias] or conf.queue_names()


def chores_of(backend: Backend) -> list[Chore]:
    """The housekeeping that a worker of this backend does."""
    return [
        Chore("reap", conf.reap_interval, partial(reap, backend)),
        Chore("expire", conf.cleanup_interval, partial(expire, backend)),
    ]


def backlog_of(backend: Backend, order: Order, console: Console) -> list[Chore]:
    """For a live view: tell it how many jobs wait in each queue that is served."""
    return [
        Chore(
            "backlog",
            BACKLOG_SECONDS,
            lambda: console.backlog(backlog(backend, order.names, MOST_COUNTED + 1)),
        )
    ]


class Assembly(Protocol[W]):
    """Makes what is to be run, once everything has been checked. `live`: somebody watches how many jobs wait."""

    def __call__(self, console: Console, *, live: bool) -> W: ...


class Command(JobsCommand):
    """Work until told to stop."""

    about = gettext_lazy("Claim the jobs of the given queues and run them, until told to stop.")
    every_queue = False
    start: Start | None = None
    stop_signals: StopSignals | None = None
    # Those of the site's pages would load its URLs, views and templates, 4 MB that no worker needs.
    requires_system_checks = ("django_jobs", Tags.models)

    def add_arguments(self, parser: ArgumentParser) -> None:
        add, seconds = parser.add_argument, _("SECONDS")
        if not self.every_queue:
            self.add_names(parser)
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
        add(
            "--background",
            action="store_true",
            help=_("Go to the background once the start has worked; a service manager is better at that."),
        )
        add(
            "--pidfile",
            metavar="FILE",
            help=_("Write the process id here, and refuse to start where another worker has done so and still runs."),
        )
        add("--logfile", metavar="FILE", help=_("Append what is printed to this file."))
        add(
            "--watch",
            action=BooleanOptionalAction,
            default=False,
            help=_("Start the worker anew whenever the code, the settings or .env change; for development."),
        )
        add("--json", dest="show", action="store_const", const="json", help=_("A line of JSON for each job."))

    def add_names(self, parser: ArgumentParser) -> None:
        """Which queues."""
        add = parser.add_argument
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
        add(
            "--all",
            action="store_true",
            help=_("Every queue, each with a worker of its own as JOBS_QUEUES has it, under one parent."),
        )

    def run_from_argv(self, argv: list[str]) -> None:
        # As early as a command can: from here on a signal ends the worker as one later does.
        self.stop_signals = StopSignals()
        self.stop_signals.install()
        self.start = Start.of_this_process()
        if self.start.parent:
            self.stop_signals.parent = self.start.parent
            hear_of_the_end_of_the_parent(signal.SIGTERM)
        super().run_from_argv(argv)

    def run(self, **options: Any) -> None:
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
        if options["watch"]:
            return self.watch(options)
        if options["background"] and (self.start is None or not options["pidfile"]):
            self.usage_error(_("--background needs --pidfile, so that you can stop it, and the command line."))
        every_queue = self.every_queue or options["all"]
        assembled = self.supervisor(asked, options) if every_queue else self.worker(asked, options)
        show = self.showable(options["show"] or conf.show)
        pid_file = self.settle(options)
        try:
            with console_for(show, detail=options["verbosity"], coloured=self.coloured(options)) as console:
                assembled(console, live=show == "tui").run()
            self.end_or_start_anew(-1 if pid_file is None else pid_file.fd)
        finally:
            if pid_file is not None:
                pid_file.remove()

    def watch(self, options: dict[str, Any]) -> None:
        """Have the worker as a process that is started anew on each change of the code."""
        if not has_watchfiles():
            raise CommandError(_("--watch needs watchfiles: pip install 'django-jobs-queue[watch]'"))
        if options["background"] or options["pidfile"] or self.start is None or self.stop_signals is None:
            self.usage_error(_("--watch is for a terminal: it goes with neither --background nor --pidfile."))
        code = Watch(self.start, self.stop_signals, lambda text: self.stdout.write(f"[Watch] {text}")).run()
        self.end_or_start_anew(-1)
        if code:
            raise SystemExit(code)

    def settle(self, options: dict[str, Any]) -> PidFile | None:
        """Become what was asked for: in the background, with a pid file, printing to a file."""
        launch = None
        if options["background"] and not (self.start and self.start.is_reload):
            launch = Launch()
            if (code := launch.part()) is not None:
                raise SystemExit(code)
        pid_file = PidFile(Path(options["pidfile"]).absolute()) if options["pidfile"] else None
        if pid_file is not None:
            pid_file.take(self.start.lock if self.start else -1)
        if options["background"] or options["logfile"]:
            try:
                write_to(options["logfile"])
            except OSError as error:
                if pid_file is not None:
                    pid_file.remove()
                raise CommandError(_("The log file can't be used: %(error)s") % {"error": error}) from error
            if self.stop_signals is not None:
                self.stop_signals.terminals = []
        if launch is not None:
            launch.begun()
        return pid_file

    def worker(self, asked: WorkerOptions, options: dict[str, Any]) -> Assembly[Coordinator]:
        """Check what was asked for; answers what makes one worker for all of these queues."""
        given = [item for some in (*options["names"], options["queues"] or []) for item in some]
        backend = get_backend(options["backend"] or self.backend_of(given))
        self.check_backend(backend)
        order = Order(given or [Asked(name) for name in queues_of(backend)], options["fair"])
        self.note(order, asked)

        def assembled(console: Console, *, live: bool) -> Coordinator:
            chores = chores_of(backend) + (backlog_of(backend, order, console) if live else [])
            return assemble(backend, order, replace(asked, console=console), chores)

        return assembled

    def supervisor(self, asked: WorkerOptions, options: dict[str, Any]) -> Assembly[Supervisor]:
        """Check what was asked for; answers what makes a worker for each queue."""
        if options.get("names") or options.get("queues") or options.get("fair"):
            self.usage_error(_("Name queues and their order, or give --all: each has a worker of its own then."))
        if asked.limits.cycles is not None or asked.limits.jobs is not None:
            self.usage_error(_("--once, --max and --max-jobs count the jobs of one worker: name its queues."))
        only = self.backend(options) if options["backend"] else None
        stores: dict[str, Backend] = {}
        for name in conf.queue_names():
            backend = get_backend(backend_name(name))
            if backend is not (only or backend):
                continue
            if backend.supports.claim and backend.supports.shared:
                self.check_backend(backend)
                stores[name] = backend
            else:
                text = _("Note: the queue '%(queue)s' is left out, as no worker can work on its backend '%(backend)s'.")
                self.stderr.write(text % {"queue": name, "backend": backend.alias})
        if not stores:
            raise CommandError(_("There is no queue to work on."))

        def assembled(console: Console, *, live: bool) -> Supervisor:
            chores = {
                name: chores_of(backend) + (backlog_of(backend, Order.of(name), console) if live else [])
                for name, backend in stores.items()
            }
            return supervise(stores, chores, replace(asked, console=console))

        return assembled

    def backend_of(self, given: list[Asked]) -> str:
        """The backend that keeps these queues."""
        found = sorted({conf.default_backend if asked.is_prefix else backend_name(asked.name) for asked in given})
        if len(found) > 1:
            text = _("These queues are kept by several backends (%(backends)s): give --backend, or --all.")
            self.usage_error(text % {"backends": ", ".join(found)})
        return found[0] if found else conf.default_backend

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

    def end_or_start_anew(self, lock: int) -> None:
        """Where the process is the worker's own: its last step. `lock` is of the pid file, which a reload keeps."""
        if self.stop_signals is None or self.start is None:
            return
        self.stop_signals.hold()  # a stop that came until now counts, and one that comes later finds the next program
        if self.stop_signals.wants_reload:
            try:
                self.start.again(lock)
            except OSError as error:
                raise CommandError(_("The worker could not start anew: %(error)s") % {"error": error}) from error

    def check_backend(self, backend: Backend) -> None:
        """End with 1 where there is nothing to work on."""
        self.check_workable(backend)
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
