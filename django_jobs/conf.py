"""The settings of django_jobs, each with its default, in one place.

Read them as attributes of `conf`. A value is kept until Django says that a setting changed, so `override_settings`
works. Nothing is ever written into `settings`. What is wrong in them is reported by the system checks
(`checks.py`), with what to do.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, Generic, TypeVar, overload

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from .exceptions import InvalidDefinition
from .kinds import FLAG, MAPPING, TEXT, TEXTS, WORDS, Kind, amount, choice, whole
from .names import check_queue

T = TypeVar("T")

QUEUES = Kind(
    "a list of names, a text with names and commas, or a dict of options by name",
    lambda v: isinstance(v, str | list | tuple | Mapping),
)
BACKOFF = Kind(
    "a strategy's name, seconds, a list of seconds, or a dict",
    lambda v: isinstance(v, str | int | float | list | tuple | Mapping) and not isinstance(v, bool),
)
PATH = Kind("a callable, or its dotted path", lambda v: callable(v) or TEXT.fits(v))
SCHEDULE = Kind(
    "a list or a dict of entries, a function that gets a Scheduler, or its dotted path",
    lambda v: isinstance(v, list | tuple | Mapping) or PATH.fits(v),
)
SWITCH = Kind("True, False, a callable, or its dotted path", lambda v: isinstance(v, bool) or PATH.fits(v))
PATHS = Kind(
    "a list of callables, or of their dotted paths", lambda v: isinstance(v, list | tuple) and all(map(PATH.fits, v))
)

EVENTS = ("none", "odd", "all")
SHOWS = ("lines", "tui", "json", "quiet")
ISOLATIONS = ("pool", "fork", "spawn", "inline")
MOST_WORKERS = 1000  # children of one worker: more is a slip, which would take all of the memory
CATCH_UPS = ("skip", "one", "all")
MOST_MADE_UP_FOR = 10_000
DEFAULT_BACKENDS: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django_jobs.backends.database.DatabaseBackend", "OPTIONS": {}},
}
DEFAULT_BACKOFF: dict[str, Any] = {"strategy": "exponential", "base": 5, "factor": 2, "cap": 300, "jitter": 0.15}
DEFAULT_OPTIONS: dict[str, Any] = {
    "queue": "default",
    "priority": 0,
    "delay": 0,
    "max_attempts": 1,
    "timeout": 300,
    "ttl": 7 * 24 * 3600,
}


DEFAULT_SENSITIVE_KEYS = (
    *("passw", "pwd", "passphrase", "secret", "token", "credential", "authorization", "cookie", "session_id", "cvv"),
    *("api_key", "private_key", "access_key", "signing_key", "card_number"),
)


class Unread:
    """The type of `UNREAD`: the setting has not been read since it changed."""


UNREAD = Unread()


class Setting(Generic[T]):
    """A setting `JOBS_<NAME>`: its default, what it may be, and a line about it.

    A read costs a tenth of a microsecond: every job makes a few.
    """

    def __init__(self, default: T, kind: Kind, about: str) -> None:
        self.default = default
        self.kind = kind
        self.about = about
        self._kept: T | Unread = UNREAD

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = "JOBS" if name == "handlers" else f"JOBS_{name.upper()}"

    @overload
    def __get__(self, instance: None, owner: type) -> Setting[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Setting[T] | T:
        if instance is None:
            return self
        kept = self._kept
        if isinstance(kept, Unread):
            kept = self._kept = getattr(settings, self.name, self.default)
        return kept

    @property
    def fits(self) -> bool:
        """Whether the present value is of its kind."""
        return self.kind.fits(getattr(settings, self.name, self.default))

    def forget(self) -> None:
        """Read the setting anew at the next access."""
        self._kept = UNREAD


def is_listed(name: str, listed: Collection[str]) -> bool:
    """Whether a list of names has this one. What was meant as a list and is one text has none: `in` finds parts."""
    return not isinstance(listed, str) and name in listed


class Conf:
    """The facade. Times are in seconds, sizes in bytes."""

    # what runs
    handlers: Setting[Mapping[str, Any]] = Setting(
        {}, MAPPING, "What runs: handler keys, and for each a class or its dotted path."
    )
    builtins: Setting[Any] = Setting((), TEXTS, "The built-in handlers that jobs may use, by their keys.")
    commands_allowed: Setting[Any] = Setting(
        (), TEXTS, "The management commands that jobs of the handler `command` may run."
    )
    callables_allowed: Setting[Any] = Setting(
        (), TEXTS, "The dotted paths that jobs of the handler `callable` may call."
    )
    shell_allowed: Setting[Any] = Setting(
        (),
        TEXTS,
        "The programs that jobs of the handler `shell` may run: paths, or names that are looked up in the PATH of "
        "the process that runs them.",
    )
    shell_variables: Setting[Any] = Setting(
        (),
        TEXTS,
        "What these programs see of the worker's environment, beside PATH, HOME, LANG and the like: names of "
        "variables.",
    )
    aliases: Setting[Mapping[str, str]] = Setting({}, WORDS, "Old handler keys, and for each the key that it is now.")
    middleware: Setting[Any] = Setting((), PATHS, "The middleware round every attempt, the outermost first.")
    middleware_allowed: Setting[Any] = Setting(
        (), TEXTS, "The dotted paths of further middleware that a job may ask for."
    )
    container: Setting[Any] = Setting(
        None, PATH.or_none("the class is called"), "What makes the instance of a handler class."
    )
    environment: Setting[str] = Setting(
        os.environ.get("DJANGO_ENV") or "production",
        TEXT,
        "Where this is, for jobs of some environments only. Default: the variable DJANGO_ENV.",
    )

    # where it is kept
    backends: Setting[Mapping[str, Any]] = Setting(
        DEFAULT_BACKENDS, MAPPING, "Where jobs are kept, by alias, in the style of `CACHES`."
    )
    default_backend: Setting[str] = Setting("default", TEXT, "The alias in `JOBS_BACKENDS` of jobs that name none.")
    database_alias: Setting[str] = Setting(
        "default", TEXT, "The alias in `DATABASES` of backends that name no `DATABASE`."
    )
    queues: Setting[Any] = Setting(
        ["default"],
        QUEUES,
        "The queues, which a worker without names serves in this order; the options of each are below.",
    )
    defaults: Setting[Mapping[str, Any]] = Setting(
        {}, MAPPING, "The options of jobs where neither the call, the handler nor the queue says another."
    )

    # retry
    backoff: Setting[Mapping[str, Any]] = Setting(
        DEFAULT_BACKOFF, BACKOFF, "How long a job waits between its attempts; see `django_jobs.retry.backoff`."
    )
    max_crashes: Setting[int] = Setting(3, whole(1), "How many crashes end a job.")
    max_history: Setting[int] = Setting(20, whole(1), "How many earlier attempts are kept with a job.")
    missing_handler_grace: Setting[float] = Setting(
        300.0, amount("seconds"), "How long a job waits for a handler that no process knows, as during a deployment."
    )
    max_snoozes: Setting[int] = Setting(1000, whole(1), "How many snoozes, or moves to another queue, end a job.")
    backoffs: Setting[Mapping[str, Any]] = Setting(
        {}, MAPPING, "Functions of the site that say how long to wait, by the names that backoffs use."
    )
    dead_letter_queue: Setting[str | None] = Setting(
        None, TEXT.or_none("none is made"), "The queue on which a copy of each job that failed is put."
    )
    dead_letter_handler: Setting[str | None] = Setting(
        None, TEXT.or_none("the job's own"), "The handler key of those copies."
    )

    # the worker
    lease_seconds: Setting[float] = Setting(
        30.0, amount("seconds", above=0), "How long a worker that does not renew its lease keeps what it holds."
    )
    heartbeat_interval: Setting[float] = Setting(
        5.0, amount("seconds", above=0), "How often a worker renews its lease."
    )
    reap_interval: Setting[float] = Setting(
        5.0, amount("seconds", above=0), "How often a worker looks for jobs of lost workers."
    )
    cleanup_interval: Setting[float] = Setting(
        60.0, amount("seconds", above=0), "How often a worker deletes what was kept long enough."
    )
    poll_interval: Setting[float] = Setting(
        1.0, amount("seconds", above=0), "How long an idle worker waits before it looks again, where nothing wakes it."
    )
    cancel_interval: Setting[float] = Setting(
        0.5,
        amount("seconds", above=0),
        "How often a worker asks for cancels of what it runs, where the store does not tell it at once.",
    )
    shutdown_timeout: Setting[float] = Setting(
        30.0, amount("seconds"), "How long a worker that stops lets its jobs run on, all together."
    )
    kill_grace: Setting[float] = Setting(
        5.0, amount("seconds"), "How long a job has to clean up after its timeout, before it is killed."
    )
    claim_batch: Setting[int] = Setting(400, whole(1), "How many jobs one claim takes at most.")
    message_jobs: Setting[int] = Setting(
        10, whole(1), "How many jobs of quick handlers go to a child in one message; 1 turns that off."
    )
    show: Setting[str] = Setting("lines", choice(*SHOWS), "What a worker prints of its jobs.")

    # the schedule
    schedule: Setting[Any] = Setting((), SCHEDULE, "What runs when, beside the `schedule` of each app's jobs.py.")
    schedule_timezone: Setting[str | None] = Setting(
        None, TEXT.or_none("TIME_ZONE"), "The time zone of entries that name none."
    )
    schedule_catch_up: Setting[str] = Setting(
        "skip",
        choice(*CATCH_UPS),
        "What becomes of ticks that were missed: nothing, the last one is made up for, or all are.",
    )
    schedule_catch_up_limit: Setting[int] = Setting(
        10, whole(1, MOST_MADE_UP_FOR), "How many missed ticks of an entry are made up for at most, the latest."
    )

    schedule_grace: Setting[float] = Setting(
        90.0, amount("seconds"), "How late a tick may be found without counting as missed."
    )
    maintenance: Setting[Any] = Setting(
        None,
        Kind("True, False, a callable, or its dotted path", lambda v: isinstance(v, bool) or PATH.fits(v)).or_none(
            "off"
        ),
        "Whether it is on: then only entries of the schedule with `run_in_maintenance` run.",
    )

    # bounds
    max_payload_bytes: Setting[int] = Setting(65_536, whole(1), "How long a payload may be, as JSON.")
    max_result_bytes: Setting[int] = Setting(
        65_536, whole(1), "How long a result may be, as JSON; a longer one is cut."
    )
    max_traceback_bytes: Setting[int] = Setting(
        32_768, whole(1), "How long a traceback may be; a longer one keeps its end."
    )
    max_output_length: Setting[int] = Setting(
        10_000, whole(0), "How many characters of a handler's output are kept, where that is captured."
    )

    # while the store is away
    circuit_threshold: Setting[int] = Setting(
        5, whole(0), "After how many failures of the store in a row an enqueue is refused at once; 0 is never."
    )
    circuit_cooldown: Setting[float] = Setting(60.0, amount("seconds"), "How long, before the store is asked again.")

    # signing
    signing_key: Setting[str | None] = Setting(
        None, TEXT.or_none("SECRET_KEY"), "The secret that envelopes are signed with."
    )
    signing_key_fallbacks: Setting[Any] = Setting((), TEXTS, "Earlier secrets, whose signatures still count.")
    verify_signatures: Setting[bool] = Setting(True, FLAG, "Whether a job runs only with a signature that holds.")

    # the timeline
    events: Setting[str] = Setting(
        "odd", choice(*EVENTS), "Which steps of a job its timeline has: none, those off the plain path, or all."
    )

    # hiding
    sensitive_keys: Setting[Any] = Setting(
        DEFAULT_SENSITIVE_KEYS, TEXTS, "Words in keys whose values are hidden in logs, the admin and errors."
    )

    # keeping
    keep_events: Setting[int] = Setting(
        14 * 24 * 3600, amount("seconds").or_none("for ever"), "How long entries of timelines are kept."
    )
    keep_ticks: Setting[int] = Setting(
        14 * 24 * 3600,
        amount("seconds").or_none("for ever"),
        "How long ticks of the schedule are kept; the last stays.",
    )
    keep_workers: Setting[int] = Setting(
        24 * 3600, amount("seconds").or_none("for ever"), "How long workers that have ended are kept."
    )

    def default_option(self, name: str) -> Any:
        """The site's default of a job option: `JOBS_DEFAULTS[name]`, else the built-in one."""
        return self.defaults.get(name, DEFAULT_OPTIONS[name])

    def queue(self, name: str) -> QueueOptions:
        """What `JOBS_QUEUES` says of the queue `name`; a queue that it does not name has no options of its own."""
        return _queues().get(name) or QueueOptions(name)

    def backend_of(self, queue: str) -> str:
        """The alias of the backend that keeps the jobs of a queue."""
        return self.queue(queue).backend or self.default_backend

    def queues_of(self, backend: str) -> list[str]:
        """The queues of `JOBS_QUEUES` whose jobs the backend of this alias keeps, in its order."""
        return [name for name in self.queue_names() if self.backend_of(name) == backend]

    def queue_names(self) -> list[str]:
        """The queues of `JOBS_QUEUES`, in its order; `default` where it names none."""
        return list(_queues()) or ["default"]


def declared() -> list[Setting[Any]]:
    """Every setting, in the order of the facade."""
    return [value for value in vars(Conf).values() if isinstance(value, Setting)]


def option(default: Any, kind: Kind, about: str) -> Any:
    """An option of a queue: its default, what it may be, and a line about it."""
    return field(default=default, metadata={"kind": kind, "about": about})


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """One entry of `JOBS_QUEUES`. `options` are defaults of the jobs of this queue; the rest is the worker's."""

    name: str
    max_workers: int = option(3, whole(1, MOST_WORKERS), "How many children a worker of this queue has.")
    isolation: str = option(
        "pool",
        choice(*ISOLATIONS),
        "Where its jobs run: in children that are reused (`pool`), in a child each (`fork`), in a fresh interpreter "
        "each (`spawn`), or in the worker's own process (`inline`).",
    )
    concurrency: int = option(
        1,
        whole(1, 1000),
        "How many jobs each child of a `pool` runs at once: `async def` handlers in one event loop, others in threads.",
    )
    max_jobs_per_child: int | None = option(
        None, whole(1).or_none("no limit"), "After how many jobs a child is replaced by a fresh one."
    )
    max_memory_mb: int | None = option(
        None,
        whole(1).or_none("no limit"),
        "Above how much memory (RSS, in MB) a child is replaced by a fresh one, once its job is done.",
    )
    keep_completed: int | None = option(
        None, whole(0).or_none("as the job's ttl says"), "How many seconds completed jobs are kept; 0 keeps none."
    )
    backend: str | None = option(
        None, TEXT.or_none("JOBS_DEFAULT_BACKEND"), "The alias in `JOBS_BACKENDS` that keeps its jobs."
    )
    handlers: tuple[str, ...] | None = option(
        None, TEXTS.or_none("every one"), "The handler keys that may be on the queue."
    )
    warnings_as_errors: bool = option(False, FLAG, "Whether a warning of Python fails an attempt.")
    dead_letter_queue: str | None = option(
        None,
        TEXT.or_none("JOBS_DEAD_LETTER_QUEUE"),
        "The queue on which a copy of each of its jobs that failed is put.",
    )
    dead_letter_handler: str | None = option(
        None, TEXT.or_none("JOBS_DEAD_LETTER_HANDLER"), "The handler key of those copies."
    )
    options: Mapping[str, Any] = field(default_factory=dict)

    def allows(self, handler: str) -> bool:
        """Whether jobs of this handler key may be on the queue: all, unless `handlers` names some."""
        return self.handlers is None or handler in self.handlers


QUEUE_OPTIONS = {f.name: f for f in fields(QueueOptions) if f.metadata}
JOB_OPTIONS = {"priority", "delay", "max_attempts", "timeout", "ttl", "backoff"}


def parse_queues(value: Any) -> dict[str, QueueOptions]:
    """`JOBS_QUEUES` in any of its forms (a list, `"a,b"`, or a dict of options by name) as one dict.

    Raises `ImproperlyConfigured` with the entry and the option that are wrong.
    """
    if not QUEUES.fits(value):
        raise ImproperlyConfigured(f"JOBS_QUEUES is {value!r:.80}. Make it {QUEUES.says}.")
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",") if name.strip()]
    entries = value.items() if isinstance(value, Mapping) else [(name, {}) for name in value]
    return {name: _queue(name, given) for name, given in entries}


def _queue(name: str, given: Any) -> QueueOptions:
    where = f"JOBS_QUEUES[{name!r}]"
    try:
        check_queue(name)
    except InvalidDefinition as error:
        raise ImproperlyConfigured(f"JOBS_QUEUES: {error}") from None
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"{where} is {given!r:.80}. Make it a dict of options.")
    own: dict[str, Any] = {}
    of_jobs: dict[str, Any] = {}
    for key, item in given.items():
        if key in JOB_OPTIONS:
            of_jobs[key] = item
            continue
        if key not in QUEUE_OPTIONS:
            known = ", ".join(sorted({*QUEUE_OPTIONS, *JOB_OPTIONS}))
            raise ImproperlyConfigured(f"{where}: unknown option {key!r:.80}. The options are {known}.")
        kind = QUEUE_OPTIONS[key].metadata["kind"]
        if not kind.fits(item):
            raise ImproperlyConfigured(f"{where}[{key!r}] is {item!r:.80}. Make it {kind.says}.")
        own[key] = tuple(item) if key == "handlers" and item is not None else item
    return QueueOptions(name=name, options=of_jobs, **own)


@lru_cache(maxsize=1)
def _queues() -> dict[str, QueueOptions]:
    return parse_queues(conf.queues)


def _forget(*, setting: str, **_: Any) -> None:
    for declaration in declared():
        if declaration.name == setting:
            declaration.forget()
    if setting == "JOBS_QUEUES":
        _queues.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_jobs.conf")

conf = Conf()
