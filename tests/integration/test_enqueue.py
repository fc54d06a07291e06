"""An enqueue and the caller's transaction, on every database."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connections, transaction
from django.test import TestCase

from django_jobs import Jobs, signals
from django_jobs.exceptions import JobNotFound, PayloadTooLarge, StoreUnavailable, UnknownHandler
from django_jobs.ids import new_id
from django_jobs.models import Job
from tests.support.threads import run_together


@pytest.fixture
def told():
    """What `job_enqueued` told, in order."""
    heard = []

    def receiver(sender, **arguments):
        heard.append((arguments["job_id"], arguments["queue"], arguments["handler"]))

    signals.job_enqueued.connect(receiver)
    yield heard
    signals.job_enqueued.disconnect(receiver)


def count(backend):
    return Job.objects.using(backend.database).count()


def test_a_job_is_there_at_once_where_there_is_no_transaction(jobs_on, told):
    ref = Jobs.push("trial.noop", {"n": 1}, queue="mail")
    assert ref.refresh().state == "pending"
    assert told == [(ref, "mail", "trial.noop")]


def test_wrappers_of_statements_see_the_marks_that_django_has(jobs_on):
    seen = []

    def wrapper(execute, sql, params, many, context):
        seen.append(sql)
        return execute(sql, params, many, context)

    with connections[jobs_on.database].execute_wrapper(wrapper):
        job = Jobs.push("trial.noop", {"text": "100 %s?"})
    assert "%s" in seen[0]
    assert "?" not in seen[0]
    assert "100 %s?" in job.refresh().body


def test_a_rollback_leaves_no_job_and_tells_nobody(jobs_on, told):
    with transaction.atomic(using=jobs_on.database):
        ref = Jobs.push("trial.noop")
        refs = Jobs.dispatch_many([Jobs.define("trial.noop"), Jobs.define("trial.noop").id(new_id())])
        assert count(jobs_on) == 3
        transaction.set_rollback(True, using=jobs_on.database)
    assert count(jobs_on) == 0
    assert told == []
    for each in (ref, *refs):
        with pytest.raises(JobNotFound):
            each.refresh()


def test_a_commit_brings_the_job_and_only_then_tells_of_it(jobs_on, told):
    with transaction.atomic(using=jobs_on.database):
        ref = Jobs.push("trial.noop")
        assert told == []
        if connections[jobs_on.database].vendor != "sqlite":  # there a second connection would wait for the first
            (seen,) = run_together(lambda: count(jobs_on))
            assert seen == 0, "nobody else sees the job before the commit"
    assert told == [(ref, "default", "trial.noop")]
    assert ref.refresh().state == "pending"
    assert run_together(lambda: count(jobs_on)) == [1]


def test_a_savepoint_that_is_rolled_back_takes_its_job_with_it(jobs_on, told):
    with transaction.atomic(using=jobs_on.database):
        kept = Jobs.push("trial.noop")
        with transaction.atomic(using=jobs_on.database):
            Jobs.push("trial.noop")
            transaction.set_rollback(True, using=jobs_on.database)
    assert [str(i) for i in Job.objects.using(jobs_on.database).values_list("id", flat=True)] == [kept]
    assert [job_id for job_id, *_ in told] == [kept]


def test_an_error_of_a_receiver_is_logged_and_the_job_is_there(jobs_on, caplog):
    def receiver(sender, **_):
        raise ValueError("in a receiver")

    signals.job_enqueued.connect(receiver)
    try:
        ref = Jobs.push("trial.noop")
    finally:
        signals.job_enqueued.disconnect(receiver)
    assert ref.refresh().state == "pending"
    assert "in a receiver" in caplog.text


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (lambda: Jobs.define("trial.noop", "x" * 100_000), PayloadTooLarge),
        (lambda: Jobs.define("no.body"), UnknownHandler),
    ],
)
def test_many_are_dispatched_all_or_none(jobs_on, told, bad, error):
    many = [Jobs.define("trial.noop", n) for n in range(700)]
    with pytest.raises(error):
        Jobs.dispatch_many([*many, bad()])
    assert (count(jobs_on), told) == (0, [])
    refs = Jobs.dispatch_many(many)
    assert count(jobs_on) == 700
    assert [job_id for job_id, *_ in told] == refs


def test_a_bad_job_in_the_callers_transaction_leaves_the_transaction_usable(jobs_on):
    with transaction.atomic(using=jobs_on.database):
        with pytest.raises(PayloadTooLarge):
            Jobs.dispatch_many([Jobs.define("trial.noop"), Jobs.define("trial.noop", "x" * 100_000)])
        kept = Jobs.push("trial.noop")
    assert count(jobs_on) == 1
    assert kept.refresh().state == "pending"


def test_a_repeat_under_the_callers_id_leaves_the_transaction_usable(jobs_on):
    job_id = new_id()
    with transaction.atomic(using=jobs_on.database):
        for payload in ("first", "again"):
            Jobs.push("trial.noop", payload, uuid=job_id)
        Jobs.push("trial.noop", "another")
    assert count(jobs_on) == 2
    assert Jobs.get(job_id).definition.payload == "first"


def test_a_race_for_one_id_leaves_the_callers_transaction_usable(jobs_on):
    job_id = new_id()

    def enqueue():
        with transaction.atomic(using=jobs_on.database):
            Jobs.push("trial.noop", uuid=job_id)
            return Jobs.push("trial.noop")

    others = run_together(enqueue, enqueue)
    assert {str(i) for i in Job.objects.using(jobs_on.database).values_list("id", flat=True)} == {job_id, *others}


# -- a store that is away -----------------------------------------------------------------------------------------


@pytest.fixture
def away(jobs_on, settings, tmp_path):
    """An alias of the same vendor whose database cannot be reached."""
    alias = "away"
    here = connections.settings[jobs_on.database]
    lost = {"NAME": str(tmp_path / "no" / "such" / "file")} if here["ENGINE"].endswith("sqlite3") else {"PORT": 1}
    connections.settings[alias] = {**here, **lost}
    settings.JOBS_DATABASE_ALIAS = alias
    yield alias
    connections[alias].close()
    del connections[alias]
    del connections.settings[alias]


def test_a_store_that_is_away_is_an_error_of_its_own_with_its_cause(away, told):
    for enqueue in (
        lambda: Jobs.push("trial.noop"),
        lambda: Jobs.push("trial.noop", uuid=new_id()),
        lambda: Jobs.dispatch_many([Jobs.define("trial.noop")] * 3),
    ):
        with pytest.raises(StoreUnavailable, match="'away'") as caught:
            enqueue()
        assert caught.value.__cause__ is not None
    assert told == []


def test_a_connection_that_the_server_cut_is_an_error_and_a_new_one_works(jobs_on):
    connection = connections[jobs_on.database]
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no server that could cut a connection")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()" if connection.vendor == "postgresql" else "SELECT CONNECTION_ID()")
        (backend_id,) = cursor.fetchone()

    def cut():
        with connections[jobs_on.database].cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [backend_id])
            else:
                cursor.execute(f"KILL {int(backend_id)}")

    run_together(cut)
    with pytest.raises(StoreUnavailable):
        Jobs.push("trial.noop")
    connection.close()
    assert Jobs.push("trial.noop").refresh().state == "pending"


# -- within a test case -------------------------------------------------------------------------------------------


class TestWithinATestCase(TestCase):
    """Django's own test case, whose transaction never commits."""

    databases = {"default", "postgresql", "mysql"} & set(connections.settings)

    def test_a_job_is_seen_by_the_test_and_told_of_when_the_test_says_that_it_commits(self):
        for alias in sorted(self.databases):
            heard = []

            def receiver(sender, job_id, heard=heard, **_):
                heard.append(job_id)

            with self.settings(JOBS_DATABASE_ALIAS=alias):
                signals.job_enqueued.connect(receiver)
                try:
                    with self.captureOnCommitCallbacks(using=alias, execute=True):
                        ref = Jobs.push("trial.noop")
                        assert heard == []
                finally:
                    signals.job_enqueued.disconnect(receiver)
                assert heard == [ref]
                assert ref.refresh().state == "pending"
                assert Jobs.cancel(ref) == "cancelled"

    def test_nothing_of_another_test_is_left(self):
        for alias in self.databases:
            assert not Job.objects.using(alias).exists()


def test_many_are_stored_whole_or_not_at_all(jobs_on):
    payloads = [{"n": n} for n in range(1200)]
    refs = Jobs.push_many("trial.noop", payloads)
    assert len({*refs}) == 1200
    stored = Job.objects.using(jobs_on.database).order_by("id")
    assert [job.definition.payload for job in stored] == payloads
    with pytest.raises(PayloadTooLarge):  # when most of them have been sent
        Jobs.push_many("trial.noop", [*payloads, "x" * 100_000])
    assert count(jobs_on) == 1200
    assert Jobs.push("trial.noop").refresh().state == "pending", "the connection works on"


def test_a_store_that_fails_in_the_middle_of_many_has_none_of_them(jobs_on):
    with connections[jobs_on.database].cursor() as cursor:
        cursor.execute("CREATE UNIQUE INDEX one_of_each ON django_jobs_job (reference)")
    try:
        many = [Jobs.define("trial.noop").reference(str(n % 900)) for n in range(1200)]
        with pytest.raises(DatabaseError):
            Jobs.dispatch_many(many)
        assert count(jobs_on) == 0
        assert Jobs.push("trial.noop").refresh().state == "pending", "the connection works on"
        with pytest.raises(DatabaseError), transaction.atomic(using=jobs_on.database):
            Jobs.dispatch_many(many)
        assert count(jobs_on) == 1
    finally:
        with connections[jobs_on.database].cursor() as cursor:
            table = " ON django_jobs_job" if connections[jobs_on.database].vendor == "mysql" else ""
            cursor.execute(f"DROP INDEX one_of_each{table}")
