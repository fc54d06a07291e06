"""A job that ends its worker each time is stopped; jobs that were merely at hand when a worker died are not."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import Job, Worker
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess, counts, lines, live, places, wait_finished, worker

SHORT_LEASE = {"JOBS_LEASE_SECONDS": 1.2, "JOBS_HEARTBEAT_INTERVAL": 0.3, "JOBS_REAP_INTERVAL": 0.3}


def holds(queue: DatabaseBackend, process: WorkerProcess) -> int:
    """How many jobs the worker of a process holds."""
    workers = Worker.objects.using(queue.database).filter(pid=process.pid).values("id")
    return Job.objects.using(queue.database).filter(worker_id__in=workers, suspect=True).count()


@pytest.mark.quick_on("sqlite")
def test_inline_a_poison_job_ends_as_crashed_and_its_neighbours_are_not_charged(
    queue: DatabaseBackend, proof: Path
) -> None:
    good = [Jobs.push("trial.noop") for _ in range(20)]
    poison = Jobs.define("trial.die", {"path": str(proof)}).backoff("none").dispatch()
    good += [Jobs.push("trial.noop") for _ in range(20)]
    deaths, deadline = 0, time.monotonic() + 90
    while live(queue):  # started again and again, as a service manager would
        assert time.monotonic() < deadline, f"after {deaths} deaths: {counts(queue)}"
        with worker(queue, "default", "--isolation", "inline", **SHORT_LEASE) as w:
            wait_until(lambda: w.process.poll() is not None or not live(queue), "the worker to die")
            deaths += w.process.poll() == -signal.SIGKILL
    record = poison.refresh()
    assert (record.state, record.reason, record.crashes) == ("failed", "crashed", 3)
    # At the first death the store can't tell who was to blame. At the second the job was alone: both are charged.
    assert deaths == len(lines(proof)) == 3
    assert [entry["outcome"] for entry in record.attempts] == ["lost"] * 3
    assert {(r.refresh().state, r.refresh().attempt, r.refresh().crashes) for r in good} == {("completed", 1, 0)}


@pytest.mark.quick_on("postgresql")
def test_three_hundred_jobs_of_a_coordinator_that_is_killed_three_times_are_not_failed(
    queue: DatabaseBackend, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with start(queue, "8") as first:
        for _ in range(30):  # one by one, so that the pool learns how quick they are: it may take many at once
            Jobs.push("trial.noop")
            wait_finished(queue)
        for pid in first.children():
            os.kill(pid, signal.SIGSTOP)  # what is claimed now stays in its hands
        refs = Jobs.dispatch_many([Jobs.define("trial.gate", {"gate": str(gate)}) for _ in range(300)])
        wait_until(lambda: counts(queue)["running"] == 300, "the coordinator to have claimed all")
        first.kill()
    for _ in range(2):
        with start(queue, "2") as another:
            wait_until(lambda: holds(queue, another), "a suspect job to run")
            another.kill()
    gate.touch()
    with start(queue, "2") as last:
        wait_finished(queue)
        assert last.stop() == 0, last.text
    where = places(queue)
    assert {where[str(ref)] for ref in refs} == {"completed"}
    # The last two deaths are charged, each to the one job that ran then, and with it the first. They differ.
    assert sorted((r.refresh().crashes for r in refs), reverse=True)[:3] == [2, 2, 0]


def start(queue: DatabaseBackend, children: str) -> WorkerProcess:
    return WorkerProcess(queue.database, "default", "--max-workers", children, "--show", "quiet", **SHORT_LEASE)
