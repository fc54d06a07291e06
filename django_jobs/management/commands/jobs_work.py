"""`manage.py jobs_work default`: claims jobs and runs them."""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

from django.core.checks import Tags
from django.core.management.base import CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ...backends import Backend, get_backend
from ...conf import ISOLATIONS, MOST_WORKERS, SHOWS, conf
from ...maintenance.cleanup import Expiry
from ...maintenance.reap import reap
from ...maintenance.stats import backlog
from ...worker.assembly import WorkerOptions, assemble, isolation_of, supervise
from ...worker.beside import Companion
from ...worker.console import MOST_COUNTED, Console
from ...worker.coordinator import Coordinator, Limits
from ...worker.housekeeping import Chore
from ...worker.order import Asked, Order
from ...worker.service import Service
from ...worker.shows import console_for, has_rich, has_terminal
from ...worker.supervisor import Supervisor
from ...worker.watch import Watch, has_watchfiles
from ..base import JobsCommand, number, queues_asked

W = TypeVar("W", covariant=True)
SCHEDULER_SECONDS = 1.0
BACKLOG_SECONDS = 2.0


def chores_of(backend: Backend) -> list[Chore]:
    """The housekeeping that a worker of this backend does."""
    return [
        Chore("reap", conf.reap_interval, partial(reap, backend)),
        Chore("expire", conf.cleanup_interval, Expiry(backend)),
    ]


def schedule_beside() -> Chore:
    """Keeps the schedule running, in a process of its own: none of the site's code may hold up a coordinator."""
    beside = Companion(("jobs_cronjob_work", "--verbosity", "0"))
    return Chore("schedule", SCHEDULER_SECONDS, beside.keep, end=beside.end, leave=beside.leave)


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
    outlasts_readers = True
    is_patient = True
    service: Service | None = None
    # Those of the site's pages would load its URLs, views and templates, 4 MB that no worker needs.
    requires_system_checks = ("django_jobs", Tags.models)

    def add_arguments(self, parser: ArgumentParser) -> None:
        add, seconds = parser.add_argument, _("SECONDS")
        if not self.every_queue:
            self.add_names(parser)
        self.add_backend(parser)
        add(
            "--max-workers",
            type=number(1, most=MOST_WORKERS),
            metavar="N",
            help=_("How many children run jobs. Default: the biggest max_workers of the queues."),
        )
        add(
            "--isolation",
            choices=ISOLATIONS,
            help=_("Where jobs run: in children, or in this process. Default: as the first queue says."),
        )
        add(
            "--timeout",
            type=number(0.01, float),
            metavar=seconds,
            help=_("End every attempt after this long, whatever its job says. Default: as the job says."),
        )
        add(
            "--sleep",
            type=number(0.01, float),
            metavar=seconds,
            help=_("How long to wait between polls when idle. Default: JOBS_POLL_INTERVAL."),
        )
        add("--once", action="store_true", help=_("Claim one job, run it in this process, settle it, and exit."))
        add(
            "--max",
            type=number(0),
            metavar="N",
            help=_("Exit after so many cycles of one job each, run in this process; 0 is no limit."),
        )
        add("--max-jobs", type=number(1), metavar="N", help=_("Exit after so many jobs."))
        add("--max-time", "--cooldown", type=number(0, float), metavar=seconds, help=_("Exit after this long."))
        add(
            "--max-memory",
            type=number(1, float),
            metavar="MB",
            help=_("Exit when the coordinator is bigger than this."),
        )
        add(
            "--with-scheduler",
            action="store_true",
            help=_("Run the schedule too, in a process beside the worker; any number of workers may."),
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

    def begin(self) -> None:
        self.service = Service.begin()

    def run(self, **options: Any) -> None:
        asked = WorkerOptions(
            max_workers=options["max_workers"],
            isolation=options["isolation"],
            timeout=options["timeout"],
            poll_interval=options["sleep"],
            limits=Limits(
                cycles=1 if options["once"] else options["max"] or None,
                jobs=options["max_jobs"],
                seconds=options["max_time"],
                memory_mb=options["max_memory"],
                when_empty=options["stop_when_empty"],
            ),
            stop_signals=None if self.service is None else self.service.stop_signals,
        )
        if options["watch"]:
            return self.watch(options)
        if options["background"] and not options["pidfile"]:
            self.usage_error(_("--background needs --pidfile, so that you can stop it."))
        if (options["pidfile"] or options["logfile"]) and self.service is None:
            self.usage_error(_("--pidfile and --logfile are for a process that is the worker's own."))
        every_queue = self.every_queue or options["all"]
        assembled = self.supervisor(asked, options) if every_queue else self.worker(asked, options)
        service = self.service
        if service is None:
            return self.work(assembled, options)
        code = service.settle(
            background=options["background"], pid_file=options["pidfile"], log_file=options["logfile"]
        )
        if code is not None:
            raise SystemExit(code)
        try:
            self.work(assembled, options)
            service.finish()
        finally:
            service.leave()

    def work(self, assembled: Assembly[Coordinator] | Assembly[Supervisor], options: dict[str, Any]) -> None:
        """Run it, and show what it does."""
        show = self.showable(options["show"] or conf.show)
        with console_for(show, detail=options["verbosity"], coloured=self.coloured(options)) as console:
            assembled(console, live=show == "tui").run()

    def watch(self, options: dict[str, Any]) -> None:
        """Have the worker as a process that is started anew on each change of the code."""
        if not has_watchfiles():
            raise CommandError(_("--watch needs watchfiles: pip install 'django-jobs-queue[watch]'"))
        if options["background"] or options["pidfile"] or self.service is None:
            self.usage_error(_("--watch is for a terminal: it goes with neither --background nor --pidfile."))
        service = self.service
        arguments: tuple[str, ...] = ("--no-watch",)
        if (options["show"] or conf.show) == "tui":
            arguments += ("--show", "lines")  # it is not in front on the terminal, where a live view has to be
            self.stderr.write(_("Note: lines are printed, as a live view does not go with --watch."))
        code = Watch(service.start, arguments, service.stop_signals, self.tell).run()
        service.finish()
        if code:
            raise SystemExit(code)

    def tell(self, text: str) -> None:
        """What whoever watches does."""
        self.stdout.write(f"[Watch] {text}")
        self.stdout.flush()

    def worker(self, asked: WorkerOptions, options: dict[str, Any]) -> Assembly[Coordinator]:
        """Check what was asked for; answers what makes one worker for all of these queues."""
        given = [item for some in (*options["names"], options["queues"] or []) for item in some]
        backend = get_backend(options["backend"] or self.backend_of(given))
        self.check_backend(backend)
        order = Order(
            given or [Asked(name) for name in conf.queues_of(backend.alias) or conf.queue_names()], options["fair"]
        )
        self.note(order, asked)

        def assembled(console: Console, *, live: bool) -> Coordinator:
            chores = chores_of(backend) + (backlog_of(backend, order, console) if live else [])
            chores += [schedule_beside()] if options["with_scheduler"] else []
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
            backend = get_backend(conf.backend_of(name))
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
            if options["with_scheduler"]:
                chores[next(iter(stores))].append(schedule_beside())  # one will do
            return supervise(stores, chores, replace(asked, console=console))

        return assembled

    def backend_of(self, given: list[Asked]) -> str:
        """The backend that keeps these queues."""
        found = sorted({conf.default_backend if asked.is_prefix else conf.backend_of(asked.name) for asked in given})
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

    def check_backend(self, backend: Backend) -> None:
        """End with 1 where there is nothing to work on."""
        self.check_workable(backend)
        self.check_ready(backend)

    def note(self, order: Order, asked: WorkerOptions) -> None:
        """Say what was asked for and has no effect."""
        self.note_unknown_queues(order.names)
        if asked.max_workers is not None and isolation_of(order, asked) == "inline":
            self.stderr.write(
                _("Note: --max-workers is ignored, as the jobs run in this process, one after the other.")
            )
