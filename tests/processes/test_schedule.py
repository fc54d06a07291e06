"""What runs the schedule, as real processes: the system's cron, the loop, and beside a worker."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.models import Max

from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import CompletedJob, Job, ScheduleTick
from tests.support.proxy import FaultProxy
from tests.support.schedule import MIXED, QUEUED
from tests.support.site import site_env
from tests.support.waiting import wait_until
from tests.support.worker import QUICK, ROOT, WorkerProcess, children_of, lines, registered


def cron(store: DatabaseBackend, *arguments: str, **settings: Any) -> WorkerProcess:
    """`jobs_cronjob_work`, or another command of the schedule."""
    return WorkerProcess(store.database, *arguments, command="jobs_cronjob_work", **settings)


def ticks(store: DatabaseBackend, name: str, state: str | None = None) -> int:
    rows = ScheduleTick.objects.using(store.database).filter(name=name)
    return (rows.filter(state=state) if state else rows).count()


def test_the_systems_cron_runs_what_is_due(queue: DatabaseBackend) -> None:
    def run() -> Any:
        env = {**site_env(queue.database), "TESTPROJECT_SETTINGS": json.dumps({**QUICK, "JOBS_SCHEDULE": QUEUED})}
        command = [sys.executable, "manage.py", "jobs_cronjob_run", "--json"]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert run()["new"] == ["tick"]
    dispatched = wait_until(lambda: run()["ticks"], "a second to pass")
    assert {tick["state"] for tick in dispatched} == {"dispatched"}
    assert Job.objects.using(queue.database).count() == len(dispatched)


@pytest.mark.quick_on("sqlite")
def test_the_loop_dispatches_to_the_second_and_ends_when_it_is_told_to(queue: DatabaseBackend) -> None:
    with cron(queue, JOBS_SCHEDULE=QUEUED) as loop:
        wait_until(lambda: ticks(queue, "tick") >= 3, "three ticks")
        assert loop.stop() == 0, loop.text
    instants = [t.instant for t in ScheduleTick.objects.using(queue.database).order_by("instant")]
    assert {(b - a).total_seconds() for a, b in pairwise(instants)} == {1.0}
    late = [(t.decided_at - t.instant).total_seconds() for t in ScheduleTick.objects.using(queue.database).all()]
    assert all(seconds >= 0 for seconds in late)
    assert "dispatched tick, due " in loop.text


def test_the_loop_says_what_to_do_when_the_tables_are_missing(tmp_path: Path) -> None:
    env = {**os.environ, "TESTPROJECT_DATABASE": "sqlite", "TESTPROJECT_ALL_DATABASES": "0", "TESTPROJECT_NAME": "bare"}
    env["TESTPROJECT_VAR"] = str(tmp_path)
    command = [sys.executable, "manage.py", "jobs_cronjob_work"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "manage.py migrate" in done.stderr


@pytest.mark.quick_on("sqlite")
def test_a_slow_inline_entry_delays_no_other(queue: DatabaseBackend, proof: Path) -> None:
    """Inline entries run in processes of their own; a guard keeps the slow one from overlapping itself."""
    with cron(queue, environment={"SCHEDULE_PROOF": str(proof)}, JOBS_SCHEDULE=MIXED) as loop:
        wait_until(lambda: ticks(queue, "slow", "running") and len(lines(proof)) >= 3, "inline runs beside a slow one")
        wait_until(lambda: ticks(queue, "tick") >= 3, "jobs beside a slow inline run")
        wait_until(lambda: ticks(queue, "slow", "skipped") >= 2, "ticks that would overlap")
        assert ticks(queue, "slow", "running") == 1
        Path(f"{proof}.gate").touch()
        wait_until(lambda: ticks(queue, "slow", "succeeded") >= 1, "the end of the slow run")
        assert loop.stop() == 0, loop.text
        assert ticks(queue, "here", "running") == ticks(queue, "slow", "running") == 0
    recorded = Counter(CompletedJob.objects.using(queue.database).values_list("name", flat=True))
    assert recorded["here"] == len(lines(proof)) == ticks(queue, "here", "succeeded")


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)  # it does not matter which
def test_the_loop_goes_on_where_nobody_reads_of_it_any_more(queue: DatabaseBackend, proof: Path) -> None:
    env = {**site_env(queue.database), "TESTPROJECT_SETTINGS": json.dumps({**QUICK, "JOBS_SCHEDULE": MIXED})}
    env |= {"PYTHONUNBUFFERED": "1", "SCHEDULE_PROOF": str(proof)}
    command = [sys.executable, "manage.py", "jobs_cronjob_work"]
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as loop:
        assert loop.stdout is not None
        assert loop.stderr is not None
        try:
            while not loop.stdout.readline().startswith("ran here, due "):
                assert loop.poll() is None
            loop.stdout.close()
            before = len(lines(proof))
            wait_until(lambda: len(lines(proof)) > before + 3, "further inline runs")
            wait_until(lambda: ticks(queue, "tick") > before + 3, "further jobs")
            Path(f"{proof}.gate").touch()
            loop.send_signal(signal.SIGTERM)
            said = loop.stderr.read()
            assert loop.wait(60) == 0
        finally:
            loop.kill()
    assert "Broken pipe" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)  # it does not matter which
def test_a_loop_that_is_killed_takes_its_runs_along_and_they_are_lost(queue: DatabaseBackend, proof: Path) -> None:
    settings = {"JOBS_SCHEDULE": MIXED, "JOBS_HEARTBEAT_INTERVAL": 0.3, "JOBS_LEASE_SECONDS": 1}
    with cron(queue, environment={"SCHEDULE_PROOF": str(proof)}, **settings) as loop:
        wait_until(lambda: ticks(queue, "slow", "running"), "the slow run")
        (child,) = wait_until(lambda: [p for p in children_of(loop.pid) if os.path.exists(f"/proc/{p}")][:1], "a child")
        loop.kill()
        wait_until(lambda: not os.path.exists(f"/proc/{child}"), "the child to die with it")
    with cron(queue, environment={"SCHEDULE_PROOF": str(proof)}, **settings) as loop:
        wait_until(lambda: ticks(queue, "slow", "failed") == 1, "the lost run to be found")
        Path(f"{proof}.gate").touch()
        assert loop.stop() == 0, loop.text
    lost = ScheduleTick.objects.using(queue.database).get(name="slow", state="failed")
    assert (lost.reason, lost.guard) == ("lost", None)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)  # it does not matter which
def test_a_worker_runs_the_schedule_beside_it(queue: DatabaseBackend) -> None:
    arguments = ("default", "--with-scheduler", "--max-workers", "1")
    with WorkerProcess(queue.database, *arguments, JOBS_SCHEDULE=QUEUED) as worker:
        wait_until(lambda: ticks(queue, "tick", "succeeded") >= 2, "ticks that have succeeded")
        assert worker.stop() == 0, worker.text
    assert "graceful shutdown complete" in worker.text
    last = ScheduleTick.objects.using(queue.database).aggregate(last=Max("instant"))["last"]
    assert not scheduler_of(worker.pid), "the scheduler has outlived its worker"
    assert last is not None


def scheduler_of(pid: int) -> list[str]:
    """Command lines of schedulers that belong to a worker."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if "jobs_cronjob_work" in words and words[-3:-1] == ["--parent", str(pid)]:
                found.append(entry.name)
    return found


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # it does not matter which
def test_a_scheduler_beside_a_worker_is_started_again_and_dies_with_it(queue: DatabaseBackend) -> None:
    arguments = ("default", "--with-scheduler", "--max-workers", "1")
    with WorkerProcess(queue.database, *arguments, JOBS_SCHEDULE=QUEUED) as worker:
        wait_until(lambda: ticks(queue, "tick"), "a tick")
        (pid,) = scheduler_of(worker.pid)
        os.kill(int(pid), signal.SIGKILL)
        wait_until(lambda: [p for p in scheduler_of(worker.pid) if p != pid], "another one")
        before = ticks(queue, "tick")
        wait_until(lambda: ticks(queue, "tick") > before + 1, "further ticks")
        assert registered(queue), "the worker lives on"
        worker.kill()
        wait_until(lambda: not scheduler_of(worker.pid), "the scheduler to end")


@pytest.mark.quick_on("postgresql")
@pytest.mark.parametrize("database", ["postgresql", "mysql"], indirect=True)
def test_connections_that_are_cut_delay_ticks_and_lose_none(queue: DatabaseBackend) -> None:
    rng, port = random.Random(1), int(connections[queue.database].settings_dict["PORT"])
    with FaultProxy(port) as proxy, cron(queue, port=proxy.port, JOBS_SCHEDULE=QUEUED) as loop:
        for n in range(4):
            wait_until(lambda: ticks(queue, "tick") > n, "another tick")  # noqa: B023
            proxy.cut_one(rng)
        wait_until(lambda: ticks(queue, "tick") > 5, "further ticks")
        assert loop.stop() == 0, loop.text
    assert proxy.cuts >= 4
    instants = sorted(t.instant for t in ScheduleTick.objects.using(queue.database).filter(state="dispatched"))
    assert {(b - a).total_seconds() for a, b in pairwise(instants)} == {1.0}
    assert Job.objects.using(queue.database).count() == len(instants)
