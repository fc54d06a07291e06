"""What a dispatch decides, and what follows an end: skips, cancel handlers, dead letters, hooks of lost jobs."""

from __future__ import annotations

import threading

import pytest
from django.db import connections, transaction

from django_jobs import JobHandler, Jobs, signals
from django_jobs.exceptions import (
    DuplicateJob,
    HandlerNotAllowed,
    InvalidDefinition,
    JobNotFound,
    PayloadValidationError,
)
from django_jobs.maintenance.cleanup import expire
from django_jobs.maintenance.reap import reap, run_hooks_of
from django_jobs.models import FailedJob, Hold, Job, JobEvent
from tests.support.threads import run_together

from .conftest import claim_all, lose, work_off

HEARD: list[tuple[object, ...]] = []


class Undoable(JobHandler):
    methods = ("monthly",)

    def handle(self, ctx):
        raise ValueError("as ever")

    def monthly(self, ctx):
        return "a month"

    def undo(self, job, reason):
        HEARD.append((job.id, job.state, reason))

    def quietly(self):
        HEARD.append(("quietly",))

    def badly(self):
        raise OSError("the other side is away")

    def on_cancel(self, ctx):
        HEARD.append(("on_cancel", ctx.payload))

    def on_failure(self, ctx, error):
        HEARD.append(("on_failure", ctx.payload))


class Letters(JobHandler):
    queue = "dead"

    def handle(self, ctx):
        HEARD.append((ctx.payload["reason"], ctx.payload["payload"], ctx.meta["dead_letter"]["queue"]))


@pytest.fixture(autouse=True)
def site(settings):
    HEARD.clear()
    settings.JOBS = {**settings.JOBS, "undoable": Undoable, "letters": Letters}


# -- dispatch ------------------------------------------------------------------------------------------------------


def test_a_disabled_job_is_not_stored_and_its_reference_says_so(jobs_on):
    ref = Jobs.define("trial.noop").enabled(False).dispatch()
    kept, skipped = Jobs.dispatch_many([Jobs.define("trial.noop"), Jobs.define("trial.noop").environments("staging")])
    assert (ref.skipped, kept.skipped, skipped.skipped) == ("disabled", "", "environment")
    with pytest.raises(JobNotFound):
        ref.refresh()
    assert kept.refresh().state == "pending"
    assert Job.objects.using(jobs_on.database).count() == 1


def test_a_job_is_stored_in_its_environments(jobs_on, settings):
    settings.JOBS_ENVIRONMENT = "staging"
    assert not Jobs.define("trial.noop").environments("staging", "qa").dispatch().skipped


def test_a_queue_takes_only_what_it_allows(jobs_on, settings):
    settings.JOBS_QUEUES = {"mail": {"handlers": ["trial.noop"]}, "none": {"handlers": []}, "default": {}}
    assert Jobs.push("trial.noop", queue="mail")
    for handler, queue in (("trial.fail", "mail"), ("trial.noop", "none")):
        with pytest.raises(HandlerNotAllowed):
            Jobs.push(handler, queue=queue)
    assert Jobs.push("trial.fail")


def test_middleware_of_one_job_must_be_allowed(jobs_on, settings):
    builder = Jobs.define("trial.noop").middleware("tests.unit.test_invocation.named")
    with pytest.raises(InvalidDefinition, match="JOBS_MIDDLEWARE_ALLOWED"):
        builder.dispatch()
    settings.JOBS_MIDDLEWARE_ALLOWED = ["tests.unit.test_invocation.named"]
    assert builder.dispatch().refresh().definition.middleware == ("tests.unit.test_invocation.named",)


def test_a_key_that_was_renamed_is_stored_under_its_new_name(jobs_on, settings):
    settings.JOBS_ALIASES = {"old.Noop": "trial.noop"}
    assert Jobs.push("old.Noop").refresh().handler == "trial.noop"


def test_a_method_that_a_class_lists_is_dispatched(jobs_on):
    ref = Jobs.push([Undoable, "monthly"])
    work_off(jobs_on)
    assert ref.result() == "a month"
    with pytest.raises(InvalidDefinition, match="methods"):
        Jobs.define([Undoable, "undo"])


def test_a_payload_is_stored_as_its_handler_has_it(jobs_on, settings):
    from tests.unit.test_typed import ORDER, PLAIN, Ship

    settings.JOBS = {**settings.JOBS, "ship": Ship}
    ref = Ship.dispatch(ORDER)
    assert ref.refresh().definition.payload == PLAIN
    with pytest.raises(PayloadValidationError):
        Jobs.push_many("ship", [PLAIN, {}])
    assert Job.objects.using(jobs_on.database).count() == 1


def test_a_function_is_called_by_its_path_where_the_site_allows_it(jobs_on, settings):
    settings.JOBS_BUILTINS = ["callable"]
    settings.JOBS_CALLABLES_ALLOWED = ["tests.integration.test_options.double"]
    refs = [
        Jobs.push("callable", double_path),
        Jobs.push("callable", {"path": double_path, "args": [4]}),
    ]
    work_off(jobs_on)
    assert [ref.refresh().state for ref in refs] == ["failed", "completed"]
    assert refs[1].result() == 8
    for bad in (lambda: 1, print, "os.system", {"path": "os.system"}, 5, {"path": double_path, "more": 1}):
        with pytest.raises(InvalidDefinition):
            Jobs.push("callable", bad)


def test_a_lambda_is_called_where_it_is_dispatched_and_stored_nowhere(jobs_on, settings):
    settings.JOBS_BUILTINS = ["callable"]
    settings.JOBS_BACKENDS = {
        "default": {"BACKEND": "django_jobs.backends.database.DatabaseBackend"},
        "now": {"BACKEND": "django_jobs.backends.sync.SyncBackend"},
    }
    assert Jobs.push("callable", lambda: 5, backend="now").result() == 5
    seen = []

    def inner():
        seen.append(len(seen))
        if not seen[1:]:
            raise ValueError("once more")

    Jobs.define("callable", inner).max_attempts(2).dispatch(backend="now")
    assert seen == [0, 1]
    for many in (lambda job: [Jobs.push("callable", job)], lambda job: Jobs.push_many("callable", [job])):
        with pytest.raises(InvalidDefinition, match="use the backend sync"):
            many(lambda: 5)
    forged = Jobs.prepare(Jobs.define("callable", inner))
    jobs_on.enqueue(forged.changed({"payload": {"local": "7f lambda"}}))
    work_off(jobs_on)
    assert Jobs.get(forged.id).reason == "failed"


def double(n):
    return 2 * n


double_path = "tests.integration.test_options.double"


# -- unique jobs, at once from many sides --------------------------------------------------------------------------


@pytest.mark.parametrize("until", ["finished", "started", 60])
def test_of_many_who_enqueue_one_key_at_once_one_makes_the_job(jobs_on, until):
    barrier = threading.Barrier(8)

    def enqueue():
        barrier.wait(10)
        return str(Jobs.push("trial.noop", unique={"key": "k", "until": until}))

    answers = run_together(*[enqueue] * 8)
    assert len(set(answers)) == 1
    assert [str(job.id) for job in Job.objects.using(jobs_on.database)] == answers[:1]


def test_a_unique_enqueue_that_is_rolled_back_leaves_its_key_free(jobs_on):
    for until in ("finished", 60):
        with transaction.atomic(using=jobs_on.database):
            first = Jobs.push("trial.noop", unique={"key": "k", "until": until})
            transaction.set_rollback(True, using=jobs_on.database)
        second = Jobs.push("trial.noop", unique={"key": "k", "until": until, "mode": "reject"})
        assert second != first
        with pytest.raises(DuplicateJob), transaction.atomic(using=jobs_on.database):
            Jobs.push("trial.noop", unique={"key": "k", "until": until, "mode": "reject"})
        second.cancel()


def test_a_replaced_job_says_by_what(jobs_on):
    first = Jobs.push("trial.noop", 1, unique={"key": "k", "mode": "replace"})
    second = Jobs.push("trial.noop", 2, unique={"key": "k", "mode": "replace"})
    event = JobEvent.objects.using(jobs_on.database).get(job_id=first)
    assert (event.type, event.message) == ("cancelled", f"replaced by {second}")


def test_holds_that_are_over_are_deleted(jobs_on):
    Jobs.push("trial.noop", unique={"key": "k", "until": 3600})
    assert expire(jobs_on) == 0
    with connections[jobs_on.database].cursor() as cursor:
        cursor.execute(f"UPDATE django_jobs_hold SET until = {jobs_on.sql.later('%s')}", [-5])
    assert expire(jobs_on) == 1
    assert not Hold._default_manager.using(jobs_on.database).exists()


# -- cancels -------------------------------------------------------------------------------------------------------


def test_a_cancel_calls_the_jobs_cancel_handler_in_the_caller(jobs_on):
    ref = Jobs.push("undoable", delay=60, cancel_handler="undo")
    assert ref.cancel("the customer asked") == "cancelled"
    assert HEARD == [(ref, "cancelled", "the customer asked"), ("on_cancel", None)]  # noqa: SIM300
    assert ref.cancel() == "already_finished"
    assert len(HEARD) == 2
    event = JobEvent.objects.using(jobs_on.database).get(job_id=ref)
    assert (event.type, event.message) == ("cancelled", "the customer asked")


def test_a_cancel_handler_takes_what_it_wants_and_may_be_anothers(jobs_on):
    other = Jobs.define("trial.noop").delay(60).on_cancel([Undoable, "quietly"]).dispatch()
    assert other.cancel() == "cancelled"
    assert HEARD == [("quietly",)]


def test_a_cancel_handler_that_fails_changes_nothing(jobs_on, caplog):
    ref = Jobs.push("undoable", delay=60, cancel_handler="badly")
    assert ref.cancel() == "cancelled"
    assert "the other side is away" in caplog.text


def test_a_running_job_is_asked_and_its_cancel_handler_called(jobs_on):
    ref = Jobs.push("undoable", cancel_handler="undo")
    claim_all(jobs_on, "default")
    assert ref.cancel("stop") == "requested"
    assert [(ref, "cancel_requested", "stop")] == HEARD


def test_a_job_that_is_cancelled_while_it_waits_has_its_hook_and_its_signal(jobs_on):
    def receiver(sender, ctx, **_):
        HEARD.append(("signal", sender, ctx.payload))

    signals.job_cancelled.connect(receiver)
    try:
        with transaction.atomic(using=jobs_on.database):
            waits, runs = Jobs.push("undoable", 1, delay=60), Jobs.push("undoable", 2)
            waits.cancel()
            assert HEARD == []
        assert [("on_cancel", 1), ("signal", Undoable, 1)] == HEARD
        claim_all(jobs_on, "default")
        runs.cancel()
        assert len(HEARD) == 2, "what runs has its hooks from its worker"
    finally:
        signals.job_cancelled.disconnect(receiver)


# -- dead letters --------------------------------------------------------------------------------------------------


def test_a_failed_job_is_told_of_on_the_dead_letter_queue(jobs_on, settings):
    settings.JOBS_QUEUES = {"default": {"dead_letter_queue": "dead", "dead_letter_handler": "letters"}, "dead": {}}
    ref = Jobs.push("undoable", {"a": 1})
    work_off(jobs_on, "default")
    failed = FailedJob.objects.using(jobs_on.database).get()
    letter = Job.objects.using(jobs_on.database).get()
    facts = letter.definition.meta["dead_letter"]
    assert (str(failed.id), letter.queue, letter.source) == (ref, "dead", "callback")
    assert (facts["job_id"], facts["reason"], facts["error_class"]) == (ref, "dead", "ValueError")
    work_off(jobs_on, "dead")
    assert ("dead", {"a": 1}, "default") in HEARD


def test_without_a_handler_of_its_own_the_job_itself_waits_there_and_makes_no_loop(jobs_on, settings):
    settings.JOBS_DEAD_LETTER_QUEUE = "dead"
    Jobs.push("undoable", {"a": 1}, meta={"k": "v"})
    work_off(jobs_on, "default")
    letter = Job.objects.using(jobs_on.database).get()
    assert (letter.handler, letter.definition.payload, letter.definition.meta["k"]) == ("undoable", {"a": 1}, "v")
    work_off(jobs_on, "dead")
    assert not Job.objects.using(jobs_on.database).exists()
    assert FailedJob.objects.using(jobs_on.database).count() == 2


def test_a_retried_job_that_fails_again_is_told_of_again(jobs_on, settings):
    settings.JOBS_DEAD_LETTER_QUEUE = "dead"
    ref = Jobs.push("undoable")
    for n in (1, 2):
        work_off(jobs_on, "default")
        assert Job.objects.using(jobs_on.database).filter(queue="dead").count() == n
        ref.retry()


# -- hooks and signals of what no handler ended --------------------------------------------------------------------


@pytest.fixture
def failures():
    heard = []

    def receiver(sender, ctx, error, reason, **_):
        heard.append((sender, ctx.job_id, reason))

    signals.job_failed.connect(receiver)
    yield heard
    signals.job_failed.disconnect(receiver)


def test_a_reaped_job_that_is_dead_has_its_hooks(jobs_on, settings, failures):
    settings.JOBS_MAX_CRASHES = 1
    ref = Jobs.push("undoable", "p")
    lose(jobs_on, "default")
    run_hooks_of(reap(jobs_on))
    assert failures == []  # suspect now, and charged nothing
    worker = claim_all(jobs_on, "default")
    assert worker == []
    Job.objects.using(jobs_on.database).update(suspect=True)
    (claim,) = claim_suspect(jobs_on)
    jobs_on.deregister(claim.worker_id)
    run_hooks_of(reap(jobs_on))
    assert failures == [(Undoable, ref, "crashed")]
    assert HEARD == [("on_failure", "p")]


def claim_suspect(backend):
    import uuid

    from django_jobs.backends import WorkerInfo

    worker = str(uuid.uuid4())
    backend.register(WorkerInfo(worker, "host.test", 1, ["default"]), 3600)
    return backend.claim("default", worker, 1, suspect=True)


def test_a_rejected_job_is_signalled_without_its_handler(jobs_on, failures):
    ref = Jobs.push("undoable", "p")
    Job.objects.using(jobs_on.database).update(signature="0:0")
    from django_jobs.runtime import run_hooks
    from django_jobs.settlement import conclude
    from tests.support.jobs import run

    (claim,) = claim_all(jobs_on, "default")
    settlement = conclude(claim, run(claim))
    run_hooks(claim, settlement.transition, settlement.result, settlement.error)
    assert failures == [(None, ref, "rejected")]
    assert HEARD == []
