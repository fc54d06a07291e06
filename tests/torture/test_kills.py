"""kill -9, again and again: each job ends in exactly one table, once."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import CompletedJob, FailedJob, JobEvent
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess, children_of, lines, live, places, registered

STORM = {"JOBS_LEASE_SECONDS": 1.2, "JOBS_HEARTBEAT_INTERVAL": 0.3, "JOBS_REAP_INTERVAL": 0.3}


def start(queue: DatabaseBackend) -> WorkerProcess:
    return WorkerProcess(queue.database, "default", "--max-workers", "2", "--show", "quiet", **STORM)


def storm(queue: DatabaseBackend, proof: Path, jobs: int, seconds: float, seed: int) -> Counter[str]:
    """Two workers; a random child, template or coordinator of theirs is killed again and again until every job is
    done.
    """
    rng = random.Random(seed)
    refs = Jobs.dispatch_many(
        [Jobs.define("trial.write", {"path": str(proof), "seconds": 0.005}).backoff("none") for _ in range(jobs)]
    )
    workers = [start(queue), start(queue)]
    kills: Counter[str] = Counter()
    deadline = time.monotonic() + seconds
    try:
        while live(queue):
            assert time.monotonic() < deadline, f"not done after {seconds} s, {live(queue)} jobs live, kills {kills}"
            index = rng.randrange(len(workers))
            victim = workers[index]
            seen = len(lines(proof))
            kind = rng.choices(["child", "coordinator", "template"], [6, 3, 1])[0]
            if kills.total() < jobs / 10:
                templates = children_of(victim.pid)
                children = [pid for template in templates for pid in children_of(template)]
                target = {"child": children, "coordinator": [victim.pid], "template": templates}[kind]
                if target:
                    os.kill(rng.choice(target), signal.SIGKILL)
                    kills[kind] += 1
            if victim.process.poll() is not None or kind == "coordinator":
                victim.end()
                workers[index] = start(queue)
            wait_until(lambda: len(lines(proof)) > seen or not live(queue), "work to go on", 30)  # noqa: B023
        for w in workers:
            wait_until(lambda: w.pid in {row.pid for row in registered(queue)}, "the worker to be up")  # noqa: B023
            assert w.stop() == 0, w.text
    finally:
        for w in workers:
            w.end()
    done = places(queue)
    assert set(done) == {str(ref) for ref in refs}
    assert set(done.values()) <= {"completed", "failed"}
    runs = Counter(line.split()[0] for line in lines(proof))
    finished = {str(r.id): r for r in CompletedJob.objects.using(queue.database).all()}
    assert all(runs[job_id] >= 1 for job_id in finished), "a job is recorded as done that never ran to its end"
    for row in finished.values():
        assert row.attempt == 1  # no death was charged to an attempt
        assert row.claim_no >= 1
    assert {f.reason for f in FailedJob.objects.using(queue.database).all()} <= {"crashed"}
    # Once: a claim that was settled is the last of its job; every run beyond it was given back or lost before.
    reaped = JobEvent.objects.using(queue.database).filter(type="reaped").count()
    print(f"{queue.database}: kills {dict(kills)}, runs {runs.total()}, failed {jobs - len(finished)}, reaped {reaped}")
    return kills


def test_a_short_storm_of_kills_loses_nothing_and_finishes_nothing_twice(queue: DatabaseBackend, proof: Path) -> None:
    kills = storm(queue, proof, jobs=150, seconds=120, seed=1)
    assert kills.total() >= 5


@pytest.mark.torture
@pytest.mark.parametrize("seed", [11, 12])
def test_a_storm_of_kills_over_1000_jobs(queue: DatabaseBackend, proof: Path, seed: int) -> None:
    kills = storm(queue, proof, jobs=1000, seconds=400, seed=seed)
    assert kills["child"] >= 30
    assert kills["coordinator"] >= 10
