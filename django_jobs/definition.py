"""What a job is made from: the frozen `JobDefinition`, and the fluent `JobBuilder` that makes one.

Both are values: every `with_…` and every builder method returns a new one, as a QuerySet does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from . import names, port
from .exceptions import InvalidDefinition, InvalidPriority, JobsError
from .ids import parse_id
from .retry import backoff as checked_backoff
from .retry import parse_backoff
from .unique import Unique
from .unique import checked as checked_unique

if TYPE_CHECKING:
    from .api import JobRef


class Unset:
    """The type of `UNSET`: an option that was not given, so that a later default applies. None is a value."""

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False


UNSET: Any = Unset()  # typed as any: dispatch fills every option in, and what reads a definition comes after that
SOURCES = ("app", "cron", "callback", "retry", "cli")


class Priority(IntEnum):
    """Names for priorities. Any whole number from -100 to 100 will do; bigger runs first."""

    LOW = -50
    NORMAL = 0
    HIGH = 50


NO_META: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)  # without slots: a copy with changes is then two updates of a dict, a tenth of the time
class JobDefinition:
    """A job before it is stored. Times are aware; durations are seconds.

    An option that is UNSET takes the handler's value, then the queue's, then the site's (`JOBS_DEFAULTS`).
    """

    handler: str
    payload: Any = None
    id: str | None = None
    queue: str = UNSET
    backend: str = UNSET
    priority: int = UNSET
    delay: float = UNSET
    available_at: datetime | None = None
    expires_at: datetime | None = None
    expires_in: float | None = None
    """Seconds from the enqueue, by the store's clock."""
    max_attempts: int = UNSET
    timeout: float | None = UNSET
    backoff: Mapping[str, Any] | None = UNSET
    ttl: int | None = UNSET
    name: str = ""
    reference: str = ""
    group: str = ""
    tags: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=lambda: NO_META)
    source: str = "app"
    unique: Unique | None = UNSET
    schema_version: int = 1
    """The version of the payload's form: that of the handler at the dispatch."""
    middleware: tuple[str, ...] = ()
    cancel_handler: str = ""
    enabled: bool = True
    environments: tuple[str, ...] = ()
    fresh_id: bool = False
    """The id was made here, so that no job can have it yet."""

    kin: ClassVar[JobDefinition | None] = None
    """In a copy, the definition with which it has all in common but id and payload, if that is known."""

    def with_(self, **changes: Any) -> JobDefinition:
        """A copy with `changes`, each checked. An option that does not exist raises `TypeError`."""
        return self.changed(checked_options(changes))

    def gaps(self, defaults: Mapping[str, Any]) -> dict[str, Any]:
        """What `defaults` has for the options that are UNSET here."""
        return {name: defaults[name] for name in _DEFAULTED if getattr(self, name) is UNSET and name in defaults}

    def changed(self, changes: Mapping[str, Any]) -> JobDefinition:
        """A copy with `changes` that have been checked."""
        copy = object.__new__(JobDefinition)
        copy.__dict__.update(self.__dict__)
        copy.__dict__.pop("kin", None)
        copy.__dict__.update(changes)
        return copy

    def copies(self, payloads: Iterable[Any], ids: Iterable[str]) -> list[JobDefinition]:
        """A copy for each payload, with an id that was made here."""
        found = []
        for payload, fresh in zip(payloads, ids, strict=True):
            copy = object.__new__(JobDefinition)
            copy.__dict__.update(self.__dict__)
            copy.__dict__.update({"payload": payload, "id": fresh, "fresh_id": True, "kin": self})
            found.append(copy)
        return found


BLANK = JobDefinition(handler="")
"""`BLANK.changed({…})` makes a definition in a fifth of the time that `JobDefinition(…)` takes."""
_DEFAULTED = ("queue", "priority", "delay", "max_attempts", "timeout", "backoff", "ttl", "backend", "unique")


class LocalPayload(dict[str, Any]):
    """A payload that means something in the process that made it, and in no other, as that of a lambda does.

    No store takes a job that has one: only what is run where it is dispatched may.
    """


class JobBuilder:
    """Builds a job step by step, then dispatches it.

    Jobs.define("welcome", {"user_id": 123}).queue("mail").delay("10m").max_retries(2).dispatch()
    """

    __slots__ = ("_definition",)

    def __init__(self, definition: JobDefinition) -> None:
        self._definition = definition

    def __repr__(self) -> str:
        return f"<JobBuilder {self._definition.handler!r}>"

    def _with(self, **changes: Any) -> JobBuilder:
        return JobBuilder(self._definition.with_(**changes))

    def to_definition(self) -> JobDefinition:
        """The definition built so far."""
        return self._definition

    def dispatch(self, *, backend: str | None = None, **options: Any) -> JobRef:
        """Enqueue the job (`Jobs.dispatch`) and return its reference. `options` are those of `with_options`."""
        if backend is not None:
            options["backend"] = backend
        return port.jobs().dispatch(self.with_options(**options) if options else self)

    def with_options(self, **options: Any) -> JobBuilder:
        """Set any options by name: `with_options(delay=60, queue="mail")`. An unknown one raises `TypeError`."""
        return self._with(**options)

    def id(self, value: object) -> JobBuilder:
        """Give the job's id (a UUID), which makes the enqueue safe to repeat."""
        return self._with(id=value)

    def queue(self, name: str) -> JobBuilder:
        """The queue; blank is `default`."""
        return self._with(queue=name)

    def using(self, backend: str) -> JobBuilder:
        """The alias in `JOBS_BACKENDS`."""
        return self._with(backend=backend)

    def named(self, name: str) -> JobBuilder:
        """A name for people, at most 200 characters."""
        return self._with(name=name)

    def reference(self, reference: str) -> JobBuilder:
        """What the job is about in your terms, such as `report-42`."""
        return self._with(reference=reference)

    def group(self, group: str) -> JobBuilder:
        """A group to filter by."""
        return self._with(group=group)

    def tag(self, *tags: str) -> JobBuilder:
        """Add tags, each one word."""
        return self._with(tags=(*self._definition.tags, *tags))

    def meta(self, **facts: Any) -> JobBuilder:
        """Add facts that travel with the job and reach `ctx.meta`. JSON values."""
        return self._with(meta={**self._definition.meta, **facts})

    def source(self, source: str) -> JobBuilder:
        """Where the job comes from: app, cron, callback, retry or cli."""
        return self._with(source=source)

    def priority(self, priority: int) -> JobBuilder:
        """-100 to 100, default 0, bigger first."""
        return self._with(priority=priority)

    def delay(self, delay: float | timedelta | str) -> JobBuilder:
        """Not before this long from the enqueue: seconds, a timedelta, `"10m"` or `"+1 hour"`."""
        return self._with(delay=delay)

    def scheduled_at(self, when: datetime) -> JobBuilder:
        """Not before this moment, which must be aware. Wins over `delay`."""
        return self._with(available_at=when)

    def expires(self, when: datetime | float | timedelta | str) -> JobBuilder:
        """Do not start the job after this moment, or this long after its enqueue by the store's clock; it fails as
        `expired`.
        """
        return self._with(expires=when)

    def unique(
        self, key: str = "", *, until: str | float | timedelta = "finished", mode: str = "return_existing"
    ) -> JobBuilder:
        """Let at most one job with this key (of this handler; blank: with this payload) wait or run.

        See `django_jobs.unique` for what frees the key (`until`) and what happens where it is taken (`mode`).
        """
        return self._with(unique={"key": key, "until": until, "mode": mode})

    def enabled(self, enabled: bool = True) -> JobBuilder:
        """False: a dispatch stores nothing, and its reference says that it was skipped."""
        return self._with(enabled=enabled)

    def environments(self, *names: str) -> JobBuilder:
        """Only in these environments (`JOBS_ENVIRONMENT`); a dispatch elsewhere stores nothing. None given: in all."""
        return self._with(environments=names)

    def middleware(self, *paths: str) -> JobBuilder:
        """Run the attempts of this job within these middleware too; `JOBS_MIDDLEWARE_ALLOWED` must name them."""
        return self._with(middleware=(*self._definition.middleware, *paths))

    def on_cancel(self, handler: Any) -> JobBuilder:
        """What a cancel calls, in the process that cancels: the name of a method of the job's handler, or
        `[Handler, "method"]`. It gets the job's record and the reason, as far as it takes them.
        """
        return self._with(cancel_handler=handler)

    def ttl(self, seconds: float | timedelta | str | None) -> JobBuilder:
        """Keep the completed record this long; 0 keeps none, None keeps it until somebody deletes it."""
        return self._with(ttl=seconds)

    def max_attempts(self, attempts: int) -> JobBuilder:
        """How often the job may run in all."""
        return self._with(max_attempts=attempts)

    def max_retries(self, retries: int) -> JobBuilder:
        """How often the job may run again after its first attempt: `max_attempts` less one."""
        return self._with(max_retries=retries)

    def timeout(self, seconds: float | timedelta | str | None) -> JobBuilder:
        """End an attempt after this long. None is no limit."""
        return self._with(timeout=seconds)

    def backoff(self, strategy: Any = "exponential", **fields: Any) -> JobBuilder:
        """How long to wait between attempts; see `django_jobs.retry.backoff`."""
        return self._with(backoff={"strategy": strategy, **fields} if fields else strategy)

    def retry_delay(self, seconds: float) -> JobBuilder:
        """Shorthand: exponential backoff from this base."""
        return self._with(retry_delay=seconds)


def definition_of(job: JobDefinition | JobBuilder) -> JobDefinition:
    """The definition in either form; one that was made by hand is checked here, as a builder's was on its way."""
    if isinstance(job, JobBuilder):
        return job.to_definition()
    if not isinstance(job, JobDefinition):
        raise TypeError(f"a JobBuilder or a JobDefinition is needed, not {type(job).__name__}.")
    given = {f.name: getattr(job, f.name) for f in fields(job) if f.name in _OPTIONS}
    given = {name: value for name, value in given.items() if value is not getattr(BLANK, name)}
    return job.changed({**checked_options(given), "handler": names.check_handler(job.handler)})


# -- checks of single options: each gives the field's name and its clean value -------------------------------

_UNITS = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600}
_UNITS |= {"d": 86400, "day": 86400, "w": 604800, "week": 604800}
_UNITS |= {f"{unit}s": n for unit, n in _UNITS.items() if len(unit) > 1}  # "10ms" is not ten minutes
_DURATION = re.compile(r"\s*\+?\s*(\d{1,9}(?:\.\d{1,6})?)\s*([a-z]*)\s*", re.ASCII)
LONGEST_SECONDS = 100 * 365 * 86400.0
_FIRST_YEAR, _LAST_YEAR = 1000, 9998  # MySQL's first; SQLite can't reckon with the last second of 9999


def seconds(field_name: str, value: Any) -> float:
    """A duration in any accepted form, in seconds. Raises `InvalidDefinition` that names `field_name`."""
    result: float | None = None
    if isinstance(value, timedelta):
        result = value.total_seconds()
    elif isinstance(value, float):
        result = float.__float__(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = int.__int__(value)
        result = float(number) if abs(number) <= LONGEST_SECONDS else None  # float() refuses what is far beyond
    elif isinstance(value, str) and (match := _DURATION.fullmatch(names.plain(value).lower())):
        unit = match[2] or "s"
        result = float(match[1]) * _UNITS[unit] if unit in _UNITS else None
    if result is None or not 0 <= result <= LONGEST_SECONDS:
        raise InvalidDefinition(
            f"{field_name}: {names.shown(value)} is not a duration. Give seconds, a timedelta, or a text such as "
            "'10m' or '+1 hour'; from 0 to 100 years."
        )
    return result


def moment(field_name: str, value: Any) -> datetime:
    """A moment in UTC. A naive one is taken only where USE_TZ is False, as local time."""
    if not isinstance(value, datetime):
        raise InvalidDefinition(f"{field_name}: a datetime is needed, not {type(value).__name__}.")
    if timezone.is_naive(value) and settings.USE_TZ:
        raise InvalidDefinition(
            f"{field_name}: {value.isoformat()} is naive. Give an aware one, such as django.utils.timezone.now()."
        )
    try:
        aware: datetime = timezone.make_aware(value) if timezone.is_naive(value) else value
        when = aware.astimezone(UTC)
    except OverflowError:
        when = None
    if when is None or not _FIRST_YEAR <= when.year <= _LAST_YEAR:
        raise InvalidDefinition(
            f"{field_name}: {value.isoformat()} is out of range. Give a year from {_FIRST_YEAR} to {_LAST_YEAR}."
        )
    return when


def whole(field_name: str, value: Any, low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    number = int.__int__(value) if isinstance(value, int) and not isinstance(value, bool) else None
    if number is None or not low <= number <= high:
        error = InvalidPriority if field_name == "priority" else InvalidDefinition
        raise error(f"{field_name}: {names.shown(value)} is not a whole number from {low} to {high}.")
    return number


def _backend(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidDefinition("backend: give an alias of JOBS_BACKENDS.")
    return names.plain(value)


def _expires(value: Any) -> dict[str, Any]:
    if isinstance(value, datetime):
        return {"expires_at": moment("expires", value), "expires_in": None}
    return {"expires_at": None, "expires_in": seconds("expires", value)}


def _flag(field_name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidDefinition(f"{field_name}: give True or False, not {names.shown(value)}.")
    return value


def _labels(field_name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, Iterable):
        raise InvalidDefinition(f"{field_name}: a list of texts is needed, not {type(value).__name__}.")
    return tuple(dict.fromkeys(names.check_label("name", item) for item in value))


def _cancel_handler(value: Any) -> str:
    """A method's name, or `key:method` for one of another handler."""
    if isinstance(value, list | tuple) and len(value) == 2:
        owner, method = value
        key = owner if isinstance(owner, str) else port.jobs().key_of(owner)
        return f"{names.check_handler(key)}:{_cancel_handler(method)}"
    text = names.plain(value) if isinstance(value, str) else ""
    key, _, method = text.rpartition(":")
    if not method.isidentifier() or method.startswith("_") or len(text) > 200:
        raise InvalidDefinition(
            f"cancel_handler: {names.shown(value)} names no method. Give a public method of the handler, "
            'or [Handler, "method"].'
        )
    if method != text:
        names.check_handler(key)
    return text


def _tags(value: Any) -> tuple[str, ...]:
    if not isinstance(value, Iterable):
        raise InvalidDefinition(f"tags: a list of words is needed, not {type(value).__name__}.")
    given = (value,) if isinstance(value, str) else tuple(value)
    tags = tuple(dict.fromkeys(names.check_label("tag", tag) for tag in given))
    if sum(map(len, tags)) + len(tags) > 200:
        raise InvalidDefinition("tags: all tags together may have 200 characters. Use fewer or shorter ones.")
    return tags


def _meta(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidDefinition(f"meta: a mapping is needed, not {type(value).__name__}.")
    return dict(value)


def _source(value: Any) -> str:
    if not isinstance(value, str) or value not in SOURCES:
        raise InvalidDefinition(f"source: {names.shown(value)} is not one of {', '.join(SOURCES)}.")
    return names.plain(value)


def _retry_delay(value: Any) -> dict[str, Any]:
    base = seconds("retry_delay", value)
    return checked_backoff("exponential", base=base, cap=max(base, 3600.0))


def _timeout(value: Any) -> float | None:
    if value is None:
        return None
    result = seconds("timeout", value)
    if result == 0:
        raise InvalidDefinition("timeout: 0 leaves no time to run. Give seconds, or None for no limit.")
    return result


_OPTIONS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "id": lambda v: {"id": parse_id(v)},
    "uuid": lambda v: {"id": parse_id(v, "uuid")},
    "queue": lambda v: {"queue": names.check_queue("default" if v is None or v == "" else v)},
    "backend": lambda v: {"backend": _backend(v)},
    "priority": lambda v: {"priority": whole("priority", v, -100, 100)},
    "delay": lambda v: {"delay": seconds("delay", v)},
    "available_at": lambda v: {"available_at": None if v is None else moment("available_at", v)},
    "expires": _expires,
    "expires_at": lambda v: {"expires_at": None if v is None else moment("expires_at", v)},
    "expires_in": lambda v: {"expires_in": None if v is None else seconds("expires_in", v)},
    "ttl": lambda v: {"ttl": None if v is None else int(seconds("ttl", v))},
    "max_attempts": lambda v: {"max_attempts": whole("max_attempts", v, 1, 10_000)},
    "max_retries": lambda v: {"max_attempts": whole("max_retries", v, 0, 9_999) + 1},
    "timeout": lambda v: {"timeout": _timeout(v)},
    "backoff": lambda v: {"backoff": parse_backoff(v)},
    "retry_delay": lambda v: {"backoff": _retry_delay(v)},
    "name": lambda v: {"name": names.check_label("name", v)},
    "reference": lambda v: {"reference": names.check_label("reference", v)},
    "group": lambda v: {"group": names.check_label("group", v)},
    "tags": lambda v: {"tags": _tags(v)},
    "meta": lambda v: {"meta": _meta(v)},
    "source": lambda v: {"source": _source(v)},
    "unique": lambda v: {"unique": checked_unique(v, seconds)},
    "middleware": lambda v: {"middleware": _labels("middleware", v)},
    "cancel_handler": lambda v: {"cancel_handler": _cancel_handler(v) if v else ""},
    "enabled": lambda v: {"enabled": _flag("enabled", v)},
    "environments": lambda v: {"environments": _labels("environments", v)},
}
OPTION_NAMES = frozenset(_OPTIONS)


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Job options as fields of a definition. Raises `InvalidDefinition`, and `TypeError` for one that isn't any."""
    checked: dict[str, Any] = {}
    for option, value in options.items():
        try:
            check = _OPTIONS[option]
        except KeyError:
            known = ", ".join(sorted(_OPTIONS))
            raise TypeError(f"{option!r} is not an option of a job. The options are {known}.") from None
        try:
            checked |= check(value)
        except (JobsError, ImproperlyConfigured):
            raise
        except Exception as error:  # what the value's own methods raise, such as those of a tzinfo
            says = (
                f"{option}: a {type(value).__name__} that can't be read ({type(error).__name__}). Give a plain value."
            )
            raise InvalidDefinition(says) from error
    return checked
