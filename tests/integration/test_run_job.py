"""`jobs_run_job`, on every database: one job, run here, and what it came to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from typing import Any

import pytest

from django_jobs import Jobs
from django_jobs.backends import WorkerInfo
from django_jobs.backends.database import DatabaseBackend
from django_jobs.maintenance.reap import reap
from django_jobs.models import Job, JobEvent, Queue, Worker
from tests.support.site import site_env
from tests.support.waiting import wait_until
from tests.support.worker import ROOT, lines

from .conftest import claim_all
from .test_commands import Failed, manage, run


@pytest.fixture
def store(jobs_on: DatabaseBackend) -> DatabaseBackend:
    return jobs_on


def test_it_runs_the_job_that_is_named_and_no_other(store: DatabaseBackend) -> None:
    other, job = Jobs.push("trial.noop"), Jobs.push("trial.noop")
    ran = run("jobs_run_job", job)
    assert ran.code == 0, ran.err
    assert ran.out.startswith(f"[acked] default (attempt 1) trial.noop {job} ")
    assert (job.refresh().state, other.refresh().state) == ("completed", "pending")
    assert [w.state for w in Worker.objects.using(store.database).all()] == ["stopped"]


def test_an_atomic_job_is_completed_in_its_transaction(store: DatabaseBackend) -> None:
    ref = Jobs.push("trial.atomic", {"using": store.database, "result": 3})
    assert run("jobs_run_job", ref).code == 0
    assert ref.result() == 3
    assert JobEvent.objects.using(store.database).filter(job_id=str(ref), type="effect").count() == 1


def test_the_outcome_of_a_job_that_fails_is_written_too(store: DatabaseBackend) -> None:
    job = Jobs.push("trial.fail")
    ran = run("jobs_run_job", job, "--json")
    assert ran.code == 0
    assert (ran.json["outcome"], ran.json["error"], ran.json["reason"]) == ("dead-lettered", "ValueError", "dead")
    assert "ValueError: this job fails" in ran.err
    assert job.refresh().state == "failed"
    assert JobEvent.objects.using(store.database).get(job_id=job).type == "failed"


def test_a_job_that_may_run_again_waits_again(store: DatabaseBackend) -> None:
    job = Jobs.push("trial.flaky", {"good": 2, "after": 60})
    assert "[requeued]" in run("jobs_run_job", job).out
    record = job.refresh()
    assert (record.state, record.attempt) == ("scheduled", 1)


def test_a_job_that_is_not_due_is_run_only_by_force(store: DatabaseBackend) -> None:
    job = Jobs.push("trial.noop", delay="1 hour")
    refused = run("jobs_run_job", job)
    assert refused.code == 1
    assert "is not due before" in refused.err
    assert "--force" in refused.err
    assert job.refresh().state == "scheduled"
    assert run("jobs_run_job", job, "--force").code == 0
    assert job.refresh().state == "completed"


def test_a_job_of_a_paused_queue_is_run_only_by_force(store: DatabaseBackend) -> None:
    Queue.objects.using(store.database).create(name="mail", paused=True)
    job = Jobs.push("trial.noop", queue="mail")
    refused = run("jobs_run_job", job)
    assert (refused.code, "'mail' is paused" in refused.err) == (1, True)
    assert run("jobs_run_job", job, "--force").code == 0


def test_a_job_that_cannot_be_had_is_told_of(store: DatabaseBackend, failed: Failed) -> None:
    missing = str(uuid.uuid4())
    ran = run("jobs_run_job", missing)
    assert (ran.code, ran.err) == (1, f"No job has the id {missing}.")
    dead = failed()
    ran = run("jobs_run_job", dead, "--force")
    assert ran.code == 1
    assert f"jobs_retry {dead}" in ran.err
    held = Jobs.push("trial.noop")
    (claim,) = claim_all(store, "default")
    ran = run("jobs_run_job", held, "--force")
    assert ran.code == 1
    assert claim.worker_id in ran.err
    assert held.refresh().claim_no == 1
    assert run("jobs_run_job", "no-id").code == 2


def test_a_job_whose_handler_cannot_be_loaded_is_left_alone(store: DatabaseBackend) -> None:
    job = Jobs.push("trial.noop")
    Job.objects.using(store.database).update(handler="gone.away")
    ran = run("jobs_run_job", job)
    assert (ran.code, "'gone.away'" in ran.err) == (1, True)
    assert job.refresh().claim_no == 0


def test_a_cancel_that_comes_while_it_runs_wins(store: DatabaseBackend, settings: Any, monkeypatch: Any) -> None:
    job = Jobs.push("trial.noop")
    settle = DatabaseBackend.settle

    def cancel_first(backend: Any, settlements: Any) -> Any:
        job.cancel()
        return settle(backend, settlements)

    monkeypatch.setattr(DatabaseBackend, "settle", cancel_first)
    assert run("jobs_run_job", job).out.startswith("[cancelled]")
    assert job.refresh().state == "cancelled"


def test_a_job_that_was_taken_from_it_has_no_outcome_of_it(store: DatabaseBackend, monkeypatch: Any) -> None:
    job = Jobs.push("trial.noop")
    settle = DatabaseBackend.settle

    def lose_first(backend: Any, settlements: Any) -> Any:
        monkeypatch.undo()
        Job.objects.using(backend.database).update(claim_no=9)
        return settle(backend, settlements)

    monkeypatch.setattr(DatabaseBackend, "settle", lose_first)
    ran = run("jobs_run_job", job)
    assert (ran.code, "taken from us" in ran.err) == (1, True)
    assert job.refresh().state == "running"


def test_ctrl_c_gives_the_job_back(store: DatabaseBackend, tmp_path: Any) -> None:
    path = str(tmp_path / "runs")
    job = Jobs.push("trial.sleep", {"seconds": 60, "path": path})
    process = subprocess.Popen(
        [sys.executable, "manage.py", "jobs_run_job", job],
        cwd=ROOT,
        env=site_env(store.database),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: lines(path), "the job to start")
        os.kill(process.pid, signal.SIGINT)
        out, _err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert out.startswith("[released]")
    record = job.refresh()
    assert (record.state, record.attempt) == ("pending", 0)


def test_its_lease_is_renewed_while_the_job_runs(store: DatabaseBackend) -> None:
    job = Jobs.push("trial.sleep", {"seconds": 2})
    short = json.dumps({"JOBS_LEASE_SECONDS": 0.8, "JOBS_HEARTBEAT_INTERVAL": 0.1})
    process = subprocess.Popen(
        [sys.executable, "manage.py", "jobs_run_job", job, "--skip-checks"],
        cwd=ROOT,
        env={**site_env(store.database), "TESTPROJECT_SETTINGS": short},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: reap(store) or process.poll() is not None, "the job to be finished")
    finally:
        process.kill()
        out, _err = process.communicate()
    assert out.startswith("[acked]")
    assert process.returncode == 0


def test_it_needs_no_worker_of_that_queue(store: DatabaseBackend) -> None:
    store.register(WorkerInfo(str(uuid.uuid4()), "h", 1, ["default"]), 30)
    job = Jobs.push("trial.noop", queue="mail")
    ran = manage(store.database, "jobs_run_job", job)
    assert (ran.returncode, ran.stderr) == (0, "")
