"""`jobs_work --watch`: the worker is a process that is started anew on each change."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from django.test import override_settings

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from tests.support.lives import runs
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess, children_of, lines, registered, worker

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # it is no matter of the store
HANDLER = """
from django_jobs import JobHandler

class Watched(JobHandler):
    def handle(self, ctx):
        with open(ctx.payload["path"], "a") as file:
            file.write("{version}\\n")
"""
SITE = {"watched": "watched_jobs.Watched"}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of the site, alone in its folder."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.syspath_prepend(str(folder))
    module = folder / "watched_jobs.py"
    module.write_text(HANDLER.format(version="first"))
    return module


def working(w: WorkerProcess, queue: DatabaseBackend, but: int = 0) -> int:
    """The process of the worker, once it works."""
    return wait_until(
        lambda: next((r.pid for r in registered(queue) if r.pid in children_of(w.pid) and r.pid != but), 0), "a worker"
    )


def test_a_change_of_the_code_starts_it_anew_and_what_failed_waits_for_one(
    queue: DatabaseBackend, proof: Path, module: Path
) -> None:
    settings = {"BASE_DIR": str(module.parent), "JOBS": SITE}
    with override_settings(JOBS=SITE), worker(queue, "default", "--max-workers", "1", "--watch", **settings) as w:
        first = working(w, queue)
        ref = Jobs.push("watched", {"path": str(proof)})
        wait_until(lambda: ref.refresh().is_finished, "the first job")
        wait_until(lambda: "[Watch] watching" in w.text, "the files to be watched")
        module.write_text(HANDLER.format(version="second"))
        second = working(w, queue, but=first)
        assert not runs(first)
        ref = Jobs.push("watched", {"path": str(proof)})
        wait_until(lambda: ref.refresh().is_finished, "the second job")
        assert lines(proof) == ["first", "second"]

        os.kill(second, signal.SIGKILL)
        wait_until(lambda: "exit code -9); waiting for a change" in w.text, "the end to be noticed")
        (module.parent / ".env").write_text("A=1\n")
        third = working(w, queue, but=second)
        assert w.stop() == 0, w.text
        assert not runs(third)
    assert "Traceback" not in w.text


def test_it_does_not_outlive_whoever_watches_and_ends_with_its_limit(
    queue: DatabaseBackend, proof: Path, module: Path
) -> None:
    with worker(queue, "--watch", "--max-workers", "1", BASE_DIR=str(module.parent)) as w:
        pid = working(w, queue)
        w.kill()
        wait_until(lambda: not runs(pid), "the worker to end")
        assert registered(queue) == []
    ref = Jobs.push("trial.write", {"path": str(proof)})
    with worker(queue, "--watch", "--stop-when-empty", BASE_DIR=str(module.parent)) as w:
        assert w.wait() == 0, w.text
    assert ref.refresh().state == "completed"
