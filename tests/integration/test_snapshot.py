"""While somebody keeps an old transaction open, PostgreSQL can clear nothing away; a claim must not feel it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connections, transaction

from django_jobs.backends import WorkerInfo
from django_jobs.backends.database import DatabaseBackend, marks
from django_jobs.models import Job
from django_jobs.testing.conformance import QUEUE, definition, settlement
from tests.support.plans import Sent, recorded

JOBS, BATCH = 20_000, 100


pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@contextmanager
def old_snapshot(database: str) -> Iterator[None]:
    """Another connection has looked at the jobs, and keeps what it saw."""
    other = connections[database].copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            cursor.execute(f"SELECT count(*) FROM {Job._meta.db_table}")
            yield
    finally:
        other.close()


def pages(database: str, statement: Sent) -> int:
    """How many pages the statement reads and writes when it is run once more. What it does is rolled back."""
    with transaction.atomic(using=database), connections[database].cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement.sql}", statement.params)
        plan = cursor.fetchone()[0][0]["Plan"]
        assert plan["Actual Rows"] == BATCH
        transaction.set_rollback(True, using=database)
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def register(store: DatabaseBackend) -> str:
    worker_id = str(uuid.uuid4())
    store.register(WorkerInfo(worker_id, "host", 1, [QUEUE]), 3600)
    return worker_id


def test_the_pages_of_a_claim_stay_bounded_under_an_old_snapshot(
    store: DatabaseBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "FULL_LOOK_SHARE", 1e9)  # no full look but the first ones: they are counted by time
    worker_id = register(store)
    with old_snapshot(store.database):
        store.enqueue_many([definition(priority=n % 3) for n in range(3 * BATCH)])
        seen = []
        for cycle in range(JOBS // BATCH):
            store.enqueue_many([definition(priority=n % 3) for n in range(BATCH)])
            with recorded(store.database) as sent:
                claims = store.claim(QUEUE, worker_id, BATCH)
            if cycle % 10 == 0:
                seen.append(pages(store.database, sent[0]))
            assert all(store.settle([settlement(claim) for claim in claims]))
    # To mark a row takes some ten pages whatever happens; the dead of 20,000 jobs would add more than as many again.
    assert max(seen[1:]) < seen[0] * 1.4, seen


def test_a_row_that_comes_late_is_found_by_the_next_full_look(
    store: DatabaseBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(marks, "monotonic", lambda: now[0])
    monkeypatch.setattr(marks, "ROWS_WORTH_IT", 10)
    monkeypatch.setattr(marks, "FULL_LOOK_SHARE", 1000)
    worker_id = register(store)
    store.enqueue_many([definition(priority=priority) for priority in (0, 5) for _ in range(10)])
    assert len(store.claim(QUEUE, worker_id, 20)) == 20
    late = store.enqueue(definition())
    Job.objects.using(store.database).filter(id=late).update(available_at="2020-01-01T00:00:00Z")
    urgent = store.enqueue(definition(priority=3))
    assert [c.id for c in store.claim(QUEUE, worker_id, 20)] == [urgent]  # of a rank that was not claimed before
    now[0] += 1e6
    assert [c.id for c in store.claim(QUEUE, worker_id, 20)] == [late]


def test_what_a_worker_gives_back_or_promotes_it_finds_at_once(
    store: DatabaseBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "ROWS_WORTH_IT", 1)
    monkeypatch.setattr(marks, "FULL_LOOK_SHARE", 1e9)
    worker_id = register(store)
    ids = store.enqueue_many([definition() for _ in range(3)])
    claims = store.claim(QUEUE, worker_id, 3)
    assert [c.id for c in claims] == ids
    assert all(store.release(claims[:1]))
    assert [c.id for c in store.claim(QUEUE, worker_id, 3)] == ids[:1]
    soon = store.enqueue(definition(delay=60))
    Job.objects.using(store.database).filter(id=soon).update(available_at="2020-01-01T00:00:00Z")
    assert store.promote_due().promoted == 1
    assert [c.id for c in store.claim(QUEUE, worker_id, 3)] == [soon]
