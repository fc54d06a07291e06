"""Programs that workers run end with their job, and what they have started too."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from tests.support.lives import runs
from tests.support.waiting import wait_until
from tests.support.worker import ISOLATIONS, WorkerProcess, lines, one_database_will_do, wait_finished, worker

ALLOWED: dict[str, Any] = {"JOBS_BUILTINS": ["shell"], "JOBS_SHELL_ALLOWED": ["sh"]}
DEAF = "trap '' TERM; sleep 600 & echo $$ > $1; echo $! >> $1; while true; do wait; done"


@pytest.fixture(autouse=True)
def _let_in(settings: Any) -> None:
    for name, value in ALLOWED.items():
        setattr(settings, name, value)


def start(proof: Path, timeout: float | None = None) -> Any:
    return Jobs.define("shell", ["sh", "-c", DEAF, "sh", str(proof)]).timeout(timeout).dispatch()


def pids(proof: Path) -> list[int]:
    """That of the program, and that of what it has started."""
    wait_until(lambda: len(lines(proof)) == 2, "the program to start")
    return [int(line) for line in lines(proof)]


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_at_the_timeout_its_whole_group_is_killed(queue: DatabaseBackend, proof: Path, isolation: str) -> None:
    one_database_will_do(queue, isolation)
    ref = start(proof, timeout=1)
    with worker(queue, "default", "--isolation", isolation, "--stop-when-empty", **ALLOWED, JOBS_KILL_GRACE=5) as w:
        assert w.wait() == 0, w.text
        wait_until(lambda: not any(map(runs, pids(proof))), "its processes to end")
    assert ref.refresh().reason == "timed_out"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("concurrency", [1, 4])
def test_at_a_cancel_too_also_beside_other_jobs(queue: DatabaseBackend, proof: Path, concurrency: int) -> None:
    ref, queues = start(proof), {"default": {"max_workers": 1, "concurrency": concurrency}}
    with worker(queue, "default", **ALLOWED, JOBS_QUEUES=queues, JOBS_KILL_GRACE=5) as w:
        family = pids(proof)
        ref.cancel()
        wait_until(lambda: not any(map(runs, family)), "its processes to end")
        wait_finished(queue)
        assert w.stop() == 0, w.text
    assert ref.refresh().state == "cancelled"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_with_a_killed_worker_too(queue: DatabaseBackend, proof: Path) -> None:
    start(proof)
    with worker(queue, "default", **ALLOWED) as w:
        family = pids(proof)
        w.signal(signal.SIGKILL)
        wait_until(lambda: not any(map(runs, family)), "its processes to end")


def schedule_of(proof: Path) -> dict[str, Any]:
    entry = {"shell": ["sh", "-c", DEAF, "sh", str(proof)], "cron": "* * * * * *", "seconds": True}
    return {**ALLOWED, "JOBS_SCHEDULE": {"deaf": {**entry, "single_instance": True, "max_attempts": 1}}}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_with_a_scheduler_that_waits_no_longer_for_it(queue: DatabaseBackend, proof: Path) -> None:
    settings = {**schedule_of(proof), "JOBS_SHUTDOWN_TIMEOUT": 0.5}
    with WorkerProcess(queue.database, command="jobs_cronjob_work", **settings) as loop:
        family = pids(proof)
        assert loop.stop() == 0, loop.text
        assert not any(map(runs, family))
    assert "that still runs deaf" in loop.text
