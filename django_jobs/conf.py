"""The settings of django_jobs, each with its default, in one place.

Read them as attributes of `conf`. A value is kept until Django says that a setting changed, so `override_settings`
works. Nothing is ever written into `settings`. What is wrong in them is reported by the system checks
(`checks.py`), with what to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, TypeVar, overload

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from .exceptions import InvalidDefinition
from .names import check_queue

T = TypeVar("T")

EVENTS = ("none", "odd", "all")
ISOLATIONS = ("pool", "inline")
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
    """A setting `JOBS_<NAME>` with its default. A read costs a tenth of a microsecond: every job makes a few."""

    def __init__(self, default: T) -> None:
        self.default = default
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

    def forget(self) -> None:
        """Read the setting anew at the next access."""
        self._kept = UNREAD


class Conf:
    """The facade. Times are in seconds, sizes in bytes."""

    # what runs
    handlers: Setting[Mapping[str, Any]] = Setting({})
    builtins: Setting[Any] = Setting(())
    commands_allowed: Setting[Any] = Setting(())
    callables_allowed: Setting[Any] = Setting(())
    aliases: Setting[Mapping[str, str]] = Setting({})
    middleware: Setting[Any] = Setting(())
    middleware_allowed: Setting[Any] = Setting(())
    container: Setting[Any] = Setting(None)
    environment: Setting[str] = Setting(os.environ.get("DJANGO_ENV") or "production")

    # where it is kept
    backends: Setting[Mapping[str, Any]] = Setting(DEFAULT_BACKENDS)
    default_backend: Setting[str] = Setting("default")
    database_alias: Setting[str] = Setting("default")
    queues: Setting[Any] = Setting(["default"])
    defaults: Setting[Mapping[str, Any]] = Setting({})

    # retry
    backoff: Setting[Mapping[str, Any]] = Setting(DEFAULT_BACKOFF)
    max_crashes: Setting[int] = Setting(3)
    max_history: Setting[int] = Setting(20)
    missing_handler_grace: Setting[float] = Setting(300.0)
    max_snoozes: Setting[int] = Setting(1000)
    backoffs: Setting[Mapping[str, Any]] = Setting({})
    dead_letter_queue: Setting[str | None] = Setting(None)
    dead_letter_handler: Setting[str | None] = Setting(None)

    # the worker
    lease_seconds: Setting[float] = Setting(30.0)
    heartbeat_interval: Setting[float] = Setting(5.0)
    reap_interval: Setting[float] = Setting(5.0)
    cleanup_interval: Setting[float] = Setting(60.0)
    poll_interval: Setting[float] = Setting(1.0)
    shutdown_timeout: Setting[float] = Setting(30.0)
    kill_grace: Setting[float] = Setting(5.0)
    claim_batch: Setting[int] = Setting(200)
    message_jobs: Setting[int] = Setting(10)
    show: Setting[str] = Setting("lines")

    # bounds
    max_payload_bytes: Setting[int] = Setting(65_536)
    max_result_bytes: Setting[int] = Setting(65_536)
    max_traceback_bytes: Setting[int] = Setting(32_768)
    max_output_length: Setting[int] = Setting(10_000)

    # while the store is away
    circuit_threshold: Setting[int] = Setting(5)
    circuit_cooldown: Setting[float] = Setting(60.0)

    # signing
    signing_key: Setting[str | None] = Setting(None)
    signing_key_fallbacks: Setting[Any] = Setting(())
    verify_signatures: Setting[bool] = Setting(True)

    # the timeline
    events: Setting[str] = Setting("odd")

    # hiding
    sensitive_keys: Setting[Any] = Setting(DEFAULT_SENSITIVE_KEYS)

    # keeping
    keep_events: Setting[int] = Setting(14 * 24 * 3600)
    keep_workers: Setting[int] = Setting(24 * 3600)

    def default_option(self, name: str) -> Any:
        """The site's default of a job option: `JOBS_DEFAULTS[name]`, else the built-in one."""
        return self.defaults.get(name, DEFAULT_OPTIONS[name])

    def queue(self, name: str) -> QueueOptions:
        """What `JOBS_QUEUES` says of the queue `name`; a queue that it does not name has no options of its own."""
        return _queues().get(name) or QueueOptions(name)

    def queue_names(self) -> list[str]:
        """The queues of `JOBS_QUEUES`, in its order; `default` where it names none."""
        return list(_queues()) or ["default"]


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """One entry of `JOBS_QUEUES`. `options` are defaults of the jobs of this queue; the rest is the worker's."""

    name: str
    max_workers: int = 3
    isolation: str = "pool"
    max_jobs_per_child: int | None = None
    keep_completed: int | None = None
    backend: str | None = None
    handlers: tuple[str, ...] | None = None
    warnings_as_errors: bool = False
    dead_letter_queue: str | None = None
    dead_letter_handler: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def allows(self, handler: str) -> bool:
        """Whether jobs of this handler key may be on the queue: all, unless `handlers` names some."""
        return self.handlers is None or handler in self.handlers


_OF_THE_WORKER = {"max_workers", "isolation", "max_jobs_per_child", "keep_completed", "backend"}
_OF_THE_WORKER |= {"handlers", "warnings_as_errors", "dead_letter_queue", "dead_letter_handler"}
JOB_OPTIONS = {"priority", "delay", "max_attempts", "timeout", "ttl", "backoff"}


def parse_queues(value: Any) -> dict[str, QueueOptions]:
    """`JOBS_QUEUES` in any of its forms (a list, `"a,b"`, or a dict of options by name) as one dict.

    Raises `ImproperlyConfigured` with the entry and the option that are wrong.
    """
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",") if name.strip()]
    entries = value if isinstance(value, Mapping) else {name: {} for name in value}
    queues = {}
    for name, given in entries.items():
        try:
            check_queue(name)
        except InvalidDefinition as error:
            raise ImproperlyConfigured(f"JOBS_QUEUES: {error}") from None
        if unknown := set(given or {}) - _OF_THE_WORKER - JOB_OPTIONS:
            known = ", ".join(sorted(_OF_THE_WORKER | JOB_OPTIONS))
            raise ImproperlyConfigured(
                f"JOBS_QUEUES[{name!r}]: unknown option {min(unknown)!r}. The options are {known}."
            )
        own = {key: item for key, item in (given or {}).items() if key in _OF_THE_WORKER}
        if own.get("handlers") is not None:
            own["handlers"] = _handlers_of(name, own["handlers"])
        of_jobs = {key: item for key, item in (given or {}).items() if key in JOB_OPTIONS}
        queues[name] = QueueOptions(name=name, options=of_jobs, **own)
        if queues[name].isolation not in ISOLATIONS:
            raise ImproperlyConfigured(
                f"JOBS_QUEUES[{name!r}]['isolation']: {queues[name].isolation!r} is not one of {', '.join(ISOLATIONS)}."
            )
    return queues


def _handlers_of(queue: str, given: Any) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable) or not all(isinstance(k, str) for k in given):
        raise ImproperlyConfigured(
            f"JOBS_QUEUES[{queue!r}]['handlers'] must be a list of handler keys. Leave it out to allow every handler."
        )
    return tuple(given)


@lru_cache(maxsize=1)
def _queues() -> dict[str, QueueOptions]:
    return parse_queues(conf.queues)


def _forget(*, setting: str, **_: Any) -> None:
    for value in vars(Conf).values():
        if isinstance(value, Setting) and value.name == setting:
            value.forget()
    if setting == "JOBS_QUEUES":
        _queues.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_jobs.conf")

conf = Conf()
