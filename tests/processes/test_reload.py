"""SIGHUP: the worker drains, and starts anew in the same process."""

from __future__ import annotations

import os
import pty
import signal
from pathlib import Path

import pytest
from django.test import override_settings

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import Worker
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess, counts, lines, registered, wait_finished, worker

HANDLER = """
from django_jobs import JobHandler

class Fresh(JobHandler):
    def handle(self, ctx):
        with open(ctx.payload["path"], "a") as file:
            file.write("{version}\\n")
"""


def anew(queue: DatabaseBackend, before: set[str]) -> bool:
    """Whether a worker that was not there before is registered."""
    return any(str(row.id) not in before for row in registered(queue))


def test_it_drains_and_runs_what_is_on_disk_now_under_the_same_pid(
    queue: DatabaseBackend, proof: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "fresh_jobs.py"
    module.write_text(HANDLER.format(version="old"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # two versions of one second and size look alike in the cache
    jobs = {"fresh": "fresh_jobs.Fresh"}
    monkeypatch.syspath_prepend(str(tmp_path))
    with override_settings(JOBS=jobs), worker(queue, "default", "--max-workers", "1", JOBS=jobs) as w:
        first = Jobs.push("fresh", {"path": str(proof)})
        wait_until(lambda: first.refresh().is_finished, "the first job")
        before = {str(row.id) for row in registered(queue)}
        running = Jobs.push("trial.sleep", {"seconds": 1.0, "path": str(proof)})
        wait_until(lambda: len(lines(proof)) == 2, "a job to run")
        module.write_text(HANDLER.format(version="new"))
        w.signal(signal.SIGHUP)
        second = Jobs.push("fresh", {"path": str(proof)})
        wait_until(lambda: second.refresh().is_finished, "the second job")
        assert (running.refresh().state, running.refresh().claim_no) == ("completed", 1)
        assert [lines(proof)[0], lines(proof)[-1]] == ["old", "new"]
        assert anew(queue, before)
        assert {row.pid for row in registered(queue)} == {w.pid}
        assert set(Worker.objects.using(queue.database).values_list("state", flat=True)) == {"stopped", "running"}
        assert w.stop() == 0, w.text
    assert "Traceback" not in w.text


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # signals are the same everywhere
@pytest.mark.parametrize("numbers", [(signal.SIGHUP, signal.SIGTERM), (signal.SIGTERM, signal.SIGHUP)])
def test_a_stop_wins_over_a_reload_and_shortens_nothing(
    queue: DatabaseBackend, proof: Path, numbers: tuple[signal.Signals, ...]
) -> None:
    ref = Jobs.push("trial.sleep", {"seconds": 1.5, "path": str(proof)})
    with worker(queue, "default", "--max-workers", "1") as w:
        wait_until(lambda: lines(proof), "the job to start")
        for number in numbers:
            w.signal(number)
        assert w.wait() == 0, w.text
    assert ref.refresh().state == "completed"
    assert w.text.count("processing queue") == 1


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # signals are the same everywhere
def test_a_second_reload_does_not_shorten_the_first(queue: DatabaseBackend, proof: Path) -> None:
    ref = Jobs.push("trial.sleep", {"seconds": 1.5, "path": str(proof)})
    with worker(queue, "default", "--max-workers", "1") as w:
        wait_until(lambda: lines(proof), "the job to start")
        for _ in range(3):
            w.signal(signal.SIGHUP)
        wait_finished(queue)
        wait_until(lambda: w.text.count("processing queue") >= 2, "the worker to be back")
        assert w.stop() == 0, w.text
    assert (ref.refresh().state, ref.refresh().claim_no) == ("completed", 1)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # signals are the same everywhere
def test_a_terminal_that_is_closed_ends_the_worker(queue: DatabaseBackend) -> None:
    near, far = pty.openpty()
    with WorkerProcess(queue.database, "default", "--max-workers", "1", stdin=far) as w:
        os.close(far)
        wait_until(lambda: registered(queue), "the worker to register")
        os.close(near)
        w.signal(signal.SIGHUP)  # as the system sends it to a session whose terminal is gone
        assert w.wait() == 0, w.text
    assert counts(queue) == {}
    assert w.text.count("processing queue") == 1
