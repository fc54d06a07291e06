"""What the commands have in common: their flags, their exit codes, and how they print.

Exit codes: 0 is ok, 1 an operational failure or a named thing that is not there, 2 a usage error, 141 that
nobody reads what is printed.
"""

from __future__ import annotations

import json
import math
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import MAXYEAR, MINYEAR, UTC, datetime, time
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, cast

from django.conf import settings
from django.core.checks import Tags
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper
from django.db import DatabaseError, InterfaceError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..backends import Backend, get_backend
from ..conf import conf
from ..definition import seconds
from ..exceptions import InvalidDefinition, JobsError, StoreUnavailable
from ..ids import parse_id
from ..maintenance.states import state_meant
from ..names import check_handler, check_label, check_queue
from ..store import store_of
from ..worker.interrupts import Patience
from ..worker.order import Asked
from ..worker.output import LAST_SECONDS, STREAMS, Patient, drop, make_lasting, open_what_is_closed

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

USAGE = 2
UNREAD = 141
"""As a shell tells of a program that was ended because nobody read what it printed."""


class JobsCommand(BaseCommand):
    """The base of the commands. A subclass writes `run()`; what it raises for a reason is one line on stderr."""

    about: StrOrPromise = ""
    parser: CommandParser
    # Not those of the schedule: where one entry is wrong, the others run, and whoever mends it needs the commands.
    requires_system_checks = ("django_jobs", Tags.models)
    outlasts_readers = False
    """Whether it goes on when nobody reads what it prints. Others end, with `UNREAD`."""
    is_patient = False
    """Whether it keeps nobody waiting for a reader that does not read just now."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        self.help = str(self.about)
        self.parser = super().create_parser(prog_name, subcommand, **kwargs)
        return self.parser

    def get_check_kwargs(self, options: dict[str, Any]) -> dict[Any, Any]:
        """Checks that ask no server: from 6.1 on Django lets those of models do so, and where the database is away, a
        command says so itself, or waits for it.
        """
        return {**super().get_check_kwargs(options), "databases": []}

    def run_from_argv(self, argv: list[str]) -> None:
        open_what_is_closed()
        if self.outlasts_readers:
            make_lasting()
        own = [Patient(stream) if self.is_patient else stream for stream in (sys.stdout, sys.stderr)]
        style = self.stderr.style_func
        self.stdout, self.stderr = (OutputWrapper(cast(TextIO, stream)) for stream in own)
        self.stderr.style_func = style
        self.begin()
        try:
            try:
                super().run_from_argv(argv)
            finally:
                for stream in own:
                    if isinstance(stream, Patient):
                        stream.flush(LAST_SECONDS)
                    else:
                        stream.flush()
        except BrokenPipeError:
            for fd in STREAMS.values():
                drop(fd)  # what they still hold would be an error at the exit of Python
            sys.exit(UNREAD)

    def begin(self) -> None:
        """What a process that is the command's own does as early as it can."""

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.run(**options)
        except (DatabaseError, InterfaceError, StoreUnavailable) as error:
            why = self.not_ready(options) or _("The database could not do that: %(error)s") % {"error": error}
            raise CommandError(why) from error
        except (JobsError, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from error

    def run(self, **options: Any) -> None:
        """Do it."""
        raise NotImplementedError

    # -- flags ------------------------------------------------------------------------------------------------

    def add_backend(self, parser: ArgumentParser) -> None:
        """`--backend`."""
        parser.add_argument(
            "--backend",
            metavar="B",
            help=_("A backend, by its name in JOBS_BACKENDS. Default: JOBS_DEFAULT_BACKEND."),
        )

    def add_queues(self, parser: ArgumentParser) -> None:
        """`--queue`, which may be repeated or hold names with commas between."""
        parser.add_argument(
            *("--queue", "--queues"),
            dest="queues",
            action="extend",
            type=queue_names,
            metavar="Q",
            help=_("Only this queue. May be repeated, or be several names with commas between."),
        )

    def add_states(self, parser: ArgumentParser, help_text: str) -> None:
        """`--state`, or `--status`, which may be repeated or hold words with commas between."""
        parser.add_argument(
            "--state", "--status", dest="states", action="extend", type=words, metavar="STATE", help=help_text
        )

    def states_meant(self, given: list[str] | None, allowed: Collection[str]) -> list[str]:
        """The states that `--state` names, each once."""
        try:
            return list(dict.fromkeys(state_meant(word, allowed) for word in given or ()))
        except ValueError as error:
            self.usage_error(str(error))

    def add_filters(self, parser: ArgumentParser, older_than: str) -> None:
        """`--handler`, `--group`, `--tag`, and `--older-than` with its help."""
        parser.add_argument("--handler", type=handler_key, metavar="K", help=_("Only jobs of this handler key."))
        parser.add_argument("--group", type=label("group"), metavar="G", help=_("Only jobs of this group."))
        parser.add_argument("--tag", type=label("tag"), metavar="T", help=_("Only jobs with this tag."))
        parser.add_argument("--older-than", type=duration, metavar="S", help=older_than)

    def add_batch_size(self, parser: ArgumentParser, default: int) -> None:
        """`--batch-size`, of what is deleted."""
        parser.add_argument(
            "--batch-size",
            type=at_least_one,
            default=default,
            metavar="N",
            help=_("Jobs to delete in one transaction. Default: %(n)d.") % {"n": default},
        )

    def add_json(self, parser: ArgumentParser) -> None:
        """`--json`."""
        parser.add_argument("--json", action="store_true", help=_("Print JSON."))

    def backend(self, options: dict[str, Any]) -> Backend:
        """The backend that was asked for."""
        return get_backend(options["backend"])

    def not_ready(self, options: dict[str, Any]) -> str:
        """Why the database can't do anything of ours yet, with what to do; empty where it is something else."""
        try:
            store = store_of(self.backend(options))
            return "" if store is None else store.not_ready()
        except (DatabaseError, InterfaceError, ImproperlyConfigured):
            return ""

    def check_ready(self, backend: Backend) -> None:
        """End with 1 where the tables are missing or older than the code. A store that is away is waited for later."""
        with suppress(StoreUnavailable), Patience(conf.lease_seconds / 2):
            if problem := backend.not_ready():
                raise CommandError(problem)

    def check_workable(self, backend: Backend) -> None:
        """End with 1 where no worker can work on what is enqueued there."""
        facts = {"backend": backend.alias}
        if not backend.supports.claim:
            raise CommandError(_("The backend '%(backend)s' keeps no jobs, so there is nothing to work on.") % facts)
        if not backend.supports.shared:
            raise CommandError(
                _("The backend '%(backend)s' keeps its jobs in the process that made them, not here.") % facts
            )

    def add_for_trials(self, parser: ArgumentParser) -> None:
        """`--force`, of what is for trying things out."""
        parser.add_argument("--force", action="store_true", help=_("Though DEBUG is False."))

    def queue_and_backend(self, options: dict[str, Any]) -> tuple[str, Backend]:
        """The queue to try out, and the backend that keeps it. Ends with 1 where no worker can work there."""
        queue = options["queue"] or next(iter(conf.queue_names()), "default")
        backend = get_backend(options["backend"] or conf.backend_of(queue))
        self.check_workable(backend)
        if problem := backend.not_ready():
            raise CommandError(problem)
        return queue, backend

    def refuse_in_production(self, options: dict[str, Any]) -> None:
        """End with 1 where DEBUG is False, unless it is forced."""
        if not settings.DEBUG and not options["force"]:
            raise CommandError(
                _("This is for trying things out, and DEBUG is False here. Give --force to do it anyway.")
            )

    # -- ends -------------------------------------------------------------------------------------------------

    def usage_error(self, message: str) -> NoReturn:
        """End with 2, as argparse does."""
        if self.parser.called_from_command_line:
            self.parser.error(message)
        raise CommandError(message, returncode=USAGE)

    def ask_first(self, question: str, refused: str, verb: str) -> None:
        """Ask on the terminal, unless the question is empty; end with 1 and `refused` where the answer is no.

        Where there is no terminal, end with 2: the flag is needed to `verb` without asking.
        """
        if not sys.stdin.isatty():
            text = _("there is no terminal to ask on. Give --no-input to %(verb)s without asking")
            self.usage_error(text % {"verb": verb})
        if question and input(f"{question} [y/N] ").strip().lower() not in ("y", "yes", _("yes")):
            raise CommandError(refused)

    def note_unknown_queues(self, names: Iterable[str]) -> None:
        """Say on stderr which of these queues the settings do not name: it may be a slip."""
        for name in names:
            if name not in conf.queue_names():
                self.stderr.write(_("Note: the queue '%(queue)s' is not in JOBS_QUEUES.") % {"queue": name})

    def complain(self, message: str) -> None:
        """Say on stderr what went wrong with a part of the work."""
        self.stderr.write(self.style.ERROR(message))

    def count(self, number: int | None) -> None:
        """Where long work is watched, on a terminal, a line that counts. None takes it away."""
        if self.stderr.isatty():
            text = "" if number is None else f"{number:,}"
            self.stderr.write(f"\r{text:<12}\r", style_func=str, ending="")

    # -- printing ---------------------------------------------------------------------------------------------

    def print_json(self, value: Any) -> None:
        """Print one JSON document."""
        self.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str))


# -- types of arguments ---------------------------------------------------------------------------------------


def queue_names(text: str) -> list[str]:
    """Queue names with commas between."""
    try:
        return [check_queue(name.strip()) for name in text.split(",")]
    except InvalidDefinition as error:
        raise ArgumentTypeError(str(error)) from None


def queue_name(text: str) -> str:
    """The name of a queue."""
    try:
        return check_queue(text.strip())
    except InvalidDefinition as error:
        raise ArgumentTypeError(str(error)) from None


def handler_key(text: str) -> str:
    """The key of a handler."""
    try:
        return check_handler(text)
    except InvalidDefinition as error:
        raise ArgumentTypeError(str(error)) from None


def label(field: str) -> Callable[[str], str]:
    """A text that a job may have in this field."""

    def text_of(text: str) -> str:
        try:
            return check_label(field, text)
        except InvalidDefinition as error:
            raise ArgumentTypeError(str(error)) from None

    return text_of


def queues_asked(text: str) -> list[Asked]:
    """Queues, prefixes and weights with commas between."""
    try:
        return [Asked.parse(part.strip()) for part in text.split(",")]
    except InvalidDefinition as error:
        raise ArgumentTypeError(str(error)) from None


def job_id(text: str) -> str:
    """The id of a job."""
    try:
        return parse_id(text)
    except InvalidDefinition as error:
        raise ArgumentTypeError(str(error)) from None


def words(text: str) -> list[str]:
    """Words with commas between, at least one."""
    if found := [word.strip() for word in text.split(",") if word.strip()]:
        return found
    raise ArgumentTypeError(_("%(text)r names nothing") % {"text": text[:80]})


def moment(text: str) -> datetime:
    """A moment in ISO 8601, in UTC; without an offset, in the site's time zone."""
    try:
        when = parse_datetime(text)
        if when is None and (day := parse_date(text)) is not None:
            when = datetime.combine(day, time())
        if when is None or not MINYEAR < when.year < MAXYEAR:
            raise ValueError  # at the ends of the calendar, no time can be told in every zone
        return (timezone.make_aware(when) if timezone.is_naive(when) else when).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ArgumentTypeError(
            _("%(text)r is not a moment in ISO 8601, such as 2030-01-31T12:00:00+00:00") % {"text": text[:80]}
        ) from None


def duration(text: str) -> float:
    """Seconds, or a text such as `10m`."""
    try:
        return seconds("duration", text)
    except InvalidDefinition as error:
        raise ArgumentTypeError(str(error)) from None


def number(low: float, kind: type[int] | type[float] = int, most: int = 10**9) -> Callable[[str], Any]:
    """An argparse type: a number from `low` to `most`."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= most:
            says = _("%(text)r is not a number from %(low)g to %(most)d")
            if kind is int:
                says = _("%(text)r is not a whole number from %(low)g to %(most)d")
            raise ArgumentTypeError(says % {"text": text[:80], "low": low, "most": most})
        return value

    return parse


at_least_one = number(1, most=2**31 - 1)
"""A whole number from 1, as large as every database takes for a limit."""


def seconds_above_zero(text: str) -> float:
    """Seconds, more than 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= 86_400:
        raise ArgumentTypeError(_("%(text)r is not a number of seconds from above 0 to a day") % {"text": text[:80]})
    return number


# -- texts ----------------------------------------------------------------------------------------------------


def age(seconds: float | None) -> str:
    """A time span in words, its two largest units: `2 hours, 5 minutes`."""
    if seconds is None:
        return "-"
    left = int(max(seconds, 0))
    days, left = divmod(left, 86_400)
    hours, left = divmod(left, 3600)
    minutes, left = divmod(left, 60)
    parts = [
        (days, ngettext("%(n)d day", "%(n)d days", days)),
        (hours, ngettext("%(n)d hour", "%(n)d hours", hours)),
        (minutes, ngettext("%(n)d minute", "%(n)d minutes", minutes)),
        (left, ngettext("%(n)d second", "%(n)d seconds", left)),
    ]
    first = next((index for index, (number, _word) in enumerate(parts) if number), 3)
    return ", ".join(word % {"n": n} for n, word in parts[first : first + 2] if n or first == 3)


def table(rows: Iterable[Iterable[str]]) -> list[str]:
    """Lines of a table of texts: every column flush left."""
    cells = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def aligned(rows: Iterable[Iterable[str]]) -> list[str]:
    """Lines of a table: the first column flush left, the others flush right."""
    table = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]

    def line(cells: list[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]).rstrip()

    return [line(row) for row in table]
