"""The test kit, used as a site's own tests would use it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import TestCase, override_settings

from django_jobs import JobHandler, Jobs, RetryableJobError
from django_jobs.backends import get_backend
from django_jobs.backends.memory import MemoryBackend
from django_jobs.conf import conf
from django_jobs.exceptions import Snooze
from django_jobs.models import CompletedJob, Job, Queue, Worker
from django_jobs.testing import (
    FAULTS,
    JobsFailed,
    JobsTestMixin,
    assert_dispatched,
    assert_nothing_dispatched,
    capture_jobs,
    dispatched_jobs,
    freeze_jobs_time,
    override_jobs,
    predictable_ids,
    run_job,
    run_jobs,
    travel,
)

SEEN: list[object] = []


class Welcome(JobHandler):
    queue = "mail"

    def handle(self, ctx):
        SEEN.append(ctx.payload)
        ctx.emit("welcomed")
        return {"to": ctx.payload["user_id"]}

    def on_success(self, ctx, result):
        SEEN.append("on_success")


class SignUp(JobHandler):
    def handle(self, ctx):
        Welcome.dispatch({"user_id": ctx.payload})


class Flaky(JobHandler):
    max_attempts = 3
    backoff = [60, 120]

    def handle(self, ctx):
        SEEN.append(ctx.attempt)
        if ctx.attempt < 3:
            raise RetryableJobError("not yet")


class Breaks(JobHandler):
    def handle(self, ctx):
        Queue.objects.create(name="twice")
        Queue.objects.create(name="twice")


class Endless(JobHandler):
    def handle(self, ctx):
        Endless.dispatch()


class Sleepy(JobHandler):
    def handle(self, ctx):
        raise Snooze("1h")


class Idempotent(JobHandler):
    def handle(self, ctx):
        SEEN.append(ctx.job_id)
        Queue.objects.get_or_create(name=f"q{ctx.payload}")


class Prints(JobHandler):
    capture_output = True

    def handle(self, ctx):
        print("x" * ctx.payload, "the end")


HANDLERS = {
    "prints": Prints,
    "welcome": Welcome,
    "sign-up": SignUp,
    "flaky": Flaky,
    "breaks": Breaks,
    "endless": Endless,
    "sleepy": Sleepy,
    "idempotent": Idempotent,
}


class KitTests:  # mixed into test cases below
    """The same on the database, in the test's own transaction, and in memory."""

    def setUp(self):
        SEEN.clear()

    def test_jobs_run_with_what_they_dispatch_and_their_hooks(self):
        SignUp.dispatch(7)
        assert_dispatched("sign-up", payload=7, times=1)
        runs = run_jobs()
        assert [(run.handler, run.then, run.result) for run in runs] == [
            ("sign-up", "completed", None),
            ("welcome", "completed", {"to": 7}),
        ]
        assert runs[1].events == [("message", "welcomed")]
        assert runs[1].succeeded
        assert SEEN == [{"user_id": 7}, "on_success"]
        assert [job.state for job in dispatched_jobs()] == ["completed", "completed"]

    def test_one_queue_runs_alone_and_one_round_may_be_enough(self):
        Welcome.dispatch({"user_id": 1})
        SignUp.dispatch(2)
        assert [run.handler for run in run_jobs("mail")] == ["welcome"]
        assert [run.handler for run in run_jobs(until_empty=False)] == ["sign-up"]
        assert [run.handler for run in run_jobs()] == ["welcome"]

    def test_what_is_due_later_waits_for_time_to_pass(self):
        Welcome.dispatch({"user_id": 1}, delay="1h")
        assert run_jobs() == []
        travel("59 minutes")
        assert run_jobs() == []
        travel(timedelta(minutes=2))
        assert len(run_jobs()) == 1

    def test_retries_wait_as_long_as_they_should(self):
        Flaky.dispatch()
        (first,) = run_jobs()
        assert (first.outcome, first.then, first.delay) == ("retry", "waiting", 60)
        travel(61)
        (second,) = run_jobs()
        assert (second.attempt, second.delay) == (2, 120)
        travel(121)
        assert run_jobs()[0].succeeded
        assert SEEN == [1, 2, 3]

    def test_a_failure_may_be_raised(self):
        Jobs.push("flaky", max_attempts=1)
        with pytest.raises(JobsFailed, match="RetryableJobError: not yet"):
            run_jobs(check=True)
        assert not Worker.objects.filter(state="running").exists()
        Sleepy.dispatch()
        run_jobs(check=True)

    def test_every_fault_leaves_an_idempotent_job_done_once(self):
        for fault in FAULTS:
            ref = Idempotent.dispatch(fault)
            (run,) = run_jobs(fault=fault)
            assert (run.id, run.then) == (ref, "completed")
            assert SEEN.count(str(ref)) == (1 if fault == "after_claim" else 2)
            assert Queue.objects.filter(name=f"q{fault}").count() == 1
        with pytest.raises(TypeError, match="after_claim"):
            run_jobs(fault="earthquake")

    def test_many_jobs_are_no_jobs_without_end(self):
        Jobs.push_many("trial.noop", range(1100))
        assert len(run_jobs()) == 1100

    def test_jobs_without_end_are_noticed(self):
        Endless.dispatch()
        with pytest.raises(AssertionError, match="no end"):
            run_jobs()

    def test_assertions_say_what_was_dispatched(self):
        assert_nothing_dispatched()
        Welcome.dispatch({"user_id": 1, "items": ["a", {"n": 2}]}, delay=5, reference="r")
        assert_dispatched(Welcome)
        assert_dispatched("welcome", payload__user_id=1, payload__items__1__n=2, queue="mail", reference="r", times=1)
        assert_dispatched("welcome", payload__user_id=lambda value: value > 0, state="scheduled")
        assert_dispatched(times=1)
        assert_dispatched("sign-up", times=0)
        for like in ({"payload__user_id": 2}, {"payload__nothing": 1}, {"payload__items__9": 1}, {"queue": "other"}):
            with pytest.raises(AssertionError, match=r"(?s)at least one of \(welcome, .*none was.*welcome on mail"):
                assert_dispatched("welcome", **like)
        with pytest.raises(AssertionError, match=r"2 of .* 1 were"):
            assert_dispatched("welcome", times=2)
        with pytest.raises(AssertionError, match="nothing should"):
            assert_nothing_dispatched()
        with pytest.raises(TypeError, match="no field"):
            assert_dispatched("welcome", pyload=1)


@override_settings(JOBS={**conf.handlers, **HANDLERS})
class OnTheDatabase(KitTests, JobsTestMixin, TestCase):
    def test_callbacks_of_the_commit_are_called_first(self):
        transaction.on_commit(lambda: SignUp.dispatch(1))
        with transaction.atomic():
            transaction.on_commit(lambda: SignUp.dispatch(2))
        assert sorted(run.result["to"] for run in run_jobs() if run.result) == [1, 2]

    def test_a_broken_statement_in_a_handler_leaves_the_tests_transaction_usable(self):
        ref = Jobs.push("breaks")
        (run,) = run_jobs()
        assert run.error is not None
        assert run.error.class_path == f"{IntegrityError.__module__}.{IntegrityError.__qualname__}"
        assert ref.refresh().state == "failed"
        assert not Queue.objects.filter(name="twice").exists()
        assert connection.in_atomic_block

    def test_the_same_as_methods(self):
        self.assertNothingDispatched()
        with self.captureJobs() as jobs:
            Welcome.dispatch({"user_id": 1})
        assert jobs[0].handler == "welcome"
        self.assertDispatched(Welcome, times=1)
        self.runJobs("mail")
        assert CompletedJob.objects.count() == 1

    def test_a_databases_clock_can_not_be_stopped(self):
        with pytest.raises(TypeError, match="travel"), freeze_jobs_time(datetime(2030, 1, 1, tzinfo=UTC)):
            pass


@override_settings(JOBS={**conf.handlers, **HANDLERS})
@override_jobs(backend="memory")
class InMemory(KitTests, TestCase):
    def test_the_clock_may_be_stopped(self):
        with freeze_jobs_time(datetime(2030, 1, 1, tzinfo=UTC)) as set_to:
            ref = Jobs.push_at(datetime(2030, 1, 1, 0, 1, tzinfo=UTC), "welcome", {"user_id": 1})
            assert ref.refresh().enqueued_at == datetime(2030, 1, 1, tzinfo=UTC)
            assert run_jobs() == []
            set_to(datetime(2030, 1, 1, 0, 2, tzinfo=UTC))
            assert len(run_jobs()) == 1

    def test_each_starts_empty(self):
        assert_nothing_dispatched()
        assert isinstance(get_backend(), MemoryBackend)


@override_settings(JOBS={**conf.handlers, **HANDLERS})
class Beside(TestCase):
    def test_a_handler_is_run_alone(self):
        run = run_job(Flaky, attempt=3)
        assert (run.outcome, run.then, run.attempt) == ("completed", "completed", 3)
        run = run_job("flaky", attempt=2)
        assert (run.outcome, run.then, run.delay) == ("retry", "waiting", 120)
        run = run_job(Welcome, {"user_id": 4})
        assert (run.result, run.events) == ({"to": 4}, [("message", "welcomed")])
        assert not Job.objects.exists()

    def test_jobs_are_captured_on_any_backend(self):
        for backend in ("null", "memory", "sync", "database"):
            with override_jobs(backend=backend), capture_jobs() as jobs:
                jobs.assert_nothing_dispatched()
                Welcome.dispatch({"user_id": 1}, priority=5)
                Jobs.define("welcome").enabled(False).dispatch()
            jobs.assert_dispatched("welcome", payload__user_id=1, priority=5, times=1)
            with pytest.raises(AssertionError, match="none was"):
                jobs.assert_dispatched("sign-up")
        Welcome.dispatch({"user_id": 1})
        assert len(jobs) == 1, "the capture is over"

    def test_what_a_handler_prints_is_kept_to_its_end(self):
        (event,) = run_job(Prints, 9_000).events
        assert event == ("output", "x" * 9_000 + " the end\n")
        (event,) = run_job(Prints, 20_000).events
        assert event[1].startswith("… (10,009 characters cut)\nxxx")
        assert event[1].endswith("x the end\n")

    def test_settings_change_by_their_short_names(self):
        with override_jobs(max_crashes=1, queues={"mail": {}}):
            assert conf.max_crashes == 1
            assert conf.queue_names() == ["mail"]
        assert conf.max_crashes == 3
        with pytest.raises(TypeError, match="JOBS_MAX_CRASH"):
            override_jobs(max_crash=1)

    def test_a_backend_that_keeps_nothing_says_so(self):
        with override_jobs(backend="null"):
            for use in (run_jobs, dispatched_jobs, lambda: travel(1)):
                with pytest.raises(TypeError, match="the backend 'default'"):
                    use()

    def test_ids_may_be_predictable(self):
        made = []
        for _ in range(2):
            with predictable_ids(), override_jobs(backend="memory"):
                made.append([Jobs.push("trial.noop") for _ in range(3)])
        assert made[0] == made[1] == sorted(made[0])
        assert Jobs.push("trial.noop") > made[0][-1]


def test_the_fixtures_of_the_plugin(request, db):
    plugin = SimpleNamespace(**{name: request.getfixturevalue(name) for name in ("jobs_memory", "jobs_clock")})
    captured = request.getfixturevalue("captured_jobs")
    run = request.getfixturevalue("run_jobs")
    Jobs.push("trial.noop", delay=60)
    captured.assert_dispatched("trial.noop")
    assert len(plugin.jobs_memory.records()) == 1
    plugin.jobs_clock(61)
    assert [each.then for each in run()] == ["completed"]
