"""Moving the time of a store."""

from __future__ import annotations

import time
from datetime import timedelta

from django.db.models import F

from django_jobs.backends.database import DatabaseBackend
from django_jobs.backends.memory import MemoryBackend
from django_jobs.models import CompletedJob, Hold, Job, Lock, ScheduleEntry, ScheduleTick, Worker

MOMENTS = {
    Job: ("enqueued_at", "available_at", "started_at"),
    CompletedJob: ("finished_at", "keep_until"),
    Hold: ("until",),
    Lock: ("until",),
    ScheduleEntry: ("seen_at", "look_at"),
    ScheduleTick: ("instant", "look_at", "decided_at", "started_at", "finished_at"),
    Worker: ("started_at", "renewed_at", "lease_expires_at"),
}


def advance_database(backend: DatabaseBackend, seconds: float) -> None:
    """Let `seconds` pass: every moment that is stored moves into the past."""
    for model, names in MOMENTS.items():
        earlier = {name: F(name) - timedelta(seconds=seconds) for name in names}
        model.objects.using(backend.database).update(**earlier)


class ShiftedMemory(MemoryBackend):
    """The memory backend, `shift` seconds ahead of the clock."""

    shift = 0.0

    def __init__(self) -> None:
        super().__init__("memory", {})
        self.clock = lambda: time.time() + self.shift
