"""`JobContext`: what a handler sees of its job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from .definition import JobDefinition
from .exceptions import JobCancelled
from .logs import AboutJob


class Controls(Protocol):
    """What the process that runs a job offers to it."""

    alone: bool
    """Whether no other job runs in the process."""

    def cancelled(self) -> bool:
        """Whether a cancel of the running job was asked for."""

    def note(self, kind: str, message: str, data: Mapping[str, Any]) -> None:
        """Hand a line for the job's timeline to whoever keeps it."""


class NoControls:
    """For runs outside a worker: nothing cancels, and notes go nowhere."""

    alone = True

    def cancelled(self) -> bool:
        return False

    def note(self, kind: str, message: str, data: Mapping[str, Any]) -> None:
        return


class Claimed(AboutJob, Protocol):
    """What a context takes of a claim."""

    @property
    def worker_id(self) -> str: ...
    @property
    def claim_no(self) -> int: ...


@dataclass(slots=True, eq=False)  # frozen, it would take three times as long to make
class JobContext:
    """The facts of one attempt, and a few live helpers."""

    _claim: Claimed = field(repr=False)
    _definition: JobDefinition = field(repr=False)
    payload: Any
    """Brought to the handler's version and type."""
    _ends_at: float | None = field(default=None, repr=False)
    controls: Controls = field(default_factory=NoControls, repr=False, compare=False)
    parent: Mapping[str, Any] | None = None

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self._claim.id

    @property
    def handler(self) -> str:
        """The handler key under which the job was dispatched."""
        return self._claim.handler

    @property
    def queue(self) -> str:
        """The queue that the job came from."""
        return self._claim.queue

    @property
    def name(self) -> str:
        """The name that the job was given."""
        return self._definition.name

    @property
    def reference(self) -> str:
        """The reference that the job was given."""
        return self._definition.reference

    @property
    def group(self) -> str:
        """The group that the job was put in."""
        return self._definition.group

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that the job was given."""
        return self._definition.tags

    @property
    def meta(self) -> Mapping[str, Any]:
        """The facts that the job was given beside its payload."""
        return self._definition.meta

    @property
    def source(self) -> str:
        """Where the job came from: `app`, `cron`, `callback`, `retry` or `cli`."""
        return self._definition.source

    @property
    def attempt(self) -> int:
        """Which attempt this is, counted from 1."""
        return self._claim.attempt

    @property
    def max_attempts(self) -> int:
        """How many attempts the job has in all."""
        return int(self._definition.max_attempts or 1)

    @property
    def claim_no(self) -> int:
        """Rises with every claim of the job and never falls: `(job_id, claim_no)` is a fencing token for writes to
        other systems.
        """
        return self._claim.claim_no

    @property
    def worker_id(self) -> str:
        """The worker that holds the job; empty outside a worker."""
        return self._claim.worker_id

    @property
    def deadline(self) -> datetime | None:
        """When the attempt's time is up; None is no limit."""
        return None if self._ends_at is None else datetime.fromtimestamp(self._ends_at, UTC)

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
