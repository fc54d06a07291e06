"""Canned jobs, each of which comes to a known outcome: for trying out a worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..api import JobRef, Jobs
from ..backends import Backend, JobRecord
from ..exceptions import JobNotFound

KINDS = ("success", "failed", "timeout", "cancel_requested", "cancelled")
ALIASES = {
    "completed": "success",
    "failure": "failed",
    "cancel": "cancelled",
    "canceled": "cancelled",
    "request_cancelled": "cancel_requested",
    "request_canceled": "cancel_requested",
}
OUTCOMES = {
    "success": ("completed", ""),
    "failed": ("failed", "failed"),
    "timeout": ("failed", "timed_out"),
    "cancel_requested": ("cancelled", ""),
    "cancelled": ("cancelled", ""),
}
"""The state, and the reason of a failure, to which each kind comes."""
SECONDS = 0.2
TIMEOUT_SECONDS = 1.0
TOO_LONG_SECONDS = 30.0
CANCEL_SECONDS = 5.0  # inline, nobody sees a cancel before the job has ended by itself
LOOK_SECONDS = 0.1
KEEP = "1 hour"  # whatever the queue says of its completed jobs: somebody waits to see them


@dataclass(slots=True)
class Canned:
    """A canned job, and what is known of it."""

    kind: str
    ref: JobRef
    record: JobRecord | None = None

    @property
    def is_finished(self) -> bool:
        """Whether it has come to an end."""
        return self.record is not None and self.record.is_finished

    @property
    def is_as_expected(self) -> bool:
        """Whether that end is the one of its kind."""
        record = self.record
        return record is not None and (record.state, record.reason) == OUTCOMES[self.kind]


def dispatch(backend: Backend, kind: str, queue: str) -> Canned:
    """Enqueue a job of this kind."""
    if kind == "cancelled":
        job = Jobs.define("jobs_test.success", {"seconds": SECONDS}).delay("1 day")
    elif kind == "timeout":
        job = Jobs.define("jobs_test.timeout", {"seconds": TOO_LONG_SECONDS}).timeout(TIMEOUT_SECONDS)
    elif kind == "cancel_requested":
        job = Jobs.define("jobs_test.cancel_requested", {"seconds": CANCEL_SECONDS, "backend": backend.alias})
    else:
        job = Jobs.define(f"jobs_test.{kind}", {"seconds": SECONDS})
    job = job.queue(queue).max_attempts(1).ttl(KEEP).named(f"jobs_test {kind}")
    ref = Jobs.dispatch(job.with_options(source="cli", backend=backend.alias))
    if kind == "cancelled":
        ref.cancel("a canned cancel, as asked for")
    return Canned(kind, ref)


def await_all(jobs: Sequence[Canned], seconds: float, seen: Callable[[Canned], None]) -> bool:
    """Wait until all have come to an end, for at most so long; `seen` is called with each. Answers whether all have."""
    deadline = time.monotonic() + seconds
    waiting = list(jobs)
    while waiting:
        for job in waiting:
            try:
                job.record = job.ref.refresh()
            except JobNotFound:  # its record is not kept
                job.record = None
            if job.is_finished:
                seen(job)
        waiting = [job for job in waiting if not job.is_finished]
        if waiting and time.monotonic() > deadline:
            return False
        if waiting:
            time.sleep(LOOK_SECONDS)
    return True
