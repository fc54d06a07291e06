"""Backends by alias, as `JOBS_BACKENDS` has them."""

from __future__ import annotations

import threading
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
        raise ImproperlyConfigured(f"JOBS_BACKENDS has no backend {alias!r}. It has: {known}.")
    entry = configured[alias]
    if unknown := set(entry) - {"BACKEND", "OPTIONS"}:
        raise ImproperlyConfigured(f"JOBS_BACKENDS[{alias!r}]: unknown key {min(unknown)!r}. Put it under OPTIONS.")
    try:
        backend_class = import_string(entry["BACKEND"])
    except (KeyError, ImportError) as error:
        raise ImproperlyConfigured(f"JOBS_BACKENDS[{alias!r}]['BACKEND']: {error}.") from error
    backend: Backend = backend_class(alias, entry.get("OPTIONS") or {})
    return backend


def _forget(*, setting: str, **_: Any) -> None:
    if setting in ("JOBS_BACKENDS", "JOBS_DEFAULT_BACKEND", "JOBS_DATABASE_ALIAS"):
        _instances.clear()


setting_changed.connect(_forget, dispatch_uid="django_jobs.backends")
