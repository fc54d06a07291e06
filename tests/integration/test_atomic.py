"""Atomic handlers: what they write and their completion are there together, wherever they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.db import connections, transaction

from django_jobs import Jobs
from django_jobs.api import JobRef
from django_jobs.backends import Settled
from django_jobs.backends.database import DatabaseBackend
from django_jobs.maintenance.reap import reap
from django_jobs.models import CompletedJob, Job, JobEvent
from django_jobs.retry import OutcomeKind
from django_jobs.runtime import Claim, Outcome
from django_jobs.settlement import conclude
from django_jobs.testing import run_job, run_jobs
from django_jobs.testing.conformance import raises
from tests.integration.conftest import claim_all
from tests.support.jobs import run
from tests.support.threads import run_together
from tests.support.worker import lines


def push(store: DatabaseBackend, **payload: Any) -> JobRef:
    return Jobs.push("trial.atomic", {"using": store.database, **payload})


def effects(store: DatabaseBackend) -> int:
    return JobEvent.objects.using(store.database).filter(type="effect").count()


def attempt(store: DatabaseBackend, claim: Claim) -> Outcome:
    return run(claim, store=store)


def test_its_writes_and_its_completion_are_committed_together(jobs_on: DatabaseBackend) -> None:
    ref = push(jobs_on, result={"n": 1})
    (claim,) = claim_all(jobs_on, "default")
    outcome = attempt(jobs_on, claim)
    assert (outcome.kind, outcome.stored) == ("completed", True)
    assert not connections[jobs_on.database].in_atomic_block
    record = ref.refresh()
    assert (record.state, record.result, record.attempt, record.claim_no) == ("completed", {"n": 1}, 1, 1)
    assert CompletedJob.objects.using(jobs_on.database).get().run_seconds > 0
    assert effects(jobs_on) == 1
    assert jobs_on.settle_anyway([conclude(claim, outcome)]) == [Settled.WRITTEN]


@pytest.mark.parametrize(
    ("then", "kind"),
    [
        ("raise", OutcomeKind.RETRY),
        ("snooze", OutcomeKind.SNOOZED),
        ("leave a transaction open", OutcomeKind.FAILED),
        ("break the transaction", OutcomeKind.RETRY),
    ],
)
def test_every_other_outcome_leaves_nothing(jobs_on: DatabaseBackend, then: str, kind: OutcomeKind) -> None:
    ref = push(jobs_on, then=then)
    (claim,) = claim_all(jobs_on, "default")
    (outcome,) = run_together(lambda: attempt(jobs_on, claim))  # on a connection of its own, which ends with it
    assert (outcome.kind, outcome.stored) == (kind, False)
    assert ref.refresh().state == "running"
    assert effects(jobs_on) == 0


@pytest.mark.parametrize("database", ["mysql"], indirect=True)
def test_a_transaction_that_the_server_has_ended_is_not_completed(jobs_on: DatabaseBackend) -> None:
    """What the handler wrote before a deadlock is gone, whatever it makes of the error."""
    ref = push(jobs_on, then="lose the transaction")
    (claim,) = claim_all(jobs_on, "default")
    outcome = attempt(jobs_on, claim)
    assert (outcome.kind, outcome.stored) == (OutcomeKind.RETRY, False)
    assert outcome.error is not None
    assert "deadlock" in outcome.error.message
    assert (ref.refresh().state, effects(jobs_on)) == ("running", 0)


def test_a_lost_claim_leaves_nothing(jobs_on: DatabaseBackend) -> None:
    ref = push(jobs_on)
    (claim,) = claim_all(jobs_on, "default")
    jobs_on.deregister(claim.worker_id)
    reap(jobs_on)
    outcome = attempt(jobs_on, claim)
    assert outcome.kind == "interrupted"
    assert (ref.refresh().state, effects(jobs_on)) == ("pending", 0)


def test_a_cancel_that_came_before_the_end_leaves_nothing(jobs_on: DatabaseBackend) -> None:
    ref = push(jobs_on)
    (claim,) = claim_all(jobs_on, "default")
    ref.cancel()
    outcome = attempt(jobs_on, claim)
    assert outcome.kind == "cancelled"
    assert jobs_on.settle([conclude(claim, outcome)]) == [Settled.CANCELLED]
    assert (ref.refresh().state, effects(jobs_on)) == ("cancelled", 0)


def test_an_error_in_what_follows_the_commit_changes_nothing(
    jobs_on: DatabaseBackend, caplog: pytest.LogCaptureFixture
) -> None:
    ref = push(jobs_on, then="raise after the commit")
    (claim,) = claim_all(jobs_on, "default")
    outcome = attempt(jobs_on, claim)
    assert (outcome.kind, outcome.stored) == ("completed", True)
    assert (ref.refresh().state, effects(jobs_on)) == ("completed", 1)
    assert "what follows its commit failed" in caplog.text


def test_a_store_that_fails_when_the_handler_is_done_costs_no_attempt(
    jobs_on: DatabaseBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    def fail(*_: object) -> None:
        raise OperationalError("the server is gone")

    ref = push(jobs_on)
    (claim,) = claim_all(jobs_on, "default")
    with monkeypatch.context() as patch:
        patch.setattr(type(jobs_on), "settle", fail)
        outcome = attempt(jobs_on, claim)
    assert (outcome.kind, outcome.error and outcome.error.message) == ("crashed", "the server is gone")
    assert jobs_on.settle([conclude(claim, outcome)]) == [Settled.WRITTEN]
    record = ref.refresh()
    assert (record.attempt, record.crashes, effects(jobs_on)) == (0, 1, 0)


def test_without_a_store_it_does_not_run(jobs_on: DatabaseBackend) -> None:
    push(jobs_on)
    (claim,) = claim_all(jobs_on, "default")
    outcome = run(claim)
    assert outcome.kind == "failed"
    assert outcome.error is not None
    assert "no store here" in outcome.error.message
    assert effects(jobs_on) == 0


def test_on_sqlite_it_has_a_third_of_the_lease(jobs_on: DatabaseBackend, settings: Any) -> None:
    """Nobody can renew a lease while it has the only write lock."""
    timeouts = []

    def guard(timeout: float | None) -> Any:
        timeouts.append(timeout)
        from contextlib import nullcontext

        return nullcontext()

    from django_jobs.runtime import run_attempt

    settings.JOBS_LEASE_SECONDS = 30
    given = (300, 5, None)
    for timeout in given:
        Jobs.define("trial.atomic", {"using": jobs_on.database}).timeout(timeout).dispatch()
    for claim in claim_all(jobs_on, "default"):
        run_attempt(claim, guard, store=jobs_on)
    expected = [10.0, 5, 10.0] if connections[jobs_on.database].vendor == "sqlite" else list(given)
    assert timeouts == expected


def test_no_lock_is_held_on_the_job_while_its_handler_runs(jobs_on: DatabaseBackend) -> None:
    """The fence is taken at the end: meanwhile others can cancel the job, and renew their leases."""
    if connections[jobs_on.database].vendor == "sqlite":
        return
    push(jobs_on)
    (claim,) = claim_all(jobs_on, "default")
    with transaction.atomic(using=jobs_on.database), jobs_on.completing(claim):
        pass
    held = []

    def cancel() -> None:
        held.append(jobs_on.cancel(claim.id))

    with raises(ZeroDivisionError), jobs_on.completing(claim):
        JobEvent.objects.using(jobs_on.database).count()
        run_together(cancel)
        raise ZeroDivisionError
    assert held == ["requested"]


# -- in the test kit ------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_run_jobs_completes_it_within_the_tests_transaction(settings: Any, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    ref = Jobs.push("trial.atomic", {"result": 5, "path": str(proof), "then": "write after the commit"})
    (done,) = run_jobs()
    assert (done.outcome, done.then, done.result) == ("completed", "completed", 5)
    assert ref.result() == 5
    assert JobEvent.objects.filter(type="effect").count() == 1
    assert lines(proof) == ["on_success 5", "on_commit"]


@pytest.mark.django_db
def test_run_jobs_rolls_back_what_failed() -> None:
    ref = Jobs.push("trial.atomic", {"then": "raise"})
    runs = run_jobs()
    assert [(r.outcome, r.then) for r in runs] == [("retry", "waiting"), ("retry", "failed")]
    assert ref.refresh().reason == "dead"
    assert JobEvent.objects.filter(type="effect").count() == 0


@pytest.mark.django_db
@pytest.mark.parametrize("fault", ["after_claim", "before_settle", "lost_lease"])
def test_no_fault_makes_it_write_twice(fault: str) -> None:
    ref = Jobs.push("trial.atomic")
    run_jobs(fault=fault)
    assert (ref.refresh().state, ref.refresh().claim_no) == ("completed", 2)
    assert JobEvent.objects.filter(type="effect").count() == 1


@pytest.mark.django_db
def test_run_job_runs_it_in_a_transaction() -> None:
    assert run_job("trial.atomic", {"result": 1}).result == 1


@pytest.mark.django_db(transaction=True)
def test_the_sync_backend_records_it_in_its_transaction(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    ref = Jobs.define("trial.atomic", {"path": str(proof), "then": "write after the commit"})
    done = Jobs.dispatch_sync(ref)
    assert done.refresh().state == "completed"
    assert JobEvent.objects.filter(type="effect").count() == 1
    assert lines(proof) == ["on_commit", "on_success None"]
    failed = Jobs.dispatch_sync(Jobs.define("trial.atomic", {"then": "raise"}))
    assert failed.refresh().reason == "dead"
    assert JobEvent.objects.filter(type="effect").count() == 1
    assert not Job.objects.exists()
