"""How many statements a job's life takes: few, and for a batch no more than for one job, where the vendor can."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from django_jobs.backends import WorkerInfo
from django_jobs.backends.database import DatabaseBackend
from django_jobs.retry import OutcomeKind
from django_jobs.testing.conformance import definition, settlement
from tests.support.plans import recorded

# Per vendor: enqueue, claim, settle completed. A statement for each job of a batch is written as None: SQLite has no
# round trip to save.
ONE = {"postgresql": (1, 1, 1), "mysql": (1, 3, 3), "sqlite": (1, 1, 3)}
BATCH = {"postgresql": (1, 1, 1), "mysql": (1, 3, 3), "sqlite": (None, 1, None)}


@pytest.mark.parametrize("jobs", [1, 100])
def test_the_statements_of_a_jobs_life_are_counted(store: DatabaseBackend, jobs: int) -> None:
    worker_id = str(uuid.uuid4())
    store.register(WorkerInfo(worker_id, "host", 1, ["contract"]), 3600)

    def count(act: Callable[[], Any]) -> tuple[int, Any]:
        with recorded(store.database) as sent:
            answer = act()
        # PostgreSQL's hints are left out: there is at most one in 10 ms.
        return sum(statement.times for statement in sent if "pg_notify" not in statement.sql), answer

    enqueued, _ = count(lambda: store.enqueue_many([definition() for _ in range(jobs)]))
    claimed, claims = count(lambda: store.claim("contract", worker_id, jobs))
    settled, _ = count(lambda: store.settle([settlement(claim) for claim in claims]))
    assert len(claims) == jobs
    expected = (ONE if jobs == 1 else BATCH)[connections[store.database].vendor]
    for name, seen, wanted in zip(("enqueue", "claim", "settle"), (enqueued, claimed, settled), expected, strict=True):
        assert seen == wanted if wanted is not None else seen <= jobs + 2, name


def test_a_retry_and_a_release_take_no_more_than_a_completion(store: DatabaseBackend) -> None:
    worker_id = str(uuid.uuid4())
    store.register(WorkerInfo(worker_id, "host", 1, ["contract"]), 3600)
    store.enqueue_many([definition(max_attempts=2) for _ in range(2)])
    retried, released = store.claim("contract", worker_id, 2)
    for act in (
        lambda: store.settle([settlement(retried, OutcomeKind.RETRY, retry_after=9)]),
        lambda: store.release([released]),
    ):
        with recorded(store.database) as sent:
            act()
        assert len(sent) == 2  # look and lock, then write


def test_an_idle_look_takes_one_statement(store: DatabaseBackend) -> None:
    """What a worker asks in each of its turns, for as long as nothing happens."""
    worker_id = str(uuid.uuid4())
    store.register(WorkerInfo(worker_id, "host", 1, ["contract"]), 3600)
    for act in (
        lambda: store.claim("contract", worker_id, 10),
        lambda: store.renew(worker_id, 30, state="running", running=0, settled=0),
        store.promote_due,
        lambda: store.cancel_requests(worker_id),
        lambda: store.held(worker_id),
    ):
        with recorded(store.database) as sent:
            act()
        assert len(sent) == 1
