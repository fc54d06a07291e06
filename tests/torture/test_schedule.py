"""Three schedulers on one database, some killed, stopped and woken, one an hour ahead: each tick once."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.db.models import Max, Min

from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import Job, ScheduleTick
from tests.support.services import missing
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess

ENTRIES = 3
CROWD = "tests.support.schedule.crowd"


def scheduler(queue: DatabaseBackend, **environment: str) -> WorkerProcess:
    """`jobs_cronjob_work`, as one of many."""
    return WorkerProcess(
        queue.database,
        *("--verbosity", "0"),
        command="jobs_cronjob_work",
        environment={"TESTPROJECT_LOG": "INFO", **environment},
        JOBS_SCHEDULE=CROWD,
        JOBS_SCHEDULE_CATCH_UP_LIMIT=10_000,
    )


def an_hour_ahead(queue: DatabaseBackend) -> WorkerProcess:
    """Its host's clock is. The monotonic clock is nobody's to change. The library alone: the command `faketime` runs
    what it is given in a child, which our signals would not reach.
    """
    library = next(iter(sorted(Path("/usr/lib").glob("**/faketime/libfaketimeMT.so.1"))), None)
    if library is None:
        missing("libfaketime", "not installed")
    return scheduler(queue, LD_PRELOAD=str(library), FAKETIME="+1h", FAKETIME_DONT_FAKE_MONOTONIC="1")


def instants(queue: DatabaseBackend, name: str) -> list[Any]:
    rows = ScheduleTick.objects.using(queue.database).filter(name=name).order_by("instant")
    return list(rows.values_list("instant", flat=True))


def storm(queue: DatabaseBackend, seconds: float, seed: int) -> None:
    """Kill, stop and wake schedulers for so long; then compare the ticks with the seconds that have passed."""
    rng = random.Random(seed)
    crowd = [scheduler(queue), scheduler(queue), an_hour_ahead(queue)]
    done: Counter[str] = Counter()
    rows = ScheduleTick.objects.using(queue.database)
    try:
        wait_until(lambda: rows.count() >= ENTRIES, "the first ticks", 60)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            victim = rng.randrange(2)
            kind = rng.choice(["kill", "stop"])
            if kind == "kill":
                crowd[victim].kill()
                crowd[victim].end()
                pause(rng.uniform(0.0, 1.0))
                crowd[victim] = scheduler(queue)
            else:
                os.kill(crowd[victim].pid, signal.SIGSTOP)
                pause(rng.uniform(0.5, 4.0))
                os.kill(crowd[victim].pid, signal.SIGCONT)
            done[kind] += 1
            pause(rng.uniform(0.5, 2.0))
        seen = rows.aggregate(last=Max("instant"))["last"]
        wait_until(lambda: rows.aggregate(last=Max("instant"))["last"] > seen, "the ticks to go on", 60)
        for process in crowd:
            wait_until(lambda: "STARTED the schedule" in process.text, "it to take signals")  # noqa: B023
            assert process.stop() == 0, process.text[-3000:]
    finally:
        for process in crowd:
            process.end()
    judge(queue, done)


def judge(queue: DatabaseBackend, done: Counter[str]) -> None:
    """Duplicates 0, missed 0: a job for each second of each entry, and a tick for each job."""
    jobs = Counter(
        (job.definition.meta["schedule"], job.definition.meta["due_at"])
        for job in Job.objects.using(queue.database).all()
        if job.definition is not None
    )
    duplicates = [tick for tick, n in jobs.items() if n > 1]
    total, missed = 0, 0
    for n in range(ENTRIES):
        found = instants(queue, f"tick-{n}")
        total += len(found)
        whole = int((found[-1] - found[0]).total_seconds()) + 1
        missed += whole - len(found)
        assert all(b - a == timedelta(seconds=1) for a, b in pairwise(found)), f"a gap in tick-{n}"
        assert {(f"tick-{n}", at.isoformat()) for at in found} <= set(jobs), f"a tick of tick-{n} without its job"
    states = Counter(ScheduleTick.objects.using(queue.database).values_list("state", flat=True))
    rows = ScheduleTick.objects.using(queue.database)
    span = rows.aggregate(first=Min("decided_at"), last=Max("decided_at"))
    print(
        f"{queue.database}: {dict(done)}, ticks {total}, jobs {jobs.total()}, duplicates {len(duplicates)}, "
        f"missed {missed}, states {dict(states)}, decided within {span['last'] - span['first']}"
    )
    assert not duplicates
    assert not missed
    assert jobs.total() == total
    assert set(states) == {"dispatched"}


def pause(seconds: float) -> None:
    """Let the storm have its time: here, nothing is waited for."""
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= until, "time to pass")


@pytest.mark.torture
@pytest.mark.parametrize("seed", [21])
def test_each_tick_once_whatever_becomes_of_schedulers(queue: DatabaseBackend, seed: int) -> None:
    storm(queue, seconds=60, seed=seed)
