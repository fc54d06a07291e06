"""Cancelling jobs, by their ids or by a filter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from ..api import Jobs
from ..backends import Backend, CancelOutcome
from ..store import store_of
from .selection import Selection, selected
from .states import LIVE, RUNNING

BATCH = 500
PROGRESS_JOBS = 100
CANCELLABLE = (*(state for state in LIVE if state not in RUNNING), "running")
"""The live states of jobs whose cancel has not been asked for: those that wait first, so that none of them starts in
the place of one that is ended."""


@dataclass(slots=True)
class CancelReport:
    """What became of the jobs, by their ids: `requested` ones run, and are ended by their workers; `finished` ones had
    come to an end before; `missing` are no jobs.
    """

    cancelled: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def add(self, job_id: str, outcome: CancelOutcome) -> None:
        """Note what the cancel of a job came to."""
        {
            CancelOutcome.CANCELLED: self.cancelled,
            CancelOutcome.REQUESTED: self.requested,
            CancelOutcome.ALREADY_FINISHED: self.finished,
            CancelOutcome.NOT_FOUND: self.missing,
        }[outcome].append(job_id)

    @property
    def total(self) -> int:
        """How many were cancelled, or will be."""
        return len(self.cancelled) + len(self.requested)


def cancel_ids(
    backend: Backend,
    ids: Iterable[str],
    *,
    reason: str = "",
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
) -> CancelReport:
    """Cancel these jobs, each in a transaction of its own, with their cancel handlers and hooks.

    With `dry_run` nothing changes: the report says what would become of each. `progress` is told the number so far, now
    and then.
    """
    report = CancelReport()
    for number, job_id in enumerate(ids, 1):
        if dry_run:
            report.add(job_id, _foreseen(backend, job_id))
        else:
            report.add(job_id, Jobs.cancel(job_id, reason=reason, backend=backend))
        if progress is not None and number % PROGRESS_JOBS == 0:
            progress(number)
    return report


def cancel_selected(
    backend: Backend,
    chosen: Selection,
    *,
    reason: str = "",
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
) -> CancelReport:
    """Cancel the jobs of a selection: those that wait first, then those that run.

    A job that has come to an end meanwhile, or was deleted, is left out of the report.
    """
    report = cancel_ids(backend, matching(backend, chosen), reason=reason, dry_run=dry_run, progress=progress)
    report.finished.clear()
    report.missing.clear()
    return report


def count_selected(backend: Backend, chosen: Selection) -> int:
    """How many jobs of a selection there are to cancel."""
    store = store_of(backend)
    return 0 if store is None else sum(rows.count() for _, rows in selected(store, _cancellable(chosen)))


def matching(backend: Backend, chosen: Selection) -> Iterator[str]:
    """The ids of the jobs of a selection that there are to cancel."""
    store = store_of(backend)
    if store is None:
        return
    for _, rows in selected(store, _cancellable(chosen)):
        some = rows.order_by("pk")
        while ids := list(some.values_list("pk", flat=True)[:BATCH]):
            yield from map(str, ids)
            some = rows.order_by("pk").filter(pk__gt=ids[-1])


def _cancellable(chosen: Selection) -> Selection:
    wanted = CANCELLABLE if chosen.states is None else chosen.states
    return replace(chosen, states=[state for state in CANCELLABLE if state in wanted])


def _foreseen(backend: Backend, job_id: str) -> CancelOutcome:
    job = backend.get(job_id)
    if job is None:
        return CancelOutcome.NOT_FOUND
    if job.is_finished:
        return CancelOutcome.ALREADY_FINISHED
    return CancelOutcome.REQUESTED if job.state in RUNNING else CancelOutcome.CANCELLED
