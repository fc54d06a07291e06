"""A selection of jobs in any state, as people name them with filters."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from ..backends.database import DatabaseBackend
from ..models import CompletedJob, FailedJob, Job
from .narrow import narrowed
from .states import FINISHED, LIVE, in_live_state


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


def selected(store: DatabaseBackend, chosen: Selection) -> Iterator[tuple[str, QuerySet[Any, Any]]]:
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
