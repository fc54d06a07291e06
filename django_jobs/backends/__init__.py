"""Backends by alias, as `JOBS_BACKENDS` has them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from ..conf import conf
from .base import Backend, CancelOutcome, JobRecord, Note, Promotion, QueueStats, Settled, Supports, Wakeup, WorkerInfo

__all__ = [
    "Backend",
    "CancelOutcome",
    "JobRecord",
    "Note",
    "Promotion",
    "QueueStats",
    "Settled",
    "Supports",
    "Wakeup",
    "WorkerInfo",
    "get_backend",
]

_instances: dict[str, Backend] = {}
_lock = threading.Lock()


def get_backend(alias: str | Backend | None = None) -> Backend:
    """The backend with this alias (None: `JOBS_DEFAULT_BACKEND`; a backend is itself).

    Raises `ImproperlyConfigured` that says what to mend.
    """
    if isinstance(alias, Backend):
        return alias
    alias = alias or conf.default_backend
    backend = _instances.get(alias)
    if backend is None:
        with _lock:
            backend = _instances.get(alias) or _instances.setdefault(alias, build(alias, conf.backends))
    return backend


def build(alias: str, configured: Any) -> Backend:
    """A new backend from its entry in `configured`."""
    if alias not in configured:
        known = ", ".join(sorted(configured))
        raise ImproperlyConfigured(f"JOBS_BACKENDS has no backend {alias!r:.80}. It has: {known}.")
    entry, where = configured[alias], f"JOBS_BACKENDS[{alias!r}]"
    if not isinstance(entry, Mapping) or not isinstance(entry.get("OPTIONS") or {}, Mapping):
        raise ImproperlyConfigured(
            f'{where} is {entry!r:.80}. Make it a dict: {{"BACKEND": "dotted.path.of.a.Backend", "OPTIONS": {{}}}}.'
        )
    if unknown := set(entry) - {"BACKEND", "OPTIONS"}:
        raise ImproperlyConfigured(f"{where}: unknown key {min(map(str, unknown))!r}. Put it under OPTIONS.")
    path = entry.get("BACKEND")
    try:
        backend_class = import_string(path) if isinstance(path, str) else None
    except ImportError as error:
        raise ImproperlyConfigured(f"{where}['BACKEND']: {error}.") from error
    if not isinstance(backend_class, type) or not issubclass(backend_class, Backend):
        raise ImproperlyConfigured(f"{where}['BACKEND'] is {path!r:.80}. Make it the dotted path of a backend class.")
    return backend_class(alias, entry.get("OPTIONS") or {})


def _forget(*, setting: str, **_: Any) -> None:
    if setting in ("JOBS_BACKENDS", "JOBS_DEFAULT_BACKEND", "JOBS_DATABASE_ALIAS"):
        _instances.clear()


setting_changed.connect(_forget, dispatch_uid="django_jobs.backends")
