"""From an entry and one of its ticks to a job: as a backend stores it, or run to its end in this process."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import NamedTuple

from ..api import Jobs
from ..backends import Backend, Note, get_backend
from ..backends.completing import Unrecorded
from ..backends.sync import run_to_the_end
from ..conf import conf
from ..definition import JobBuilder, JobDefinition
from ..envelope import seal
from ..runtime import Claim, Outcome, run_attempt
from ..settlement import Settlement
from .entries import Entry
from .ledger import Ledger

NAMESPACE = uuid.UUID("6f9c1e58-0f5b-4b0e-9c53-6a1f0d7e2b44")
"""Of the ids that derive from ticks. It must never change."""


class Ran(NamedTuple):
    """How a job ended that ran here, and what its handler noted."""

    settlement: Settlement
    definition: JobDefinition
    notes: list[Note]


Execute = Callable[[Claim, Callable[[], bool]], tuple[Outcome, Sequence[Note]]]
"""Runs one attempt here, and meanwhile calls the second argument again and again, which renews the lease of the tick;
answers also what the handler noted for its timeline.
"""


def job_of(entry: Entry, at: datetime, *, job_id: str = "") -> JobBuilder:
    """The job of a tick. Its `meta` says of which entry it is, and when it was due."""
    meta = {"schedule": entry.name, "due_at": at.astimezone(UTC).isoformat()}
    where = {"queue": entry.queue, "backend": entry.backend}
    given = {"name": entry.name, **entry.options, **{k: v for k, v in where.items() if v is not None}}
    job = Jobs.define(entry.handler, entry.payload).with_options(source="cron", **given).meta(**meta)
    return job.id(job_id) if job_id else job


def derived_id(name: str, at: datetime) -> str:
    """The id of a tick's job that follows from the tick: to dispatch it again does no harm."""
    return str(uuid.uuid5(NAMESPACE, f"{at.astimezone(UTC).isoformat()} {name}"))


def backend_of(entry: Entry) -> Backend:
    """The backend that keeps the jobs of an entry with a queue."""
    alias = entry.backend or (conf.queue(entry.queue).backend if entry.queue else None)
    return get_backend(alias)


def joins(backend: Backend, ledger: Ledger) -> bool:
    """Whether an enqueue on this backend is part of a transaction of the ledger's."""
    return backend.supports.transactional and getattr(backend, "database", None) == ledger.database


def run_here(entry: Entry, at: datetime, job_id: str, execute: Execute, renew: Callable[[], bool]) -> Ran:
    """Run the job of a tick to its end, in this process; nothing of it is recorded yet."""
    notes: list[Note] = []

    def attempt(claim: Claim) -> Outcome:
        outcome, noted = execute(claim, renew)
        notes.extend(noted)
        return outcome

    definition = Jobs.prepare(job_of(entry, at, job_id=job_id))
    return Ran(run_to_the_end(definition, *seal(definition), attempt), definition, notes)


def execute_plainly(claim: Claim, renew: Callable[[], bool]) -> tuple[Outcome, Sequence[Note]]:
    """Run one attempt without a deadline, and without renewing anything. For tests."""
    return run_attempt(claim, _no_guard, store=Unrecorded()), ()


def _no_guard(timeout: float | None) -> AbstractContextManager[None]:
    return nullcontext()
