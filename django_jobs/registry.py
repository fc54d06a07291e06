"""Handler keys and what they name. What is stored selects a handler here; nothing stored is ever imported.

Three sources, later ones may not take a key of earlier ones: `settings.JOBS`, the built-in handlers that
`settings.JOBS_BUILTINS` lets in, and `@register` / `@job` in the `jobs.py` of installed apps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from .conf import JOB_OPTIONS, conf, is_listed
from .definition import UNSET, JobDefinition
from .exceptions import InvalidDefinition, InvalidHandler, UnknownHandler
from .names import check_handler, shown

BUILTINS = {
    "command": "django_jobs.handlers.command.CommandHandler",
    "callable": "django_jobs.handlers.callable.CallableHandler",
    "shell": "django_jobs.handlers.shell.ShellHandler",
}
CANNED = {
    f"jobs_test.{name}": f"django_jobs.handlers.canned.{path}"
    for name, path in {
        "success": "Success",
        "failed": "Failed",
        "timeout": "Timeout",
        "cancel_requested": "CancelRequested",
    }.items()
}
"""Those of `jobs_test`: known to every worker, and in no list. They can do no harm."""
C = TypeVar("C", bound=type)

_declared: dict[str, type] = {}
_resolved: dict[str, type] = {}
_lock = threading.RLock()
_NUMBERS: Mapping[str, tuple[int | None, int]] = {"schema_version": (1, 1), "max_snoozes": (None, 0)}
"""Attributes of a handler that are whole numbers: what each is by default, and at least."""
_MOST = 2**31 - 1
_DEFAULTED = (*sorted(JOB_OPTIONS), "queue", "backend", "unique", "max_retries", "retry_delay")

adapters: list[Callable[[type], type | None]] = []
"""Each is asked of a class without a method `handle`, and may answer a handler that stands for it."""


def register(key: str) -> Callable[[C], C]:
    """Class decorator: register a handler under `key`.

    @register("welcome")
    class SendWelcomeEmail(JobHandler): ...
    """

    def decorate(handler: C) -> C:
        declare(key, handler)
        return handler

    return decorate


def declare(key: str, handler: type) -> None:
    """Register `handler` under `key`. Raises `InvalidHandler` if another handler has the key."""
    check_handler(key)
    handler = check_class(key, handler)
    other = _declared.setdefault(key, handler)
    if other is not handler and path_of(other) != path_of(handler):
        raise InvalidHandler(f"handler {key!r} is {path_of(other)} already; {path_of(handler)} needs a key of its own.")
    with _lock:
        _declared[key] = handler  # a reloaded module replaces its own handler
        _resolved.pop(key, None)


def get(key: str) -> type:
    """The handler class for `key`. Raises `UnknownHandler`, and `InvalidHandler` where the key names no handler."""
    try:
        return _resolved[key]
    except KeyError:
        return _resolve(key)


def canonical(key: str) -> str:
    """The key that `key` stands for: another one where `JOBS_ALIASES` says so."""
    return conf.aliases.get(key, key)


def handler_keys() -> list[str]:
    """Every handler key, sorted."""
    return sorted({*conf.handlers, *(key for key in conf.builtins if key in BUILTINS), *_declared})


def key_of(handler: type) -> str:
    """The key under which `handler` is registered. Raises `UnknownHandler` where it is under none, or several."""
    found = [key for key in handler_keys() if _is(key, handler)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownHandler(f"{path_of(handler)} has several keys ({', '.join(found)}). Use Jobs.define(key, ...).")
    raise UnknownHandler(
        f"{path_of(handler)} has no key. Add it to settings.JOBS, as {{'some-key': '{path_of(handler)}'}}."
    )


def defaults_of(handler: type) -> Mapping[str, Any]:
    """The job options that a handler sets: its class attributes, each overridden by a `get_<option>()` class method."""
    cached: dict[str, Any] | None = handler.__dict__.get("_job_defaults")
    if cached is not None:
        return cached
    given: dict[str, Any] = {}
    computed = False
    for option in _DEFAULTED:
        getter = getattr(handler, f"get_{option}", None)
        computed = computed or getter is not None
        value = getter() if getter is not None else getattr(handler, option, UNSET)
        if value is not UNSET and not (option == "backoff" and callable(value)):
            given[option] = value
    try:
        blank = JobDefinition(handler="").with_(**given)
    except InvalidDefinition as error:
        raise InvalidHandler(f"{path_of(handler)}: {error}") from None
    result = {
        name: value
        for name in ("queue", "backend", "priority", "delay", "max_attempts", "timeout", "backoff", "ttl", "unique")
        if (value := getattr(blank, name)) is not UNSET
    }
    if not computed:
        handler._job_defaults = result  # type: ignore[attr-defined]  # a cache on the class itself dies with it
    return result


def check_class(key: str, handler: Any) -> type:
    """`handler`, if it can be one. Raises `InvalidHandler` that says what is missing."""
    if not isinstance(handler, type):
        raise InvalidHandler(
            f"handler {key!r}: {handler!r:.200} is not a class. Give a JobHandler subclass, or a @job function."
        )
    if not callable(getattr(handler, "handle", None)):
        for adapt in adapters:
            if adapted := adapt(handler):
                return adapted
        raise InvalidHandler(f"handler {key!r}: {path_of(handler)} has no method `handle(self, ctx)`.")
    for name, (default, least) in _NUMBERS.items():
        value = getattr(handler, name, default)
        number = int.__int__(value) if isinstance(value, int) and not isinstance(value, bool) else -1
        if value is not default and not least <= number <= _MOST:
            raise InvalidHandler(
                f"handler {key!r}: {path_of(handler)}.{name} is {shown(value)}. "
                f"Make it a whole number of at least {least}."
            )
    return handler


def path_of(handler: Any) -> str:
    """The dotted path of a class or function."""
    return f"{handler.__module__}.{handler.__qualname__}"


def _is(key: str, handler: type) -> bool:
    try:
        return get(key) is handler
    except (UnknownHandler, InvalidHandler):
        return False


def _resolve(alias: str) -> type:
    key = canonical(alias)
    target: Any = conf.handlers.get(key) or (BUILTINS.get(key) if key in conf.builtins else None) or _declared.get(key)
    target = target or CANNED.get(key)
    if target is None and ":" in key:
        target = _method_of(key)
    if target is None:
        do = "Add it to settings.JOBS, or decorate it in an app's jobs.py."
        if key in BUILTINS:
            do = "One is built in, and off: add it to JOBS_BUILTINS to let it in."
        raise UnknownHandler(f"no handler is registered as {str(key)[:128]!r}. {do}")
    if isinstance(target, str):
        try:
            target = import_string(target)
        except Exception as error:  # whatever the module raises as it is loaded
            raise InvalidHandler(f"handler {key!r}: cannot import {target!r} ({error}).") from error
    target = getattr(target, "job_handler", target)
    with _lock:
        _resolved[alias] = check_class(key, target)
    return _resolved[alias]


def _method_of(key: str) -> type | None:
    """For `key:method`: a handler whose `handle` is that method, where the class lists it in `methods`."""
    owner, _, method = key.rpartition(":")
    try:
        handler = get(owner)
    except UnknownHandler:
        return None
    if not is_listed(method, getattr(handler, "methods", ())):
        return None
    names = {"handle": getattr(handler, method), "__module__": handler.__module__}
    return type(f"{handler.__name__}.{method}", (handler,), names)


def _forget(*, setting: str, **_: Any) -> None:
    if setting in ("JOBS", "JOBS_BUILTINS", "JOBS_ALIASES"):
        _resolved.clear()


setting_changed.connect(_forget, dispatch_uid="django_jobs.registry")
