"""On PostgreSQL statements are prepared, where the connection leads to one server process."""

from __future__ import annotations

import uuid

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from django_jobs import Jobs
from django_jobs.backends import Settled, WorkerInfo
from django_jobs.backends.database import DatabaseBackend
from django_jobs.backends.database.prepared import WORTH_IT
from django_jobs.models import Job
from django_jobs.retry import OutcomeKind
from django_jobs.testing.conformance import settlement

pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def prepared(store: DatabaseBackend) -> list[str]:
    with connections[store.database].cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return [statement for (statement,) in cursor.fetchall()]


def test_a_connection_that_enqueues_again_and_again_prepares_the_statement(jobs_on: DatabaseBackend) -> None:
    connection = connections[jobs_on.database]
    connection.close()
    for _ in range(WORTH_IT - 1):
        Jobs.push("trial.noop")
    assert not prepared(jobs_on)
    for n in range(WORTH_IT):
        Jobs.push("trial.noop", {"n": n})
    assert ["INSERT" in statement for statement in prepared(jobs_on)] == [True]
    assert connection.connection.prepare_threshold is None
    assert Job.objects.using(jobs_on.database).count() == 2 * WORTH_IT - 1


def test_a_new_connection_prepares_anew(jobs_on: DatabaseBackend) -> None:
    for _ in range(2):
        connections[jobs_on.database].close()
        for _ in range(2 * WORTH_IT):
            Jobs.push("trial.noop")
        assert len(prepared(jobs_on)) == 1


def test_a_connection_that_was_lost_between_requests_is_opened_anew(
    jobs_on: DatabaseBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    connection = connections[jobs_on.database]
    connection.close()
    for name, value in {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}.items():
        monkeypatch.setitem(connection.settings_dict, name, value)
    for _ in range(2 * WORTH_IT):
        Jobs.push("trial.noop")
    with psycopg.connect(**connection.get_connection_params()) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [connection.connection.info.backend_pid])
    connection.close_if_unusable_or_obsolete()  # what Django does at the start of a request
    Jobs.push("trial.noop")
    assert Job.objects.using(jobs_on.database).count() == 2 * WORTH_IT + 1
    monkeypatch.undo()
    connection.close()


def test_a_worker_has_claims_and_completions_read_once_and_planned_each_time(jobs_on: DatabaseBackend) -> None:
    """A plan that was made while the table was empty would read all of a full one."""
    connection = connections[jobs_on.database]
    connection.close()
    worker_id = str(uuid.uuid4())
    jobs_on.register(WorkerInfo(worker_id, "host", 1, ["default"]), 3600)
    plan_cache_mode = "SELECT current_setting('plan_cache_mode')"
    for _ in range(2 * WORTH_IT):
        Jobs.push("trial.noop")
    with connection.cursor() as cursor:
        cursor.execute(plan_cache_mode)
        assert cursor.fetchone() == ("auto",)  # those who only enqueue keep the setting that they have
    for _ in range(2 * WORTH_IT):
        (claim,) = jobs_on.claim("default", worker_id, 1)
        assert jobs_on.settle([settlement(claim, OutcomeKind.COMPLETED)]) == [Settled.WRITTEN]
    verbs = sorted(statement.split()[0] for statement in prepared(jobs_on))
    assert verbs == ["INSERT", "WITH", "WITH"]
    with connection.cursor() as cursor:
        cursor.execute(plan_cache_mode)
        assert cursor.fetchone() == ("force_custom_plan",)


def test_what_logs_queries_sees_it_as_any_other(jobs_on: DatabaseBackend) -> None:
    for _ in range(2 * WORTH_IT):
        Jobs.push("trial.noop")
    with CaptureQueriesContext(connections[jobs_on.database]) as captured:
        Jobs.push("trial.noop")
    assert ["INSERT" in query["sql"] and "trial.noop" in query["sql"] for query in captured.captured_queries][:1] == [
        True
    ]
