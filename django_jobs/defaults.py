"""Filling in what a definition leaves open: the call wins over the handler, it over the queue, it over the site."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.core.signals import setting_changed

from . import registry
from .conf import conf, is_listed
from .definition import UNSET, JobDefinition, checked_options
from .exceptions import HandlerNotAllowed, InvalidDefinition
from .names import check_queue
from .retry import parse_backoff


def with_defaults(definition: JobDefinition) -> JobDefinition:
    """The definition with every option, its handler's true key and its payload's version.

    Raises `UnknownHandler`, `HandlerNotAllowed` where the queue does not take the handler's jobs, and
    `InvalidDefinition` for middleware that the site does not allow.
    """
    handler = registry.get(definition.handler)
    of_handler = registry.defaults_of(handler)
    queue = definition.queue if definition.queue is not UNSET else of_handler.get("queue", conf.default_option("queue"))
    changes = definition.gaps({**_defaults_of_queue(queue), **of_handler})
    changes["handler"] = key = registry.canonical(definition.handler)
    changes["schema_version"] = int.__int__(getattr(handler, "schema_version", 1))  # a member of an enum too
    if not conf.queue(queue).allows(key):
        raise HandlerNotAllowed(f"handler: JOBS_QUEUES[{queue!r}]['handlers'] does not allow {key!r}.")
    for path in definition.middleware:
        if not is_listed(path, conf.middleware_allowed):
            raise InvalidDefinition(f"middleware: {path!r} is not allowed. Add it to JOBS_MIDDLEWARE_ALLOWED.")
    return definition.changed(changes)


@lru_cache(maxsize=1000)
def _defaults_of_queue(name: str) -> Mapping[str, Any]:
    """What `JOBS_QUEUES` says of the jobs of a queue, over what the site says of all."""
    queue = conf.queue(name)
    return {
        **site_defaults(),
        **_checked(f"JOBS_QUEUES[{queue.name!r}]", queue.options),
        "queue": check_queue(name),
        "backend": queue.backend or conf.default_backend,
        "unique": None,
    }


def site_defaults() -> Mapping[str, Any]:
    """The job options of `JOBS_DEFAULTS` and `JOBS_BACKOFF`, checked."""
    defaults = {"backoff": parse_backoff(conf.backoff)}
    defaults |= {name: conf.default_option(name) for name in ("priority", "delay", "max_attempts", "timeout")}
    return _checked("JOBS_DEFAULTS", defaults)


def _checked(where: str, options: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return checked_options(options)
    except InvalidDefinition as error:
        raise InvalidDefinition(f"{where}: {error}") from None


def _forget(*, setting: str, **_: Any) -> None:
    if setting.startswith("JOBS_"):
        _defaults_of_queue.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_jobs.defaults")
