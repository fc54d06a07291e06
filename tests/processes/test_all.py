"""`jobs_work --all`: a worker for each queue under one parent."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import Job, Worker
from tests.support.lives import family_of, runs
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess, children_of, lines, registered, wait_finished, worker

QUEUES: dict[str, Any] = {"default": {"max_workers": 1}, "mail": {"max_workers": 2}}
sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # what these test is no matter of the store


def by_queue(queue: DatabaseBackend, n: int = 2) -> dict[str, Worker]:
    """The workers that are registered, by what they serve, once there are `n`."""
    rows = wait_until(lambda: rows if len(rows := registered(queue)) == n else [], f"{n} workers")
    return {row.queues: row for row in rows}


def test_each_queue_has_its_own_worker_and_options(queue: DatabaseBackend, proof: Path) -> None:
    refs = [
        Jobs.push("trial.write", {"path": str(proof)}, queue=name) for name in ("default", "mail") for _ in range(3)
    ]
    with worker(queue, "--all", JOBS_QUEUES=QUEUES) as w:
        wait_finished(queue)
        rows = by_queue(queue)
        assert {name: row.children for name, row in rows.items()} == {"default": 1, "mail": 2}
        assert {row.pid for row in rows.values()} == set(children_of(w.pid))
        below = family_of(w.pid)
        assert w.stop() == 0, w.text
    assert {ref.refresh().state for ref in refs} == {"completed"}
    assert not any(map(runs, below))
    assert registered(queue) == []
    assert w.text.count("graceful shutdown complete") == 2


@sqlite
def test_a_worker_that_dies_is_replaced_and_its_neighbour_goes_on(queue: DatabaseBackend, proof: Path) -> None:
    with worker(queue, "--all", JOBS_QUEUES=QUEUES) as w:
        rows = by_queue(queue)
        for _ in range(2):
            victim = next(row for row in registered(queue) if row.queues == "mail" and runs(row.pid))
            os.kill(victim.pid, signal.SIGKILL)
            fresh = {row.pid for row in Worker.objects.using(queue.database).all()}
            wait_until(
                lambda: {r.pid for r in registered(queue) if r.queues == "mail" and runs(r.pid)} - fresh,  # noqa: B023
                "another worker for the queue",
            )
        ref = Jobs.push("trial.write", {"path": str(proof)}, queue="mail")
        wait_until(lambda: ref.refresh().is_finished, "a job of the queue")
        assert rows["default"].pid in {row.pid for row in registered(queue)}
        assert runs(rows["default"].pid)
        assert w.stop() == 0, w.text
    assert "the worker of the queue 'mail' was not to end (killed by SIGKILL)" in w.text


@sqlite
def test_a_worker_that_is_told_to_stop_alone_is_followed_by_another(queue: DatabaseBackend, proof: Path) -> None:
    """The parent was not told anything: it keeps a worker at each queue."""
    running = Jobs.push("trial.sleep", {"seconds": 0.5, "path": str(proof)}, queue="mail")
    with worker(queue, "--all", JOBS_QUEUES=QUEUES) as w:
        rows = by_queue(queue)
        wait_until(lambda: lines(proof), "the job to start")
        os.kill(rows["mail"].pid, signal.SIGTERM)
        wait_until(lambda: by_queue(queue)["mail"].id != rows["mail"].id, "another worker for the queue")
        assert (running.refresh().state, running.refresh().claim_no) == ("completed", 1), "it was not to be cut short"
        ref = Jobs.push("trial.write", {"path": str(proof)}, queue="mail")
        wait_until(lambda: ref.refresh().is_finished, "a job of the queue")
        assert by_queue(queue)["default"].id == rows["default"].id
        assert w.stop() == 0, w.text
    assert "was not to end" not in w.text


@sqlite
def test_nothing_outlives_a_killed_supervisor_and_nothing_is_charged(queue: DatabaseBackend, proof: Path) -> None:
    refs = [Jobs.push("trial.sleep", {"seconds": 60, "path": str(proof)}, queue=name) for name in ("default", "mail")]
    with worker(queue, "--all", JOBS_QUEUES=QUEUES, JOBS_SHUTDOWN_TIMEOUT=0.5) as w:
        wait_until(lambda: len(lines(proof)) == 2, "the jobs to start")
        below = family_of(w.pid)
        assert len(below) == 2 + 2 + 3
        w.kill()
        wait_until(lambda: not any(map(runs, below)), "every process to end", 20)
    assert {(r.refresh().state, r.refresh().attempt, r.refresh().crashes) for r in refs} == {("pending", 0, 0)}
    assert registered(queue) == [], "they have stopped, and were not lost"


@sqlite
def test_what_runs_may_finish_and_a_second_signal_shortens(queue: DatabaseBackend, proof: Path) -> None:
    short = Jobs.push("trial.sleep", {"seconds": 1.0, "path": str(proof)})
    long = Jobs.push("trial.sleep", {"seconds": 60, "path": str(proof)}, queue="mail")
    with worker(queue, "--all", JOBS_QUEUES=QUEUES, JOBS_SHUTDOWN_TIMEOUT=60) as w:
        wait_until(lambda: len(lines(proof)) == 2, "the jobs to start")
        w.signal(signal.SIGINT)
        wait_until(lambda: short.refresh().is_finished, "the short one to finish")
        w.signal(signal.SIGINT)
        assert w.wait(20) == 0, w.text
    assert (short.refresh().state, long.refresh().state) == ("completed", "pending")


@sqlite
def test_a_reload_brings_all_of_them_back_under_the_same_parent(queue: DatabaseBackend, proof: Path) -> None:
    with worker(queue, "--all", JOBS_QUEUES=QUEUES) as w:
        before = {row.id for row in by_queue(queue).values()}
        w.signal(signal.SIGHUP)
        wait_until(lambda: len({r.id for r in registered(queue)} - before) == 2, "the workers to be back")
        assert set(children_of(w.pid)) == {row.pid for row in registered(queue)}
        assert w.stop() == 0, w.text
    assert "Traceback" not in w.text


@sqlite
def test_a_store_that_is_away_delays_no_other_queue(queue: DatabaseBackend, proof: Path) -> None:
    """Nor does a pause: the one queue has a store that answers nobody, the second is paused, the third works on."""
    given = connections[queue.database].settings_dict
    default = {key: given[key] for key in ("ENGINE", "NAME", "OPTIONS")}
    away = {"ENGINE": "django.db.backends.postgresql", "NAME": "x", "HOST": "127.0.0.1", "PORT": 9}
    kind = "django_jobs.backends.database.DatabaseBackend"
    settings = {
        "DATABASES": {"default": default, "away": away},
        "JOBS_BACKENDS": {"default": {"BACKEND": kind}, "far": {"BACKEND": kind, "OPTIONS": {"DATABASE": "away"}}},
        "JOBS_QUEUES": {"lost": {"backend": "far"}, "paused": {}, "default": {"max_workers": 1}},
    }
    queue.set_paused(["paused"], paused=True)
    held = Jobs.push("trial.write", {"path": str(proof)}, queue="paused")
    with worker(queue, "--all", **settings) as w:
        wait_until(lambda: "the store is away" in w.text, "the first worker to find its store away")
        for _ in range(3):
            ref = Jobs.push("trial.write", {"path": str(proof)})
            wait_until(lambda: ref.refresh().is_finished, "a job of the queue that works", 10)  # noqa: B023
        assert held.refresh().state == "pending"
        assert w.stop() == 0, w.text


@sqlite
def test_a_bounded_run_of_all_ends_when_every_one_has_ended(queue: DatabaseBackend, proof: Path) -> None:
    for name in ("default", "mail"):
        Jobs.push("trial.write", {"path": str(proof)}, queue=name)
    with worker(queue, "--all", "--stop-when-empty", JOBS_QUEUES=QUEUES) as w:
        assert w.wait() == 0, w.text
    assert len(lines(proof)) == 2
    with WorkerProcess(queue.database, "--all", "--max-time", "0.5", JOBS_QUEUES=QUEUES) as w:
        assert w.wait() == 0, w.text
    assert not Job.objects.using(queue.database).exists()
