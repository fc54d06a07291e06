"""`Scheduler`, which collects entries, and the fluent `EntryBuilder`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Self, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from .. import names
from ..api import Jobs
from ..conf import CATCH_UPS, MOST_MADE_UP_FOR, conf
from ..definition import JobDefinition, LocalPayload, checked_options, whole
from ..definition import seconds as duration
from ..exceptions import InvalidDefinition, InvalidHandler, InvalidSchedule, JobsError, UnknownHandler
from ..handlers.command import parse_command
from ..handlers.shell import parse_program
from .entries import Entry, Hook, Problem
from .frequency import Frequency, flag, step

T = TypeVar("T")

SET_OTHERWISE = {
    "queue": "Use queue().",
    "backend": "Use using().",
    "name": "Use named().",
    "enabled": "Use enabled().",
    "environments": "Use environments().",
    **dict.fromkeys(("id", "uuid", "source", "available_at", "expires_at", "delay"), "What recurs can't have it."),
}
"""Options of a job that are no options of an entry, and what to do instead."""


class Scheduler:
    """Collects the entries of a schedule.

    def schedule(s: Scheduler) -> None:
        s.define("report", "--month=06").named("daily-report").daily_at("02:00").queue("reports")
    """

    def __init__(self, origin: str = "JOBS_SCHEDULE") -> None:
        self.origin = origin
        self.builders: list[EntryBuilder] = []

    def define(self, handler: Any, payload: Any = None) -> EntryBuilder:
        """A new entry of the schedule, for a handler's key, a registered class or a `@job` function."""
        builder = EntryBuilder(handler, payload, origin=self.origin)
        self.builders.append(builder)
        return builder

    def command(self, command: str | Mapping[str, Any]) -> EntryBuilder:
        """A new entry for a management command: `"clearsessions"`, `"app:report --month=06"`, or its parts."""
        return self.define("command", command)

    def call(self, function: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> EntryBuilder:
        """A new entry that calls a function, given as it is or by its dotted path.

        Without a queue it may be a lambda, which runs where the schedule does.
        """
        payload = {"path": function, "args": list(args), "kwargs": kwargs} if isinstance(function, str) else function
        if not isinstance(function, str) and (args or kwargs):
            payload = {"path": f"{function.__module__}.{function.__qualname__}", "args": list(args), "kwargs": kwargs}
        return self.define("callable", payload)

    def shell(self, program: str | Sequence[str]) -> EntryBuilder:
        """A new entry that runs a program: a list of it and its arguments, `["pg_dump", "shop"]`, or one text."""
        return self.define("shell", program)


class EntryBuilder(Frequency):
    """One entry, built step by step. Unlike a `JobBuilder` it changes in place: the schedule has it already.

    No method raises for what it is given: `to_entry()` does, so that one bad entry does not keep others from being
    declared.
    """

    def __init__(self, handler: Any, payload: Any = None, *, origin: str = "JOBS_SCHEDULE") -> None:
        super().__init__()
        self._handler = handler
        self._payload = payload
        self._given: dict[str, Any] = {"origin": origin}
        self._options: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<EntryBuilder {self.name!r}>"

    @property
    def name(self) -> str:
        """The name that was given, else the handler's key, the command's or the program's name."""
        return self._given.get("name") or _own_name(self._handler, self._payload)

    # -- what, and where --------------------------------------------------------------------------------------

    @step
    def named(self, name: str) -> Self:
        """The name, unique in the schedule, at most 200 characters. Default: the handler's key, the command's or the
        program's name.
        """
        if not name:
            raise InvalidSchedule("name: give a text that is not empty.")
        return self._with(name=names.check_label("name", name))

    @step
    def description(self, text: str) -> Self:
        """A line for people."""
        return self._with(description=_label("description", text, "reason"))

    @step
    def queue(self, name: str) -> Self:
        """Put a job on this queue at each tick. Without, the entry runs inline, in the scheduler's process."""
        return self._with(queue=names.check_queue(name))

    @step
    def using(self, backend: str) -> Self:
        """The alias in `JOBS_BACKENDS` of its jobs. Default: the queue's."""
        return self._with(**checked_options({"backend": backend}))

    def backend(self, alias: str) -> Self:
        """The same as `using`."""
        return self.using(alias)

    @step
    def with_options(self, **options: Any) -> Self:
        """Options of its jobs, by the names that `JobBuilder.with_options` has: priority, max_attempts, tags …"""
        for option in options:
            if option in SET_OTHERWISE:
                raise InvalidSchedule(f"{option}: not an option of an entry. {SET_OTHERWISE[option]}")
        try:
            checked_options(options)
        except TypeError as error:
            raise InvalidSchedule(str(error)) from None
        self._options |= options
        return self

    def priority(self, priority: int) -> Self:
        """-100 to 100, default 0, bigger first."""
        return self.with_options(priority=priority)

    def max_attempts(self, attempts: int) -> Self:
        """How often each of its jobs may run in all."""
        return self.with_options(max_attempts=attempts)

    def max_retries(self, retries: int) -> Self:
        """How often each of its jobs may run again after the first attempt."""
        return self.with_options(max_retries=retries)

    def timeout(self, seconds: float | timedelta | str | None) -> Self:
        """End an attempt after this long. None is no limit."""
        return self.with_options(timeout=seconds)

    def tag(self, *tags: str) -> Self:
        """Add tags to its jobs, each one word."""
        given = checked_options({"tags": self._options.get("tags", ())})["tags"]
        return self.with_options(tags=(*given, *tags))

    # -- whether ----------------------------------------------------------------------------------------------

    @step
    def enabled(self, enabled: bool = True) -> Self:
        """False: it stays in the schedule and does not run."""
        return self._with(enabled=flag("enabled", enabled))

    @step
    def environments(self, *words: str | Iterable[str]) -> Self:
        """Only where `JOBS_ENVIRONMENT` is one of these."""
        return self._with(environments=_labels("environments", words))

    @step
    def run_in_maintenance(self, run: bool = True) -> Self:
        """Run in maintenance mode too."""
        return self._with(run_in_maintenance=flag("run_in_maintenance", run))

    @step
    def depends_on(self, *entries: str | Iterable[str]) -> Self:
        """In a run, come after these entries, where they are due too."""
        return self._with(depends_on=_labels("depends_on", entries))

    @step
    def requires(self, *entries: str | Iterable[str]) -> Self:
        """Start only when the latest tick of each of these entries has succeeded."""
        return self._with(requires=_labels("requires", entries))

    @step
    def single_instance(self, key: str | bool = True) -> Self:
        """Skip a tick while an earlier one of this entry still runs, or another entry with the same key."""
        if key is False:
            return self._with(single_instance=None)
        return self._with(single_instance="" if key is True else _label("single_instance", key))

    @step
    def without_overlapping(self, seconds: float | timedelta | str = 60.0) -> Self:
        """As `single_instance`; should the process die, the guard is free after this long."""
        held = duration("without_overlapping", seconds)
        if not held:
            raise InvalidSchedule("without_overlapping: give how many seconds the guard is held without being renewed.")
        return self._with(overlap_seconds=held, single_instance=self._given.get("single_instance") or "")

    @step
    def catch_up(self, policy: str = "one", limit: int | None = None) -> Self:
        """What becomes of ticks that were missed: `skip`, `one` (the last is made up for), or `all`, up to `limit`."""
        if policy not in CATCH_UPS:
            raise InvalidSchedule(f"catch_up: {names.shown(policy)} is not one of {', '.join(CATCH_UPS)}.")
        if limit is not None:
            self.catch_up_limit(limit)
        return self._with(catch_up=policy)

    @step
    def catch_up_limit(self, limit: int) -> Self:
        """At most so many missed ticks are made up for, the latest."""
        return self._with(catch_up_limit=whole("catch_up_limit", limit, 1, MOST_MADE_UP_FOR))

    @step
    def when(self, *conditions: Hook) -> Self:
        """Run only where each of these answers something true: callables, or their dotted paths."""
        return self._hooks("when", conditions)

    @step
    def skip(self, *conditions: Hook) -> Self:
        """Do not run where any of these answers something true."""
        return self._hooks("skip", conditions)

    # -- hooks ------------------------------------------------------------------------------------------------

    @step
    def before(self, *hooks: Hook) -> Self:
        """Call these before it starts."""
        return self._hooks("before", hooks)

    @step
    def after(self, *hooks: Hook) -> Self:
        """Call these when it is over, whatever it came to."""
        return self._hooks("after", hooks)

    @step
    def on_success(self, *hooks: Hook) -> Self:
        """Call these when it has succeeded."""
        return self._hooks("on_success", hooks)

    @step
    def on_failure(self, *hooks: Hook) -> Self:
        """Call these when it has failed."""
        return self._hooks("on_failure", hooks)

    def refuse(self, message: str, *, rule: str = "E021") -> Self:
        """Add to what is wrong."""
        self.errors.append(InvalidSchedule(message, rule=rule))
        return self

    # -- the end ----------------------------------------------------------------------------------------------

    def to_entry(self) -> Entry:
        """The entry. Raises `InvalidSchedule` with its name and all that is wrong."""
        entry, problems = self.build()
        if entry is None:
            says = " ".join(problem.message for problem in problems)
            raise InvalidSchedule(f"entry {self.name!r}: {says}", rule=problems[0].rule)
        return entry

    def build(self) -> tuple[Entry | None, list[Problem]]:
        """The entry and no problems, or None and all that is wrong."""
        errors = list(self.errors)
        timing = self._tried(self.to_timing, errors)
        stored = self._tried(self._prepared, errors) if self._handler != "" or not errors else None
        if timing is None or stored is None or errors:
            origin = self._given["origin"]
            return None, [Problem(self.name, _says(error), _rule(error), origin) for error in errors]
        given = {"catch_up": conf.schedule_catch_up, "catch_up_limit": conf.schedule_catch_up_limit, **self._given}
        given |= {"name": self.name, "timing": timing, "options": dict(self._options)}
        if given.get("single_instance") == "":
            given["single_instance"] = self.name
        return Entry(handler=stored.handler, payload=stored.payload, **given), []

    def _tried(self, make: Callable[[], T], errors: list[Exception]) -> T | None:
        """What `make` makes. What it raises is added to the errors: a handler's own code too may refuse a payload."""
        try:
            return make()
        except Exception as error:
            if error not in errors:
                errors.append(error)
            return None

    def _prepared(self) -> JobDefinition:
        """A job of this entry, as it would be stored: what can't be dispatched is found now, not at night."""
        options = {name: self._given[name] for name in ("queue", "backend") if name in self._given}
        job = Jobs.prepare(Jobs.define(self._handler, self._payload).with_options(**self._options, **options))
        if options and isinstance(job.payload, LocalPayload):
            raise InvalidDefinition(
                "payload: a lambda or an inner function runs where the schedule does. Give no queue, or move it into a "
                "module."
            )
        return job

    def _with(self, **fields: Any) -> Self:
        self._given |= fields
        return self

    def _hooks(self, field: str, hooks: Iterable[Hook]) -> Self:
        for hook in hooks:
            loaded = _loaded(field, hook) if isinstance(hook, str) else hook
            if not callable(loaded):
                raise InvalidSchedule(f"{field}: {names.shown(hook)} can't be called.")
        return self._with(**{field: (*self._given.get(field, ()), *hooks)})


def _own_name(handler: Any, payload: Any) -> str:
    try:
        if handler == "command":
            return parse_command(payload)[0][:200]
        if handler == "shell":
            return os.path.basename(parse_program(payload)[0])[:200] or handler
    except InvalidDefinition:
        return str(handler)
    try:
        return Jobs.key_of(handler)[:200]
    except (InvalidDefinition, UnknownHandler, InvalidHandler):
        return getattr(handler, "__name__", repr(handler))[:200]


def _says(error: Exception) -> str:
    ours = isinstance(error, JobsError | ImproperlyConfigured)
    return str(error) if ours else f"payload: its handler refuses it ({type(error).__name__}: {error})."


def _rule(error: Exception) -> str:
    if isinstance(error, UnknownHandler | InvalidHandler):
        return "E023"
    return error.rule if isinstance(error, InvalidSchedule) else "E021"


def _loaded(field: str, path: str) -> Any:
    try:
        return import_string(path)
    except Exception as error:  # whatever the module raises as it is loaded
        raise InvalidSchedule(f"{field}: {path!r:.200} can't be loaded ({error}).") from error


def _labels(field: str, values: Iterable[Any]) -> tuple[str, ...]:
    flat: list[Any] = []
    for value in values:
        flat += value if isinstance(value, list | tuple | set | frozenset) else [value]
    if not all(isinstance(value, str) and value for value in flat):
        raise InvalidSchedule(f"{field}: give texts.")
    return tuple(dict.fromkeys(_label(field, value) for value in flat))


def _label(field: str, value: Any, width: str = "name") -> str:
    """The value, if it may be a label as long as that one."""
    try:
        return names.check_label(width, value)
    except InvalidDefinition as error:
        raise InvalidSchedule(f"{field}:{str(error).removeprefix(f'{width}:')}") from None
