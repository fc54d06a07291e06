"""Counting: the numbers of the queues, the workers that are alive, and the jobs that run longer than they may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..backends import Backend, QueueStats
from ..backends.database import DatabaseBackend
from ..conf import conf
from ..models import Job, JobState, Worker
from ..store import now, store_of

STATES = ("pending", "scheduled", "blocked", "running", "cancel_requested", "failed", "completed", "cancelled")
MOST_RUNNING = 5000


class LongRunning(NamedTuple):
    """A job that has run longer than its timeout and the grace."""

    id: str
    queue: str
    handler: str
    seconds: float
    timeout: float


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of a backend. `workers_alive` is None where workers are not kept in a database."""

    queues: list[QueueStats]
    workers_alive: int | None = None
    long_running: list[LongRunning] = field(default_factory=list)

    @property
    def totals(self) -> dict[str, int]:
        """The counts per state over these queues."""
        return {state: sum(queue.counts.get(state, 0) for queue in self.queues) for state in STATES}


def gather(backend: Backend, queues: Sequence[str] | None = None) -> Numbers:
    """The numbers of `queues`, or of every queue that is configured, paused or holds a job."""
    counted = {stats.queue: stats for stats in backend.stats(queues)}
    if queues is None:
        for name in conf.queues_of(backend.alias):
            counted.setdefault(name, QueueStats(name, {}, None))
    numbers = [counted[name] for name in sorted(counted)]
    store = store_of(backend) if backend.supports.claim else None
    if store is None:
        return Numbers(numbers)
    alive = Worker.objects.using(store.database).filter(
        state__in=("running", "draining"), lease_expires_at__gte=now(store)
    )
    return Numbers(numbers, alive.count(), long_running(store, queues))


def backlog(backend: Backend, queues: Sequence[str], most: int) -> dict[str, int]:
    """How many jobs are ready to run in each queue, counted no further than `most`, on the index alone."""
    store = store_of(backend) if backend.supports.claim else None
    if store is None:
        return {}
    ready = Job.objects.using(store.database).filter(state=JobState.PENDING).order_by()
    return {name: ready.filter(queue=name).values("pk")[:most].count() for name in queues}


def long_running(store: DatabaseBackend, queues: Sequence[str] | None = None) -> list[LongRunning]:
    """Jobs that have run beyond their timeout and `JOBS_KILL_GRACE`, the longest first.

    The time is that since the claim, by the store's clock. Of very many running jobs the oldest 5,000 are looked at.
    """
    rows = Job.objects.using(store.database).filter(state__in=("running", "cancel_requested"), started_at__isnull=False)
    if queues is not None:
        rows = rows.filter(queue__in=queues)
    rows = rows.only("id", "queue", "handler", "started_at", "envelope").annotate(store_now=now(store))
    found = []
    for job in rows.order_by("started_at")[:MOST_RUNNING]:
        definition = job.definition
        timeout = definition.timeout if definition is not None else None
        if job.started_at is None or not isinstance(timeout, int | float):
            continue
        seconds = (job.store_now - job.started_at).total_seconds()
        if seconds > timeout + conf.kill_grace:
            found.append(LongRunning(str(job.id), job.queue, job.handler, seconds, timeout))
    return found
