"""Deleting jobs, by their ids or by a filter, whether they wait, run or have finished."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..backends import Backend
from ..exceptions import JobConflict
from ..store import delete_some, store_of
from .selection import Selection, selected
from .states import RUNNING

BATCH = 500


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
    for state, rows in selected(store, chosen):
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
