"""Deleting jobs, by their ids or by a filter, whether they wait, run or have finished."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet

from ..backends import Backend
from ..backends.database import DatabaseBackend
from ..exceptions import JobConflict
from ..models import CompletedJob, FailedJob, Job
from ..store import delete_some, store_of
from .narrow import narrowed
from .states import FINISHED, LIVE, RUNNING, in_live_state

BATCH = 500


@dataclass(frozen=True, slots=True)
class Selection:
    """Which jobs: None is no restriction.

    `states` are some of `states.EVERY`. `older_than` is in seconds by the store's clock: since a job finished, or since
    it was enqueued where it has not finished.
    """

    states: Collection[str] | None = None
    queues: Collection[str] | None = None
    handler: str | None = None
    group: str | None = None
    tag: str | None = None
    older_than: float | None = None


@dataclass(slots=True)
class DeleteReport:
    """What became of the jobs: how many were deleted, by state; `running` ones were left, `missing` ids are no jobs."""

    deleted: dict[str, int] = field(default_factory=dict)
    running: int = 0
    missing: list[str] = field(default_factory=list)

    def add(self, state: str, count: int = 1) -> None:
        """Count deleted jobs."""
        if count:
            self.deleted[state] = self.deleted.get(state, 0) + count

    @property
    def total(self) -> int:
        """How many were deleted."""
        return sum(self.deleted.values())


def delete_ids(backend: Backend, ids: Iterable[str], *, force: bool = False, dry_run: bool = False) -> DeleteReport:
    """Delete these jobs, each in a transaction of its own; those that run only with `force`."""
    report = DeleteReport()
    for job_id in ids:
        job = backend.get(job_id)
        if job is None:
            report.missing.append(job_id)
            continue
        try:
            if dry_run and job.state in RUNNING and not force:
                raise JobConflict
            if dry_run or backend.delete(job_id, force=force):
                report.add(job.state)
            else:
                report.missing.append(job_id)
        except JobConflict:
            report.running += 1
    return report


def delete_selected(
    backend: Backend,
    chosen: Selection,
    *,
    force: bool = False,
    dry_run: bool = False,
    batch_size: int = BATCH,
    progress: Callable[[int], None] | None = None,
) -> DeleteReport:
    """Delete the jobs of a selection, in batches of `batch_size`; those that run only with `force`.

    `progress` is told the number so far after each batch. With `dry_run` nothing is deleted, only counted.
    """
    report = DeleteReport()
    store = store_of(backend)
    if store is None:
        return report
    for state, rows in _selected(store, chosen):
        if state in RUNNING and not force:
            report.running += rows.count()
        elif dry_run:
            report.add(state, rows.count())
        else:
            while deleted := delete_some(store, rows.order_by("pk"), batch_size):
                report.add(state, deleted)
                if progress is not None:
                    progress(report.total)
    return report


def _selected(store: DatabaseBackend, chosen: Selection) -> Iterator[tuple[str, QuerySet[Any, Any]]]:
    """The rows of a selection, state by state: each is in one table, under an index that begins with it."""
    states = chosen.states if chosen.states is not None else (*LIVE, *FINISHED)
    for state in dict.fromkeys(states):
        rows: QuerySet[Any, Any]
        if state in LIVE:
            rows = in_live_state(Job.objects.using(store.database), state)
        elif state in ("completed", "cancelled"):
            rows = CompletedJob.objects.using(store.database).filter(state=state)
        else:
            rows = FailedJob.objects.using(store.database)
            rows = rows if state == "failed" else rows.filter(reason=state)
        yield (
            state,
            narrowed(
                store,
                rows,
                queues=chosen.queues,
                handler=chosen.handler,
                group=chosen.group,
                tag=chosen.tag,
                older_than=chosen.older_than,
                since="enqueued_at" if state in LIVE else "finished_at",
            ),
        )
