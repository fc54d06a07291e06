"""Handlers of the older form: classes with a method `run(data, job_id)`."""

from __future__ import annotations

from typing import Any, ClassVar

from .. import registry
from ..context import JobContext
from .base import JobHandler, JobResult


class LegacyTaskAdapter(JobHandler):
    """Runs a class that has `run(data, job_id)` and no `handle`; a key in `JOBS` that names one gets this by itself.

    The task's class attributes (`queue`, `max_attempts` …) are the defaults of its jobs. A `JobResult.retry(after=0)`
    leaves the delay to the backoff, as it always did there.
    """

    task: ClassVar[type]

    def handle(self, ctx: JobContext) -> Any:
        result = self.task().run(ctx.payload, ctx.job_id)
        if isinstance(result, JobResult) and result.kind == "retry" and result.after == 0:
            return JobResult.retry(result.error)
        return result


def adapt(task: type) -> type | None:
    """A handler that runs `task`; None where it has no method `run`."""
    if not callable(getattr(task, "run", None)):
        return None
    inherited = {name: value for name, value in vars(task).items() if name in JobHandler.__annotations__}
    names = {**inherited, "task": task, "__module__": task.__module__, "__qualname__": task.__qualname__}
    return type(task.__name__, (LegacyTaskAdapter,), names)


registry.adapters.append(adapt)
