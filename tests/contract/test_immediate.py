"""The backends that keep no jobs for workers: `sync` runs them at once, `null` forgets them."""

from __future__ import annotations

import itertools

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction

from django_jobs import Jobs
from django_jobs.backends import CancelOutcome
from django_jobs.backends.memory import MemoryBackend
from django_jobs.backends.null import NullBackend
from django_jobs.backends.sync import SyncBackend
from django_jobs.exceptions import (
    InvalidDefinition,
    JobConflict,
    JobFailed,
    JobNotFound,
    PayloadNotSerializable,
    PayloadTooLarge,
    UnknownHandler,
)
from django_jobs.ids import new_id
from django_jobs.models import CompletedJob, FailedJob, Queue
from django_jobs.testing.conformance import BAD_PAYLOADS, PAYLOADS, definition, raises
from testproject.trials.jobs import Flaky, add


@pytest.fixture
def immediate(jobs_on, settings):
    """`Jobs` on the sync backend, which records in the database under test."""
    settings.JOBS_BACKENDS = {"default": {"BACKEND": "django_jobs.backends.sync.SyncBackend"}}
    return Jobs.backend()


@pytest.fixture
def lines(tmp_path):
    """What the handler `trial.hooks` wrote into its file."""
    path = tmp_path / "lines"

    def read():
        return path.read_text().splitlines() if path.exists() else []

    read.path = str(path)
    return read


def test_a_job_runs_at_once_and_is_recorded(immediate):
    ref = Jobs.push("trial.add", [2, 3], priority=5, name="n", group="g", tags=["t"], source="cli")
    record = ref.refresh()
    assert (record.state, record.result, record.attempt, record.claim_no) == ("completed", 5, 1, 1)
    assert (record.priority, record.definition.name, record.definition.payload) == (5, "n", [2, 3])
    assert record.enqueued_at <= record.started_at <= record.finished_at
    assert ref.result() == 5
    row = CompletedJob.objects.using(immediate.database).get()
    assert (row.name, row.group, row.tags, row.source) == ("n", "g", " t ", "cli")
    assert immediate.claim("default", new_id(), 10) == []
    assert immediate.cancel(ref) is CancelOutcome.ALREADY_FINISHED
    assert immediate.delete(ref) is True
    assert immediate.delete(ref) is False
    assert immediate.cancel(ref) is CancelOutcome.NOT_FOUND


def test_a_function_or_a_class_can_run_at_once_whatever_backend_it_has(jobs_on):
    assert add.dispatch_sync(2, b=5).refresh().result == 7
    assert Flaky.dispatch_sync({"good": 2}).refresh().attempt == 2


def test_attempts_follow_each_other_until_one_is_good(immediate):
    ref = Jobs.push("trial.flaky", {"good": 3, "after": 3600})
    record = ref.refresh()
    assert (record.state, record.attempt, record.claim_no, record.result) == ("completed", 3, 3, {"attempt": 3})
    assert [e["outcome"] for e in record.attempts] == ["retry", "retry"]


def test_attempts_that_are_used_up_leave_a_failed_job(immediate):
    ref = Jobs.push("trial.fail", max_attempts=2)
    record = ref.refresh()
    assert (record.state, record.reason, record.attempt) == ("failed", "dead", 2)
    assert (record.error_class, record.error_message) == ("ValueError", "this job fails")
    assert "raise ValueError" in record.traceback
    assert len(record.attempts) == 2
    with raises(JobFailed):
        ref.result()
    with raises(JobConflict):
        ref.retry()
    with raises(JobNotFound):
        Jobs.retry(new_id())


def test_a_refused_job_fails_at_once(immediate):
    record = Jobs.push("trial.refuse").refresh()
    assert (record.state, record.reason, record.attempt) == ("failed", "failed", 1)


def test_a_job_that_cancels_itself_is_recorded_so(immediate):
    assert Jobs.push("trial.cancelled").refresh().state == "cancelled"


def test_a_handler_that_exits_fails_its_job_and_not_the_caller(immediate):
    assert Jobs.push("trial.exit").refresh().reason == "dead"


def test_a_job_that_only_snoozes_is_dead_in_the_end(immediate, tmp_path):
    record = Jobs.push("trial.snooze", {"path": str(tmp_path / "never")}).refresh()
    assert (record.state, record.reason) == ("failed", "dead")
    assert "snoozed 10 times" in record.error_message


def test_hooks_run_in_their_order(immediate, lines):
    Jobs.push("trial.hooks", {"path": lines.path, "failures": 1})
    attempts = ["before_run", "on_retry as asked", "before_run", "after_run", "on_success done"]
    assert lines() == attempts
    Jobs.push("trial.hooks", {"path": lines.path, "failures": 5})
    assert lines()[5:] == ["before_run", "on_retry as asked", "before_run", "on_failure as asked"]


def test_a_record_that_is_not_to_be_kept_is_not_written(immediate):
    assert CompletedJob.objects.using(immediate.database).count() == 0
    ref = Jobs.push("trial.noop", ttl=0)
    with raises(JobNotFound):
        ref.refresh()
    kept = Jobs.push("trial.noop", ttl=None)
    assert CompletedJob.objects.using(immediate.database).get(id=kept).keep_until is None


def test_a_repeat_under_the_callers_id_does_not_run_again(immediate, lines):
    job_id = new_id()
    for _ in range(2):
        assert Jobs.push("trial.hooks", {"path": lines.path}, uuid=job_id) == job_id
    assert lines().count("before_run") == 1
    assert CompletedJob.objects.using(immediate.database).count() == 1


def test_a_failed_attempt_undoes_its_writes_within_the_callers_transaction(immediate, handlers_of):
    def handle(self, ctx):
        Queue.objects.using(immediate.database).create(name=f"attempt-{ctx.attempt}")
        if ctx.attempt == 1:
            raise ValueError("after a write")

    handlers_of(handle)
    with transaction.atomic(using=immediate.database):
        ref = Jobs.push("contract.writes", max_attempts=2)
        names = list(Queue.objects.using(immediate.database).values_list("name", flat=True))
    assert names == ["attempt-2"]
    assert ref.refresh().state == "completed"


def test_a_broken_statement_in_a_handler_leaves_the_callers_transaction_usable(immediate, handlers_of):
    def handle(self, ctx):
        with connections[immediate.database].cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")

    handlers_of(handle)
    with transaction.atomic(using=immediate.database):
        ref = Jobs.push("contract.writes")
        Queue.objects.using(immediate.database).create(name="after")
    assert ref.refresh().state == "failed"
    assert Queue.objects.using(immediate.database).filter(name="after").exists()


@pytest.fixture
def handlers_of(settings):
    from django_jobs import JobHandler

    def use(handle):
        settings.JOBS = {**settings.JOBS, "contract.writes": type("Writes", (JobHandler,), {"handle": handle})}

    return use


def test_a_delay_is_ignored_or_refused_as_the_site_says(immediate, settings):
    assert Jobs.push("trial.noop", delay=3600).refresh().state == "completed"
    settings.JOBS_BACKENDS = {"default": {**settings.JOBS_BACKENDS["default"], "OPTIONS": {"DELAY": "raise"}}}
    with pytest.raises(InvalidDefinition, match=r"^delay: "):
        Jobs.push("trial.noop", delay=3600)
    assert Jobs.push("trial.noop").refresh().state == "completed"


def test_wrong_options_are_refused():
    for options in ({"DELAY": "maybe"}, {"COLOUR": "red"}):
        with pytest.raises(ImproperlyConfigured):
            SyncBackend("default", options)


def test_null_checks_a_job_and_forgets_it():
    backend = NullBackend("default", {})
    ids = backend.enqueue_many([definition(payload) for payload in PAYLOADS])
    assert all(a < b for a, b in itertools.pairwise(ids))
    assert backend.get(ids[0]) is None
    assert backend.cancel(ids[0]) is CancelOutcome.NOT_FOUND
    assert backend.delete(ids[0]) is False
    with pytest.raises(JobNotFound):
        backend.retry(ids[0])
    assert backend.claim("contract", new_id(), 10) == backend.lost_claims() == []
    assert backend.promote_due() == (0, None)
    assert backend.held(new_id()) == {}
    assert [(n.queue, dict(n.counts)) for n in backend.stats(["b", "a"])] == [("a", {}), ("b", {})]


@pytest.mark.parametrize("backend", [NullBackend, SyncBackend, MemoryBackend], ids=lambda b: b.__name__)
def test_bad_payloads_raise_the_same_on_every_backend(backend):
    backend = backend("default", {})
    for bad in BAD_PAYLOADS.values():
        with pytest.raises(PayloadNotSerializable, match=r"^payload"):
            backend.enqueue(definition(bad))
    with pytest.raises(PayloadTooLarge, match=r"^payload"):
        backend.enqueue(definition("x" * 70_000))


def test_one_bad_job_of_many_runs_none(immediate, lines):
    good = Jobs.define("trial.hooks", {"path": lines.path})
    for bad, error in (
        (Jobs.define("trial.noop", {1: 2}), PayloadNotSerializable),
        (Jobs.define("no.body"), UnknownHandler),
    ):
        with raises(error):
            Jobs.dispatch_many([good, bad])
    assert lines() == []
    assert not FailedJob.objects.using(immediate.database).exists()
