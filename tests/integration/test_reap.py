"""Reaping gives back what lost workers held, on the queues it is asked for."""

from __future__ import annotations

import uuid

import pytest

from django_jobs import Jobs
from django_jobs.backends import WorkerInfo
from django_jobs.backends.database import DatabaseBackend
from django_jobs.maintenance.reap import reap
from django_jobs.models import Job


def claim_and_stop(store: DatabaseBackend, *queues: str) -> None:
    """A worker claims everything, then stops without settling."""
    worker_id = str(uuid.uuid4())
    store.register(WorkerInfo(worker_id, "host", 1, queues), 30)
    for queue in queues:
        store.claim(queue, worker_id, 1000)
    store.deregister(worker_id)


def test_a_named_queue_is_reaped_whatever_else_was_lost(jobs_on: DatabaseBackend) -> None:
    Jobs.dispatch_many([Jobs.define("trial.noop").queue("census") for _ in range(600)])
    ref = Jobs.push("trial.noop")
    claim_and_stop(jobs_on, "census", "default")
    assert [s.claim.id for s in reap(jobs_on, ["default"])] == [str(ref)]
    assert len(reap(jobs_on)) == 600
    assert reap(jobs_on) == []


def test_three_hundred_jobs_of_a_worker_that_is_lost_three_times_are_not_failed(jobs_on: DatabaseBackend) -> None:
    Jobs.dispatch_many([Jobs.define("trial.noop").backoff("none") for _ in range(300)])
    claim_and_stop(jobs_on, "default")
    assert {s.transition.suspect for s in reap(jobs_on)} == {True}
    for _ in range(2):
        worker_id = str(uuid.uuid4())
        jobs_on.register(WorkerInfo(worker_id, "host", 1, ["default"]), 30)
        assert jobs_on.claim("default", worker_id, 300) == []  # suspects are never claimed in a batch
        assert len(jobs_on.claim("default", worker_id, 1, suspect=True)) == 1
        jobs_on.deregister(worker_id)
        reap(jobs_on)
    while jobs_on.promote_due().next_in is not None:
        pass  # what was lost twice waits a moment, for the others to have their turn first
    (stats,) = jobs_on.stats(["default"])
    assert stats.counts == {"pending": 300}
    assert sorted(Job.objects.using(jobs_on.database).values_list("crashes", flat=True))[-3:] == [0, 2, 2]


@pytest.mark.parametrize("state", ["running", "cancel_requested"])
def test_a_running_job_that_nobody_holds_is_reaped(jobs_on: DatabaseBackend, state: str) -> None:
    """As somebody left it who has edited the row: no worker would ever look at it."""
    ref = Jobs.push("trial.noop")
    Job.objects.using(jobs_on.database).update(state=state, worker_id=None)
    assert [s.claim.id for s in reap(jobs_on)] == [str(ref)]
    assert ref.refresh().state == ("pending" if state == "running" else "cancelled")
