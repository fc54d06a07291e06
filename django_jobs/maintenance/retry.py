"""Bulk retry: makes failed jobs wait again, by their ids or by a filter."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from django.db.models import QuerySet

from ..backends import Backend
from ..backends.database import DatabaseBackend
from ..exceptions import JobConflict, JobNotFound
from ..models import FailedJob, FailureReason
from ..store import store_of
from .narrow import narrowed

PROGRESS_JOBS = 100


@dataclass(slots=True)
class RetryReport:
    """What became of each job: `skipped` says why, by id; `missing` are no failed jobs."""

    retried: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FailedFilter:
    """Which failed jobs: None is no restriction. Rejected jobs are chosen only where `reasons` names them.

    `older_than` is in seconds since the failure, by the store's clock.
    """

    queues: Collection[str] | None = None
    reasons: Collection[str] | None = None
    handler: str | None = None
    group: str | None = None
    tag: str | None = None
    older_than: float | None = None


def retry_ids(
    backend: Backend,
    ids: Iterable[str],
    *,
    delay: float = 0.0,
    resign: bool = False,
    progress: Callable[[int], None] | None = None,
) -> RetryReport:
    """Retry these jobs, each in a transaction of its own: one that can't be retried stops no other.

    `progress` is told the number so far, now and then.
    """
    report = RetryReport()
    for number, job_id in enumerate(ids):
        if progress is not None and number % PROGRESS_JOBS == PROGRESS_JOBS - 1:
            progress(number + 1)
        try:
            backend.retry(job_id, delay=delay, resign=resign)
        except JobNotFound:
            report.missing.append(job_id)
        except JobConflict as conflict:
            report.skipped[job_id] = str(conflict)
        else:
            report.retried.append(job_id)
    return report


def retry_failed(
    backend: Backend,
    chosen: FailedFilter,
    *,
    limit: int | None = 100,
    delay: float = 0.0,
    resign: bool = False,
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
) -> RetryReport:
    """Retry the failed jobs of a filter, the oldest failure first, at most `limit` (None: all of them).

    Rejected jobs need `resign`. With `dry_run` nothing changes: the report says what would be retried. A job that
    somebody else retried or deleted meanwhile is left out.
    """
    if dry_run:
        return RetryReport(retried=matching(backend, chosen, limit=limit))
    ids = matching(backend, chosen, limit=limit)
    report = retry_ids(backend, ids, delay=delay, resign=resign, progress=progress)
    report.missing.clear()
    return report


def matching(backend: Backend, chosen: FailedFilter, *, limit: int | None = None) -> list[str]:
    """The ids of the failed jobs of a filter, the oldest failure first.

    They are read once: a job that fails again beside a retry of everything is not retried twice.
    """
    store = store_of(backend)
    if store is None:
        return []
    rows = _rows(store, chosen).order_by("finished_at", "id").values_list("id", flat=True)
    return [str(job_id) for job_id in (rows if limit is None else rows[:limit])]


def _rows(store: DatabaseBackend, chosen: FailedFilter) -> QuerySet[FailedJob]:
    rows = narrowed(
        store,
        FailedJob.objects.using(store.database),
        queues=chosen.queues,
        handler=chosen.handler,
        group=chosen.group,
        tag=chosen.tag,
        older_than=chosen.older_than,
    )
    if chosen.reasons is not None:
        return rows.filter(reason__in=list(chosen.reasons))
    return rows.exclude(reason=FailureReason.REJECTED)
