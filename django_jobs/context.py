"""`JobContext`: what a handler sees of its job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from .exceptions import JobCancelled


class Controls(Protocol):
    """What the process that runs a job offers to it."""

    def cancelled(self) -> bool:
        """Whether a cancel of the running job was asked for."""

    def note(self, kind: str, message: str, data: Mapping[str, Any]) -> None:
        """Hand a line for the job's timeline to whoever keeps it."""


class NoControls:
    """For runs outside a worker: nothing cancels, and notes go nowhere."""

    def cancelled(self) -> bool:
        return False

    def note(self, kind: str, message: str, data: Mapping[str, Any]) -> None:
        return


@dataclass(frozen=True, slots=True)
class JobContext:
    """The facts of one attempt, and a few live helpers.

    `attempt` counts from 1. `claim_no` rises with every claim of the job and never falls: use `(job_id, claim_no)` as a
    fencing token for writes to other systems. `deadline` is when the attempt's time is up (None: no limit).
    """

    job_id: str
    handler: str
    queue: str
    payload: Any
    name: str = ""
    reference: str = ""
    group: str = ""
    tags: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    source: str = "app"
    attempt: int = 1
    max_attempts: int = 1
    claim_no: int = 0
    worker_id: str = ""
    deadline: datetime | None = None
    parent: Mapping[str, Any] | None = None
    controls: Controls = field(default_factory=NoControls, repr=False, compare=False)

    @property
    def is_last_attempt(self) -> bool:
        """Whether a failure now is final."""
        return self.attempt >= self.max_attempts

    def cancelled(self) -> bool:
        """Whether a cancel of this job was asked for. Cheap: poll it in a loop."""
        return self.controls.cancelled()

    def raise_if_cancelled(self) -> None:
        """Raise `JobCancelled` if a cancel of this job was asked for."""
        if self.controls.cancelled():
            raise JobCancelled

    def heartbeat(self) -> None:
        """A good place to be stopped: the same as `raise_if_cancelled()`. The lease needs no help from a handler."""
        self.raise_if_cancelled()

    def progress(self, done: float, message: str = "", *, total: float | None = None) -> None:
        """Record how far the job is; the newest one shows on the job's page."""
        self.controls.note("progress", message, {"done": done, "total": total})

    def emit(self, message: str, **data: Any) -> None:
        """Write a line into the job's timeline. `data` are JSON values."""
        self.controls.note("message", message, data)
