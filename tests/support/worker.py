"""Real worker processes on the test database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import CompletedJob, FailedJob, Job, Worker

from .site import site_env
from .waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
QUICK: dict[str, Any] = {
    "JOBS_LEASE_SECONDS": 3,
    "JOBS_HEARTBEAT_INTERVAL": 0.5,
    "JOBS_REAP_INTERVAL": 0.5,
    "JOBS_POLL_INTERVAL": 0.2,
    "JOBS_KILL_GRACE": 0.5,
    "JOBS_SHUTDOWN_TIMEOUT": 20,
}


ISOLATIONS = ["pool", "fork", "spawn", "inline"]


class WorkerProcess:
    """A `jobs_work` process, or one of another command. Its output is kept in a file. `port` is that of a proxy before
    its database.
    """

    def __init__(
        self,
        database: str,
        *arguments: str,
        port: int | None = None,
        python: str = sys.executable,
        program: str = "manage.py",
        command: str = "jobs_work",
        environment: Mapping[str, str] | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        **settings: Any,
    ) -> None:
        self.output = tempfile.NamedTemporaryFile("w+", prefix="jobs-worker-", suffix=".log")  # noqa: SIM115
        env = {
            **site_env(database, port),
            "TESTPROJECT_SETTINGS": json.dumps({**QUICK, **settings}),
            "PYTHONUNBUFFERED": "1",
            **(environment or {}),
        }
        arguments = arguments or (("default",) if command == "jobs_work" else ())
        self.process = subprocess.Popen(
            [python, program, command, *arguments],
            cwd=ROOT,
            env=env,
            stdin=stdin,
            stdout=self.output if stdout is None else stdout,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.pid = self.process.pid
        self.printed: str | None = None

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def text(self) -> str:
        """What it has printed so far, or had when it ended."""
        return Path(self.output.name).read_text() if self.printed is None else self.printed

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the coordinator alone."""
        os.kill(self.pid, number)

    def wait(self, seconds: float = 40.0) -> int:
        """Its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"the worker did not exit within {seconds} s; it printed:\n{self.text[-3000:]}"
            ) from None

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """SIGKILL the coordinator."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.printed = self.text
        self.output.close()

    def template(self) -> int:
        """The pid of the template process."""
        return wait_until(lambda: next(iter(children_of(self.pid)), 0), "a template process")

    def children(self) -> list[int]:
        """The pids of the children."""
        return wait_until(lambda: children_of(self.template()), "children")


def children_of(pid: int) -> list[int]:
    """The child processes of `pid`."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(word) for word in text.split()]


def one_database_will_do(store: DatabaseBackend, isolation: str) -> None:
    """Skip a test of an isolation that differs from `pool` in nothing that concerns the database, but for one."""
    if isolation in ("fork", "spawn") and store.sql.connection.vendor != "sqlite":
        pytest.skip("what isolates a job does not depend on the database")


@contextmanager
def worker(store: DatabaseBackend, *arguments: str, **settings: Any) -> Iterator[WorkerProcess]:
    """A worker on the store's database, ended with the block."""
    with WorkerProcess(store.database, *arguments, **settings) as process:
        yield process


def places(store: DatabaseBackend) -> dict[str, str]:
    """Where each job is: its state by id. Fails if an id is in two tables."""
    found: dict[str, str] = {}
    for model in (Job, CompletedJob, FailedJob):
        for row in model._default_manager.using(store.database).all():
            assert str(row.id) not in found, f"job {row.id} is in two tables"
            found[str(row.id)] = getattr(row, "state", "failed")
    return found


def counts(store: DatabaseBackend) -> Counter[str]:
    """How many jobs are in each state."""
    return Counter(places(store).values())


def live(store: DatabaseBackend) -> int:
    """How many jobs are not finished."""
    return Job.objects.using(store.database).count()


def wait_finished(store: DatabaseBackend, seconds: float = 60.0) -> None:
    """Until no job is live."""
    wait_until(lambda: live(store) == 0, "every job to be finished", seconds, every=0.05)


def registered(store: DatabaseBackend, state: str = "running") -> list[Worker]:
    """The workers in this state."""
    return list(Worker.objects.using(store.database).filter(state=state))


def lines(path: Path | str) -> list[str]:
    """The lines of a file that jobs write to."""
    try:
        return Path(path).read_text().splitlines()
    except FileNotFoundError:
        return []
