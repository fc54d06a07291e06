"""SQLite takes any value in any column. A row that somebody has spoilt must not stop the others of its queue."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from django_jobs.maintenance.reap import reap
from django_jobs.models import Job
from django_jobs.settlement import conclude
from tests.support.jobs import run

from .conftest import claim_all, lose

COLUMNS = [
    *("handler", "rank", "attempt", "max_attempts", "crashes", "claim_no", "envelope", "signature", "history"),
    *("enqueued_at", "available_at", "started_at", "suspect", "worker_id", "name"),
]
ODD: dict[str, Any] = {"text": "oops", "bytes": b"\xff\x00", "fraction": 1.5, "negative": -7, "huge": 2**62}


pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # the others refuse such values


def spoil(store: DatabaseBackend, column: str, value: object) -> None:
    """Give every job that is there a value that its column is not for."""
    with connections[store.database].cursor() as cursor:
        cursor.execute(f"UPDATE {Job._meta.db_table} SET {column} = %s", [value])


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
@pytest.mark.parametrize("column", COLUMNS)
def test_an_odd_value_stops_nobody_elses_job(jobs_on: DatabaseBackend, column: str, value: object) -> None:
    Jobs.push("trial.noop", priority=50)
    spoil(jobs_on, column, value)
    good = Jobs.push("trial.add", [1, 2])
    claims = claim_all(jobs_on, "default")
    assert all(jobs_on.settle_anyway([conclude(claim, run(claim)) for claim in claims]))
    assert good.result() == 3


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
@pytest.mark.parametrize("column", COLUMNS)
def test_an_odd_value_does_not_stop_the_reaper(jobs_on: DatabaseBackend, column: str, value: object) -> None:
    Jobs.push("trial.noop", priority=50)
    odd = lose(jobs_on, "default")
    spoil(jobs_on, column, value)
    good = Jobs.push("trial.noop")
    assert str(good) in lose(jobs_on, "default")
    reap(jobs_on)
    assert good.refresh().state == "pending"
    assert len(odd) == 1
