"""Handlers for trying a worker out, dispatched by `jobs_test` and `jobs_test_monitor`: each comes to one outcome.

Every worker knows them, and they are in no list of handlers. They do nothing but wait, fail, or cancel themselves.
"""

from __future__ import annotations

import time
from typing import Any

from .. import port
from ..context import JobContext
from ..exceptions import NonRetryableJobError
from .base import JobHandler

STEP_SECONDS = 0.05


class Success(JobHandler):
    """Completes after `payload["seconds"]`."""

    def handle(self, ctx: JobContext) -> dict[str, Any]:
        pause(ctx)
        return {"canned": "success"}


class Failed(JobHandler):
    """Fails for good after `payload["seconds"]`."""

    def handle(self, ctx: JobContext) -> None:
        pause(ctx)
        raise NonRetryableJobError("a canned failure, as asked for")


class Timeout(JobHandler):
    """Goes on for `payload["seconds"]`, which is to be longer than its timeout."""

    def handle(self, ctx: JobContext) -> None:
        pause(ctx)


class CancelRequested(JobHandler):
    """Asks for its own cancel, then waits for it for `payload["seconds"]`."""

    def handle(self, ctx: JobContext) -> None:
        port.jobs().cancel(ctx.job_id, reason="a canned cancel, as asked for", backend=ctx.payload["backend"])
        pause(ctx)


def pause(ctx: JobContext) -> None:
    """Wait, and end at once where a cancel was asked for."""
    end = time.monotonic() + float(ctx.payload["seconds"])
    while (left := end - time.monotonic()) > 0:
        ctx.raise_if_cancelled()
        time.sleep(min(left, STEP_SECONDS))
