"""Output that nobody reads: a command ends quietly, a worker goes on, and no job fails for it."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from django_jobs import Jobs
from django_jobs.backends import WorkerInfo
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import ScheduleTick
from tests.support.schedule import QUEUED
from tests.support.site import site_env
from tests.support.waiting import wait_until
from tests.support.worker import ISOLATIONS, ROOT, WorkerProcess, lines, registered, wait_finished


@pytest.fixture
def database() -> str:
    """What is printed where does not depend on the store."""
    return "default"


def printed_to_nobody(store: DatabaseBackend, *arguments: str, buffered: bool, errors_too: bool = False) -> Any:
    """A command whose standard output nobody reads."""
    near, far = os.pipe()
    os.close(near)
    try:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**site_env(store.database), "PYTHONUNBUFFERED": "" if buffered else "1"},
            stdout=far,
            stderr=far if errors_too else subprocess.PIPE,
            text=True,
            timeout=60,
        )
    finally:
        os.close(far)


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("command", ["jobs_stats", "jobs_stats --json", "jobs_cronjob_list", "jobs_work --help"])
def test_a_command_that_nobody_reads_ends_quietly(store: DatabaseBackend, command: str, buffered: bool) -> None:
    ran = printed_to_nobody(store, *command.split(), buffered=buffered)
    assert (ran.returncode, ran.stderr) in [(141, ""), (0, "")]


def test_a_command_whose_errors_nobody_reads_keeps_its_exit_code(store: DatabaseBackend) -> None:
    ran = printed_to_nobody(store, "jobs_stats", "--queue", "none-such", buffered=True, errors_too=True)
    assert ran.returncode in (1, 141)


def test_a_command_that_goes_on_for_ever_ends_when_nobody_reads_it(queue: DatabaseBackend) -> None:
    """Once it has something to say."""
    Jobs.push("trial.noop")
    queue.register(WorkerInfo(lost := str(uuid.uuid4()), "host.test", 4711, ["default"]), 3600)
    assert queue.claim("default", lost, 1)
    queue.deregister(lost)
    ran = printed_to_nobody(queue, "jobs_reap", "--loop", "0.05", buffered=True)
    assert ran.returncode == 141
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-"])
def test_a_command_without_standard_streams_does_its_work(queue: DatabaseBackend, closed: str) -> None:
    command = [sys.executable, "manage.py", "jobs_dispatch", "trial.noop"]
    ran = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command],
        cwd=ROOT,
        env=site_env(queue.database),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_question_without_a_standard_input_is_a_usage_error(queue: DatabaseBackend) -> None:
    ran = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "manage.py", "jobs_delete", "--queue", "default"],
        cwd=ROOT,
        env=site_env(queue.database),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, "Traceback" in ran.stderr) == (2, False)


SHOWN = [*((each, "lines") for each in (*ISOLATIONS, "crew")), ("pool", "json"), ("pool", "quiet")]


@pytest.mark.parametrize(("isolation", "show"), SHOWN)
def test_a_worker_that_nobody_reads_goes_on_and_its_jobs_may_print(
    queue: DatabaseBackend, proof: Path, isolation: str, show: str
) -> None:
    """And start programs that do: of a reader that is gone, each job's process knows."""
    how = {"concurrency": 2} if isolation == "crew" else {"isolation": isolation}
    settings = {"JOBS_QUEUES": {"default": {"max_workers": 1, **how}}}
    arguments = ("default", "--show", show, "-v2")
    with WorkerProcess(queue.database, *arguments, stdout=subprocess.PIPE, **settings) as w:
        assert w.process.stdout is not None
        Jobs.push("trial.loud", "first")
        assert w.process.stdout.read(1) if show != "quiet" else True
        w.process.stdout.close()
        loud = [Jobs.push("trial.loud", "x" * 20_000) for _ in range(3)]
        loud += [Jobs.push("trial.echo", ["sh", "-c", f"echo loud; echo more; echo > {proof}"]) for _ in range(2)]
        wait_finished(queue)
        assert w.stop() == 0
    assert {ref.refresh().state for ref in loud} == {"completed"}
    assert lines(proof)


def test_a_worker_whose_disk_is_full_goes_on_and_its_jobs_may_print(queue: DatabaseBackend) -> None:
    with open("/dev/full", "w") as full, WorkerProcess(queue.database, stdout=full.fileno()) as w:
        loud = [Jobs.push("trial.loud", "x" * 20_000) for _ in range(3)]
        wait_finished(queue)
        assert w.stop() == 0
    assert {ref.refresh().state for ref in loud} == {"completed"}


@pytest.mark.parametrize("show", ["lines", "json"])
def test_a_reader_that_stops_reading_keeps_no_worker_waiting(queue: DatabaseBackend, show: str) -> None:
    """As behind Ctrl-S, or a pager: else its lease would be over before long, and its jobs be others'."""
    with WorkerProcess(queue.database, "default", "--show", show, stdout=subprocess.PIPE) as w:
        assert w.process.stdout is not None
        for _ in range(4):
            Jobs.push_many("trial.noop", [None] * 1000)
        wait_finished(queue)
        Jobs.push("trial.noop")
        wait_finished(queue)
        assert len(registered(queue)) == 1, "it was taken for lost"
        reader = ThreadPoolExecutor(1).submit(w.process.stdout.read)
        assert w.stop() == 0
        read = reader.result(30).decode()
    assert read.count("acked") == 4001, "what was held is told once somebody reads again"
    assert read.splitlines()[-1].endswith("graceful shutdown complete." if show == "lines" else '"settled": 4001}')


def test_a_reader_that_stops_reading_keeps_no_schedule_waiting(queue: DatabaseBackend) -> None:
    """Nor from hearing of a stop."""
    near, far = os.pipe()
    try:
        fill(far)
        with WorkerProcess(queue.database, command="jobs_cronjob_work", stdout=far, JOBS_SCHEDULE=QUEUED) as loop:
            wait_until(lambda: ScheduleTick.objects.using(queue.database).count() > 3, "some ticks")
            assert loop.stop() == 0
    finally:
        os.close(near)
        os.close(far)


def fill(pipe: int) -> None:
    """Write into a pipe until nothing fits any more."""
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError):
        while True:
            os.write(pipe, b"x" * 4096)
    os.set_blocking(pipe, True)


def test_a_worker_whose_reader_never_reads_again_ends_all_the_same(queue: DatabaseBackend) -> None:
    with WorkerProcess(queue.database, "default", stdout=subprocess.PIPE) as w:
        for _ in range(4):
            Jobs.push_many("trial.noop", [None] * 1000)
        wait_finished(queue)
        assert w.stop() == 0
