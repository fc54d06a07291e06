"""With 50,000 rows every hot statement runs by its index, on each database: it reads what it needs, however much
waits.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.models import F

from django_jobs.backends import WorkerInfo
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import Job
from django_jobs.retry import OutcomeKind
from django_jobs.testing.conformance import definition, settlement
from tests.support.plans import accesses, recorded, rows_handled

TABLE = Job._meta.db_table
ROWS = 50_000
PARTIAL = {"django_jobs_due", "django_jobs_holder"}
"""Of these the whole may be read: where indexes can be partial, they hold only rows of the states asked for."""


def register(store: DatabaseBackend) -> str:
    worker_id = str(uuid.uuid4())
    store.register(WorkerInfo(worker_id, "host", 1, ["default"]), 3600)
    return worker_id


def fill(store: DatabaseBackend) -> None:
    """Jobs that wait, on two queues and with three priorities; that are scheduled; that workers hold, and have lost."""
    third = ROWS // 3
    for queue, delay in (("default", 0), ("other", 0), ("default", 3600)):
        store.enqueue_many([definition(queue=queue, priority=n % 3, delay=delay) for n in range(third)])
    for number in range(10):
        worker_id = register(store)
        store.claim("default", worker_id, 20)
        if number % 2:
            store.deregister(worker_id)
    jobs = Job.objects.using(store.database)
    ids = jobs.filter(state="pending", queue="default").values_list("pk", flat=True)
    jobs.filter(pk__in=list(ids[:5])).update(suspect=True)
    ids = jobs.filter(state="scheduled").values_list("pk", flat=True)
    jobs.filter(pk__in=list(ids[:50])).update(available_at=F("available_at") - timedelta(hours=2))


def analyse(store: DatabaseBackend) -> None:
    """Let the planner know what is in the tables."""
    connection = connections[store.database]
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE TABLE {TABLE}" if connection.vendor == "mysql" else "ANALYZE")


@pytest.mark.parametrize("known", [False, True], ids=["before ANALYZE", "after ANALYZE"])
def test_every_hot_statement_uses_its_index(store: DatabaseBackend, known: bool) -> None:
    fill(store)
    if known:
        analyse(store)
    me = register(store)
    wrong: list[str] = []

    def planned(indexes: str, act: Callable[[], Any]) -> Any:
        with recorded(store.database) as sent:
            answer = act()
        used = set()
        for statement in sent:
            for access in accesses(store.database, statement, TABLE):
                used.add(access.index)
                if access.index not in ("primary", *indexes.split()) or not (access.bounded or access.index in PARTIAL):
                    wrong.append(f"{access} in: {' '.join(statement.sql.split())[:300]}")
        if not used.intersection(indexes.split()):
            wrong.append(f"{indexes} was not used, but {used}")
        return answer

    claims = planned("django_jobs_claim", lambda: store.claim("default", me, 100))
    assert len(claims) == 100
    assert len(planned("django_jobs_claim", lambda: store.claim("default", me, 1, suspect=True))) == 1
    assert planned("django_jobs_due", store.promote_due).promoted == 50
    if connections[store.database].vendor != "mysql":  # which answers from the index's ends, before there is a plan
        assert planned("django_jobs_claim", store.queue_names) == ["default", "other"]
    assert len(planned("django_jobs_holder", lambda: store.held(me))) == 101
    assert store.cancel(claims[0].id)
    assert planned("django_jobs_holder", lambda: store.cancel_requests(me)) == {claims[0].id}
    by_state = "django_jobs_holder"
    if connections[store.database].vendor == "mysql":  # has no partial indexes: these lead to a state's jobs as well
        by_state += " django_jobs_due django_jobs_claim"
    assert len(planned(by_state, store.lost_claims)) == 100
    assert len(planned(by_state, lambda: store.lost_claims(500, ["default"]))) == 100
    outcomes = [OutcomeKind.COMPLETED] * 50 + [OutcomeKind.FAILED] * 10 + [OutcomeKind.RETRY] * 10
    settlements = [settlement(claim, kind, retry_after=5) for claim, kind in zip(claims[:70], outcomes, strict=True)]
    assert all(planned("primary", lambda: store.settle(settlements[:50])))
    assert all(planned("primary", lambda: store.settle(settlements[50:])))
    assert all(planned("primary", lambda: store.release(claims[70:])))
    assert planned("primary", lambda: store.get(claims[70].id))
    assert planned("primary", lambda: store.cancel(claims[70].id))
    assert planned("primary", lambda: store.delete(claims[71].id))
    assert wrong == []


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_statistics_of_a_time_when_all_waited_do_not_make_a_completion_slow(store: DatabaseBackend) -> None:
    """Those say that no job is held by anybody: for each of the few that it expects, PostgreSQL would look through the
    whole batch.
    """
    store.enqueue_many([definition(queue="default") for _ in range(6000)])
    analyse(store)
    me = register(store)
    claims = store.claim("default", me, 400) + store.claim("default", me, 400)
    assert len(claims) == 800
    with transaction.atomic(using=store.database), recorded(store.database) as sent:
        assert all(store.settle([settlement(claim, OutcomeKind.COMPLETED) for claim in claims[:400]]))
        transaction.set_rollback(True, using=store.database)
    (statement,) = sent
    assert rows_handled(store.database, statement) < 20 * 800
