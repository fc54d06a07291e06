"""Cleaning up: deletes finished jobs by age, and what the worker keeps only for a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from django.db import DatabaseError, InterfaceError, connections
from django.db.models import Exists, OuterRef, QuerySet

from ..backends import Backend
from ..backends.database import DatabaseBackend
from ..conf import conf
from ..logs import get_logger
from ..models import CompletedJob, FailedJob, Hold, Job, JobEvent, Lock, ScheduleTick, Worker
from ..store import ago, delete_some, moment, store_of
from .states import FINISHED

logger = get_logger("cleanup")

BATCH = 1000
MOST_PER_CALL = 5000


def cleanup(
    backend: Backend,
    *,
    before: datetime,
    states: Collection[str] = ("completed",),
    queues: Collection[str] | None = None,
    dry_run: bool = False,
    batch_size: int = BATCH,
    progress: Callable[[int], None] | None = None,
) -> dict[str, int]:
    """Delete the jobs that finished before `before` (aware), in batches of `batch_size`; answers how many by state.

    `states` are some of `completed`, `cancelled` and `failed`. Live jobs are never touched. `progress` is told the
    number so far after each batch. With `dry_run` nothing is deleted, only counted.
    """
    counts = dict.fromkeys((state for state in FINISHED if state in states), 0)
    store = store_of(backend)
    if store is None:
        return counts
    total = 0
    for state in counts:
        rows = _finished(store, state, before, queues)
        if dry_run:
            counts[state] = rows.count()
            continue
        while deleted := delete_some(store, rows.order_by("finished_at"), batch_size):
            counts[state] += deleted
            total += deleted
            if progress is not None:
                progress(total)
    return counts


def cleanup_ticks(backend: Backend, *, before: datetime, dry_run: bool = False, batch_size: int = BATCH) -> int:
    """Delete the closed ticks of the schedule that were due before `before` (aware), but for each entry's last one;
    answers how many.
    """
    store = store_of(backend)
    if store is None:
        return 0
    rows = closed_ticks(store).filter(instant__lt=moment(store, before))
    if dry_run:
        return rows.count()
    total = 0
    while deleted := delete_some(store, rows.order_by("instant"), batch_size):
        total += deleted
    return total


def _finished(
    store: DatabaseBackend, state: str, before: datetime, queues: Collection[str] | None
) -> QuerySet[Any, Any]:
    rows: QuerySet[Any, Any]
    if state == "failed":
        rows = FailedJob.objects.using(store.database)
    else:
        rows = CompletedJob.objects.using(store.database).filter(state=state)
    rows = rows.filter(finished_at__lt=moment(store, before))
    return rows if queues is None else rows.filter(queue__in=list(queues))


def expire(backend: Backend) -> int:
    """Delete what has been kept long enough, by the store's clock; answers how many rows.

    These are: completed jobs whose `keep_until` has passed, holds and locks that are over, events older than
    `JOBS_KEEP_EVENTS`, closed ticks of the schedule older than `JOBS_KEEP_TICKS`, and workers that stopped or were
    lost over `JOBS_KEEP_WORKERS` ago and hold no job. The work of one call is bounded; any number of hosts may call it
    at once. A backend without a database has nothing of this.
    """
    store = store_of(backend)
    return 0 if store is None else sum(_delete_bounded(store, rows) for rows in _expired(store))


class Expiry:
    """`expire` as a worker calls it, time and again.

    Whether there is anything to delete is asked in words that are found once, before a worker's processes part. To
    find them anew would write to megabytes of its memory, which these share as long as nobody does.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._store = store_of(backend)
        self._questions: list[tuple[str, Sequence[Any]]] | None = None
        if self._store is not None:
            with suppress(DatabaseError, InterfaceError):  # MySQL's dialect depends on the server, which may be away
                self._questions = [_question(self._store, rows) for rows in _expired(self._store)]

    def __call__(self) -> int:
        """Answers how many rows it has deleted."""
        if self._store is not None and self._questions is not None and not self._finds_some(self._store.database):
            return 0
        return expire(self._backend)

    def _finds_some(self, database: str) -> bool:
        with connections[database].cursor() as cursor:
            for sql, params in self._questions or ():
                cursor.execute(sql, params)
                if cursor.fetchone() is not None:
                    return True
        return False


def _question(store: DatabaseBackend, rows: QuerySet[Any, Any]) -> tuple[str, Sequence[Any]]:
    """SQL for one of these rows."""
    sql, params = rows.values("pk")[:1].query.get_compiler(using=store.database).as_sql()
    return str(sql), params


def _expired(store: DatabaseBackend) -> Iterable[QuerySet[Any, Any]]:
    completed = CompletedJob.objects.using(store.database)
    yield completed.filter(keep_until__lt=ago(store, 0)).order_by("keep_until")
    yield Hold._default_manager.using(store.database).filter(until__lt=ago(store, 0)).order_by("until")
    yield Lock._default_manager.using(store.database).filter(until__lt=ago(store, 0)).order_by("until")
    if conf.keep_events is not None:
        events = JobEvent.objects.using(store.database)
        yield events.filter(at__lt=ago(store, conf.keep_events)).order_by("at")
    if conf.keep_ticks is not None:
        yield closed_ticks(store).filter(instant__lt=ago(store, conf.keep_ticks)).order_by("instant")
    if conf.keep_workers is not None:
        held = Job.objects.filter(worker_id=OuterRef("pk"))
        gone = Worker.objects.using(store.database).filter(
            state__in=("stopped", "lost"),
            renewed_at__lt=ago(store, conf.keep_workers),
            lease_expires_at__lt=ago(store, conf.keep_workers),
        )
        yield gone.filter(~Exists(held))


def closed_ticks(store: DatabaseBackend) -> QuerySet[ScheduleTick]:
    """Ticks of the schedule that may go: each entry's last one stays, for what requires it, and open ones do."""
    ticks = ScheduleTick.objects.using(store.database)
    newer = ScheduleTick.objects.filter(name=OuterRef("name"), instant__gt=OuterRef("instant"))
    return ticks.filter(Exists(newer), look_at__isnull=True)


def _delete_bounded(store: DatabaseBackend, rows: QuerySet[Any, Any]) -> int:
    done = 0
    try:
        while done < MOST_PER_CALL:
            deleted = delete_some(store, rows, min(BATCH, MOST_PER_CALL - done))
            done += deleted
            if not deleted:
                break
    except DatabaseError as error:
        if not store.sql.is_retryable(error):
            raise
        logger.debug("a lock was in the way of the cleanup, which goes on next time: %s", error)
    return done
