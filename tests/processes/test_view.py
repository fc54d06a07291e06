"""The live view of a real worker, on a real terminal."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from tests.support.site import site_env
from tests.support.terminal import HAS_TMUX, Terminal, terminal
from tests.support.waiting import wait_until
from tests.support.worker import QUICK, ROOT, children_of, counts, lines, registered

pytestmark = pytest.mark.skipif(not HAS_TMUX and not os.environ.get("CI"), reason="tmux is not installed")
PLAIN_AGAIN = ("0", "1", "echo")
DRAWING = ("1", "0", "-echo")
Opened = Callable[..., AbstractContextManager[Terminal]]


@pytest.fixture
def database() -> str:
    """One is enough: the view knows of none."""
    return "default"


@pytest.fixture
def opened(queue: DatabaseBackend, tmp_path: Path) -> Iterator[Opened]:
    """A terminal in which the site is at hand."""

    def make(width: int = 100, height: int = 30, **env: str) -> AbstractContextManager[Terminal]:
        settings = json.dumps({**QUICK, "JOBS_SHUTDOWN_TIMEOUT": 20})
        site = {**site_env(queue.database), "TESTPROJECT_SETTINGS": settings, "TERM": "xterm-256color", **env}
        for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
            site.pop(name, None) if name not in env else None
        return terminal(tmp_path, width, height, site)

    yield make
    for row in registered(queue):  # of a test that failed
        with suppress(ProcessLookupError):
            os.kill(row.pid, signal.SIGKILL)


def work(screen: Terminal, *arguments: str, queues: str = "default") -> None:
    command = [sys.executable, str(ROOT / "manage.py"), "jobs_work", queues, "--show", "tui", *arguments]
    screen.run(command)


def coordinator(store: DatabaseBackend) -> int:
    (row,) = wait_until(lambda: registered(store), "the worker to register")
    return row.pid


def view_of(store: DatabaseBackend) -> int:
    """The view's process: it comes before the template."""
    pid = coordinator(store)
    return wait_until(lambda: next(iter(children_of(pid)), 0), "the view")


def test_it_shows_what_runs_follows_the_size_and_shows_the_drain(
    queue: DatabaseBackend, opened: Opened, tmp_path: Path
) -> None:
    Jobs.push("trial.fail", max_attempts=1)
    with opened() as screen:
        work(screen, "--max-workers", "2")
        screen.shows("● running  default", "dead-lettered", "idle", "Outcomes", "1 settled")
        assert screen.state() == DRAWING
        Jobs.push("trial.gate", {"gate": str(tmp_path / "gate")}, timeout=60)
        wide = screen.shows("trial.gate", "/ 1m00s", "1 of 2 busy")
        assert "Waiting" in wide
        screen.resize(50, 20)
        narrow = screen.shows("trial.gate", "Slots", "Ctrl-C stops the worker\n")
        assert "Outcomes" not in narrow
        assert max(map(len, narrow.splitlines())) <= 50
        screen.resize(90, 25)
        screen.shows("Outcomes")
        screen.type("C-c")
        screen.shows("● draining", "stopping: 1 in hand")
        (tmp_path / "gate").touch()
        left = screen.shows("[Worker] graceful shutdown complete.")
        assert "[Worker] 2 settled: 1 acked, 1 dead-lettered" in left
        assert "DEAD trial.fail" in left, "what was logged meanwhile stays to be read"
        assert screen.state() == PLAIN_AGAIN
    assert counts(queue) == {"completed": 1, "failed": 1}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_view_that_is_killed_or_stuck_stops_nothing(
    queue: DatabaseBackend, opened: Opened, number: signal.Signals
) -> None:
    with opened() as screen:
        work(screen)
        screen.shows("● running")
        os.kill(view_of(queue), number)
        refs = [Jobs.push("trial.noop") for _ in range(20)]
        wait_until(lambda: all(ref.refresh().is_finished for ref in refs), "the jobs")
        if number is signal.SIGKILL:
            screen.shows("[Worker] the view is gone; going on with lines")
            Jobs.push("trial.noop")
            screen.shows("[acked] default (attempt 1)")
            assert screen.state() == PLAIN_AGAIN
        os.kill(coordinator(queue), signal.SIGTERM)
        wait_until(lambda: registered(queue, "stopped"), "the worker to leave")
        screen.shows("$")
        wait_until(lambda: screen.state() == PLAIN_AGAIN, "the terminal as it was")


@pytest.mark.parametrize("how", ["SIGKILL", "Ctrl-\\"])
def test_a_worker_that_is_killed_leaves_the_terminal_as_it_was(
    queue: DatabaseBackend, opened: Opened, how: str
) -> None:
    with opened() as screen:
        screen.run(["ulimit", "-c", "0"])
        work(screen)
        screen.shows("● running")
        if how == "SIGKILL":
            os.kill(coordinator(queue), signal.SIGKILL)
        else:
            screen.tmux("send-keys", "-H", "1c")  # it reaches the view too
        screen.shows("[Worker] the worker has died; its lease brings its jobs back.")
        wait_until(lambda: screen.state() == PLAIN_AGAIN, "the terminal as it was")


def test_ctrl_z_gives_the_terminal_to_the_shell_for_a_while(queue: DatabaseBackend, opened: Opened) -> None:
    with opened() as screen:
        work(screen)
        screen.shows("● running")
        screen.type("C-z")
        wait_until(lambda: screen.state() == PLAIN_AGAIN, "the shell")
        screen.run(["fg"])
        screen.shows("● running", "Slots")
        assert screen.state() == DRAWING
        screen.type("C-c")
        screen.shows("[Worker] graceful shutdown complete.")


def test_in_the_background_it_leaves_the_terminal_alone(queue: DatabaseBackend, opened: Opened) -> None:
    with opened() as screen:
        work(screen)
        screen.shows("● running")
        screen.type("C-z")
        wait_until(lambda: screen.state() == PLAIN_AGAIN, "the shell")
        screen.run(["bg"])
        Jobs.push("trial.noop").cancel()
        ref = Jobs.push("trial.noop")
        wait_until(lambda: ref.refresh().is_finished, "the job, in the background")
        screen.run(["echo", "typed", "in", "peace"])
        screen.shows("\ntyped in peace")
        assert screen.state() == PLAIN_AGAIN
        screen.run(["fg"])
        screen.shows("● running", "acked")
        screen.type("C-c")
        screen.shows("[Worker] graceful shutdown complete.")
        screen.run(["clear"])
        work(screen, "--stop-when-empty", "&")
        screen.shows("[Worker] processing queue 'default'", "[Worker] graceful shutdown complete.")


def test_what_a_job_writes_into_the_feed_does_not_end_the_view(queue: DatabaseBackend, opened: Opened) -> None:
    Jobs.push("trial.garbage", max_attempts=1)
    ref = Jobs.push("trial.noop")
    with opened() as screen:
        work(screen, "--max-workers", "1")
        wait_until(lambda: ref.refresh().is_finished, "the job after it")
        screen.shows("● running", "acked")
        assert screen.state() == DRAWING
        screen.type("C-c")
        screen.shows("graceful shutdown complete.")


def test_the_workers_of_all_queues_are_one_view(queue: DatabaseBackend, opened: Opened, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    for name in "default", "mail":
        Jobs.push("trial.gate", {"gate": str(gate)}, queue=name)
    with opened() as screen:
        work(screen, queues="--all")
        screen.shows("3 workers", "● census", "default    trial.gate", "mail       trial.gate")
        screen.type("C-c")
        screen.shows("● draining", "stopping: 2 in hand")
        gate.touch()
        text = screen.shows("graceful shutdown complete.", "2 settled: 2 acked")
        assert text.count("graceful shutdown complete.") == 1
        wait_until(lambda: screen.state() == PLAIN_AGAIN, "the terminal as it was")


def test_a_worker_that_starts_anew_has_a_new_view(queue: DatabaseBackend, opened: Opened) -> None:
    with opened() as screen:
        work(screen)
        screen.shows("● running")
        first = registered(queue)[0]
        os.kill(first.pid, signal.SIGHUP)
        wait_until(lambda: {row.id for row in registered(queue)} - {first.id}, "another worker")
        wait_until(lambda: screen.state() == DRAWING, "the next view")
        screen.shows("● running", f"pid {first.pid}")
        screen.type("C-c")
        screen.shows("graceful shutdown complete.")


def test_colours_and_columns_are_the_environments(queue: DatabaseBackend, opened: Opened) -> None:
    Jobs.push("trial.noop")
    for env, colour in [({}, True), ({"NO_COLOR": "1", "COLUMNS": "60"}, False)]:
        with opened(100, 30, **env) as screen:
            work(screen)
            text = screen.shows("● running", "acked")
            assert ("Outcomes" in text) == colour, "COLUMNS says how wide it is"
            drawn = screen.tmux("capture-pane", "-p", "-e")
            assert ("\x1b[32m●" in drawn) == colour
            screen.type("C-c")
            screen.shows("graceful shutdown complete.")
        Jobs.push("trial.noop")


def test_without_a_terminal_there_are_lines(queue: DatabaseBackend, opened: Opened, tmp_path: Path) -> None:
    Jobs.push("trial.noop")
    with opened() as screen:
        command = (
            f"{sys.executable} {ROOT / 'manage.py'} jobs_work default --show tui --stop-when-empty > {tmp_path / 'out'}"
        )
        screen.tmux("send-keys", "-l", command)
        screen.type("Enter")
        wait_until(lambda: lines(tmp_path / "out")[-1:] == ["[Worker] graceful shutdown complete."], "its end")
    assert lines(tmp_path / "out")[:2] == ["[Worker] processing queue 'default'", "[acked] default (attempt 1)"]
