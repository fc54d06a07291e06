"""A background job queue, a scheduler and an admin for Django, on the database that the site already has.

from django_jobs import Jobs, JobHandler, JobContext, JobResult, JobRef, job
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import JobRef as JobRef
    from .api import Jobs as Jobs
    from .context import JobContext as JobContext
    from .definition import Priority as Priority
    from .exceptions import DeferTo as DeferTo
    from .exceptions import Discard as Discard
    from .exceptions import Fail as Fail
    from .exceptions import JobCancelled as JobCancelled
    from .exceptions import JobTimeout as JobTimeout
    from .exceptions import NonRetryableJobError as NonRetryableJobError
    from .exceptions import RetryableJobError as RetryableJobError
    from .exceptions import RetryAfter as RetryAfter
    from .exceptions import Snooze as Snooze
    from .handlers import JobHandler as JobHandler
    from .handlers import JobResult as JobResult
    from .handlers import job as job
    from .registry import register as register
    from .scheduler.builder import Scheduler as Scheduler

__version__ = "0.1.0"

_HOMES = {
    "DeferTo": "exceptions",
    "Discard": "exceptions",
    "Fail": "exceptions",
    "RetryAfter": "exceptions",
    "Snooze": "exceptions",
    "JobCancelled": "exceptions",
    "JobContext": "context",
    "JobHandler": "handlers",
    "JobRef": "api",
    "JobResult": "handlers",
    "JobTimeout": "exceptions",
    "Jobs": "api",
    "NonRetryableJobError": "exceptions",
    "Priority": "definition",
    "RetryableJobError": "exceptions",
    "Scheduler": "scheduler.builder",
    "job": "handlers",
    "register": "registry",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    # Lazy, so that `from django_jobs import Jobs` works before django.setup(): models load only when they are used.
    if name in _HOMES:
        value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
