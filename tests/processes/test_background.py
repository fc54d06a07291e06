"""`jobs_work --background --pidfile`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from tests.support.lives import runs
from tests.support.site import site_env
from tests.support.waiting import wait_until
from tests.support.worker import QUICK, ROOT, lines, registered

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # it is no matter of the store


def launch(
    queue: DatabaseBackend, *arguments: str, run_by: tuple[str, ...] = (), **settings: Any
) -> subprocess.CompletedProcess[str]:
    """What the terminal sees. It would hang here if the worker kept the terminal's descriptors."""
    env = {**site_env(queue.database), "TESTPROJECT_SETTINGS": json.dumps({**QUICK, **settings})}
    command = [*run_by, sys.executable, "manage.py", "jobs_work", "default", "--max-workers", "1", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def ended(path: Path) -> Iterator[None]:
    """Whatever happens, the worker of this pid file does not outlive the block."""
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            os.kill(int(path.read_text().split()[0]), signal.SIGKILL)


def test_it_works_on_when_its_terminal_has_its_answer(queue: DatabaseBackend, proof: Path, tmp_path: Path) -> None:
    path, log = tmp_path / "worker.pid", tmp_path / "worker.log"
    arguments = ("--background", "--pidfile", str(path), "--logfile", str(log))
    with ended(path):
        started = launch(queue, *arguments)
        assert (started.returncode, started.stdout, started.stderr) == (0, "", "")
        pid = int(path.read_text().split()[0])
        ref = Jobs.push("trial.write", {"path": str(proof)})
        wait_until(lambda: ref.refresh().is_finished, "a job to be done")
        assert [row.pid for row in registered(queue)] == [pid]

        second = launch(queue, *arguments)
        assert second.returncode == 1
        assert f"running already (process {pid})" in second.stderr

        before = registered(queue)[0].id
        log.rename(tmp_path / "worker.log.1")
        os.kill(pid, signal.SIGHUP)
        wait_until(lambda: [r.pid for r in registered(queue) if r.id != before] == [pid], "the reload")
        assert int(path.read_text().split()[0]) == pid
        third = launch(queue, *arguments)
        assert third.returncode == 1, "the reload kept the lock"
        assert "processing queue" in log.read_text(), "the reload opened the log anew"

        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not runs(pid), "it to end")
        assert not path.exists()
        assert "graceful shutdown complete" in log.read_text()
    assert len(lines(proof)) == 1
    assert registered(queue) == []


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_it_needs_none_of_the_standard_streams(
    queue: DatabaseBackend, proof: Path, tmp_path: Path, closed: str
) -> None:
    """`<&-` is how many a start script has it. Nothing else may come to be in their places, which programs inherit."""
    path, log = tmp_path / "worker.pid", tmp_path / "worker.log"
    given = ("--background", "--pidfile", str(path), "--logfile", str(log))
    with ended(path):
        started = launch(queue, *given, run_by=("sh", "-c", f'exec "$@" {closed}', "sh"))
        assert (started.returncode, started.stderr) == (0, "")
        pid = int(path.read_text().split()[0])
        refs = [
            Jobs.push("trial.loud", "loud"),
            Jobs.push("trial.echo", ["sh", "-c", f"cat; echo echoed; echo >> {proof}"]),
        ]
        wait_until(lambda: all(ref.refresh().is_finished for ref in refs), "the jobs to be done")
        before = registered(queue)[0].id
        os.kill(pid, signal.SIGHUP)
        wait_until(lambda: [r.pid for r in registered(queue) if r.id != before] == [pid], "the reload")
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not runs(pid), "it to end")
    assert {ref.refresh().state for ref in refs} == {"completed"}
    assert {"loud", "echoed"} <= set(lines(log))
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    ("arguments", "given", "code", "says"),
    [
        (("--pidfile", "nowhere/worker.pid"), {}, 1, "No such file"),
        (("--pidfile", "worker.pid", "--logfile", "nowhere/worker.log"), {}, 1, "log file can't be used"),
        (("--pidfile", "worker.pid"), {"JOBS_LEASE_SECONDS": 0.1}, 1, "django_jobs.E007"),
        (("--pidfile", "worker.pid"), {"JOBS_DATABASE_ALIAS": "none"}, 1, "E005"),
        ((), {}, 2, "--background needs --pidfile"),
    ],
)
def test_what_goes_wrong_at_the_start_reaches_the_terminal_and_the_exit_code(
    queue: DatabaseBackend, tmp_path: Path, arguments: tuple[str, ...], given: dict[str, Any], code: int, says: str
) -> None:
    paths = [str(tmp_path / a) if "worker." in a else a for a in arguments]
    started = launch(queue, "--background", *paths, **given)
    assert (started.returncode, says in started.stderr) == (code, True), started.stderr
    assert "Traceback" not in started.stderr
    assert not (tmp_path / "worker.pid").exists()
    assert registered(queue) == []
