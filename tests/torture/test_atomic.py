"""kill -9 at every moment of atomic jobs: each has its effect once, not twice and not never."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter

import pytest

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import CompletedJob, JobEvent
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess, children_of, live, places, registered

JOBS = 1000
KILLS = 500
STORM = {
    "JOBS_LEASE_SECONDS": 1.2,
    "JOBS_HEARTBEAT_INTERVAL": 0.3,
    "JOBS_REAP_INTERVAL": 0.3,
    "JOBS_MAX_CRASHES": 100,
    "JOBS_MESSAGE_JOBS": 1,
}


def start(queue: DatabaseBackend) -> WorkerProcess:
    return WorkerProcess(queue.database, "default", "--max-workers", "2", "--show", "quiet", **STORM)


@pytest.mark.torture
def test_500_kills_over_1000_jobs_leave_1000_rows(queue: DatabaseBackend) -> None:
    """Children above all, at any moment of a job that takes some milliseconds; now and then a whole worker."""
    rng = random.Random(5)
    effects = JobEvent.objects.using(queue.database).filter(type="effect")
    # As many jobs at once as there are kills left for, so that none is done before all kills have been made.
    refs = [Jobs.define("trial.atomic", {"then": "doze"}).backoff("none").dispatch() for _ in range(JOBS)]
    workers = [start(queue), start(queue)]
    kills: Counter[str] = Counter()
    seen = 0
    try:
        while live(queue):
            if kills.total() < KILLS and effects.count() >= seen:
                seen += 1
                index = rng.randrange(len(workers))
                victim = workers[index]
                kind = rng.choices(["child", "coordinator"], [50, 1])[0]
                children = [pid for template in children_of(victim.pid) for pid in children_of(template)]
                if kind == "child" and children:
                    os.kill(rng.choice(children), signal.SIGKILL)
                    kills[kind] += 1
                elif kind == "coordinator":
                    kills[kind] += 1
                    victim.end()
                    workers[index] = start(queue)
            wait_until(lambda: effects.count() > seen or not live(queue), "work to go on", 60, every=0.003)  # noqa: B023
        for w in workers:
            wait_until(lambda: w.pid in {row.pid for row in registered(queue)}, "the worker to be up")  # noqa: B023
            assert w.stop() == 0, w.text
    finally:
        for w in workers:
            w.end()
    crashes = sum(CompletedJob.objects.using(queue.database).values_list("crashes", flat=True))
    print(f"{queue.database}: kills {dict(kills)}, of which {crashes} met a running job before its commit")
    assert kills.total() == KILLS
    assert crashes > KILLS / 10, "hardly a kill met a job"
    assert set(places(queue).values()) == {"completed"}
    written = Counter(str(row.job_id) for row in effects)
    assert len(written) == JOBS
    assert set(written) == {str(ref) for ref in refs}
    assert written.total() == JOBS
