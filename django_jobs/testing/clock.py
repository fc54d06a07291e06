"""Time and ids under a test's control."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Model

from .. import ids
from ..backends import get_backend
from ..backends.database import DatabaseBackend
from ..backends.memory import MemoryBackend
from ..definition import moment, seconds
from ..models import CompletedJob, FailedJob, Hold, Job, JobEvent, Lock, ScheduleEntry, ScheduleTick, Worker

_MOMENTS: dict[type[Model], tuple[str, ...]] = {
    Job: ("enqueued_at", "available_at", "started_at"),
    CompletedJob: ("enqueued_at", "available_at", "started_at", "finished_at", "keep_until"),
    FailedJob: ("enqueued_at", "available_at", "started_at", "finished_at"),
    Worker: ("started_at", "renewed_at", "lease_expires_at"),
    JobEvent: ("at",),
    Hold: ("until",),
    Lock: ("until",),
    ScheduleEntry: ("seen_at", "look_at"),
    ScheduleTick: ("instant", "look_at", "decided_at", "started_at", "finished_at"),
}


def travel(by: float | timedelta | str, *, backend: str | None = None) -> None:
    """Let this much time pass for the store: seconds, a timedelta, or a text such as `"1 hour"`.

    The memory backend's clock moves. A database has its own clock: there every stored moment moves back instead, so
    that what was due in an hour is due now. What a job's payload says stays as it is.
    """
    passed = seconds("by", by)
    store = get_backend(backend)
    if isinstance(store, MemoryBackend):
        clock = store.clock
        store.clock = lambda: clock() + passed
    elif isinstance(store, DatabaseBackend):
        for model, names in _MOMENTS.items():
            earlier: dict[str, Any] = {name: F(name) - timedelta(seconds=passed) for name in names}
            model._default_manager.using(store.database).update(**earlier)
    else:
        raise TypeError(f"the backend {store.alias!r} has no time to travel in")


@contextmanager
def freeze_jobs_time(when: datetime, *, backend: str | None = None) -> Iterator[Callable[[datetime], None]]:
    """Let the memory backend's clock stand at `when` (aware); answers a function that sets it to another moment.

    A database's clock can't be stopped: use `travel()` there.
    """
    store = get_backend(backend)
    if not isinstance(store, MemoryBackend):
        raise TypeError(
            f"the clock of the backend {store.alias!r} can't be stopped. Use travel(), or override_jobs('memory')."
        )
    before = store.clock

    def set_to(moved: datetime) -> None:
        at = moment("when", moved).timestamp()
        store.clock = lambda: at

    set_to(when)
    try:
        yield set_to
    finally:
        store.clock = before


@contextmanager
def predictable_ids(seed: int = 0) -> Iterator[None]:
    """Let the ids of new jobs be the same in every run: they still rise, from 1970 on."""
    before = ids.now_ns, ids.random_bytes, ids._last
    ids.now_ns, ids.random_bytes, ids._last = (lambda: 0), random.Random(seed).randbytes, 0  # noqa: S311 - for tests
    try:
        yield
    finally:
        ids.now_ns, ids.random_bytes, ids._last = before
