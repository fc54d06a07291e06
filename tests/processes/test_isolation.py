"""What each isolation promises, on SQLite: what a job starts, keeps or breaks is gone with its process."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import venv
from pathlib import Path
from typing import Any

import pytest

from django_jobs import JobRef, Jobs
from django_jobs.backends.database import DatabaseBackend
from django_jobs.worker.fresh import _START
from tests.processes.test_ends import alive
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess, counts, lines, wait_finished, worker

FRESH = ("fork", "spawn")
TIMEOUT, GRACE = 1.0, 0.5
SLACK = 1.5
"""Seconds, for a machine that has others to serve too."""
HOSTILE = (
    *("holds_the_interpreter", "matches", "raises_to_a_power", "catches"),
    *("blocks", "forks", "leaks", "dies"),
)


@pytest.fixture
def database() -> str:
    """The tests of the other databases are in the torture tier: children know nothing of them."""
    return "default"


# -- a process for each job ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("isolation", FRESH)
def test_each_job_has_a_process_of_its_own(queue: DatabaseBackend, proof: Path, isolation: str) -> None:
    hooks = proof.with_name("hooks")
    for mb in (1, 1):
        Jobs.push("trial.hoard", {"mb": mb, "path": str(proof)})
    with_hooks = Jobs.push("trial.hooks", {"path": str(hooks), "failures": 1})
    with worker(queue, "default", "--isolation", isolation, "--max-workers", "2") as w:
        wait_until(lambda: len(lines(hooks)) == 5, "the hooks to run")
        wait_finished(queue)
        assert w.stop() == 0, w.text
    assert len(set(lines(proof))) == 2
    assert with_hooks.refresh().state == "completed"
    said = ["after_run", "before_run", "before_run", "on_retry as asked", "on_success done"]
    assert sorted(lines(hooks)) == said  # a hook may come after the next attempt


@pytest.mark.parametrize("isolation", FRESH)
def test_a_poison_job_is_stopped_and_its_neighbours_are_not_charged(
    queue: DatabaseBackend, proof: Path, isolation: str
) -> None:
    good = [Jobs.push("trial.noop") for _ in range(2)]
    poison = Jobs.define("trial.die", {"path": str(proof)}).backoff("none").dispatch()
    good += [Jobs.push("trial.noop") for _ in range(2)]
    with worker(queue, "default", "--isolation", isolation, "--max-workers", "2", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    record = poison.refresh()
    assert (record.state, record.reason, record.crashes, len(lines(proof))) == ("failed", "crashed", 3, 3)
    assert {(r.refresh().state, r.refresh().attempt, r.refresh().crashes) for r in good} == {("completed", 1, 0)}


def test_a_job_whose_process_is_slow_to_be_there_runs_once(
    queue: DatabaseBackend, proof: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody takes its message for lost meanwhile."""
    monkeypatch.setenv("SLOW_FORKS", "1.7")
    refs = [Jobs.push("trial.write", {"path": str(proof)}) for _ in range(2)]
    arguments = ("default", "--isolation", "fork", "--max-workers", "2")
    with WorkerProcess(queue.database, *arguments, program="tests/support/slow_forks.py") as w:
        wait_finished(queue)
        assert w.stop() == 0, w.text
    assert {(r.refresh().state, r.refresh().claim_no) for r in refs} == {("completed", 1)}
    assert len(lines(proof)) == 2


def test_the_process_that_waits_for_a_slot_runs_nothing_and_may_die(queue: DatabaseBackend, proof: Path) -> None:
    """A forked child is followed by one that is there already: beside the slots, not in one of them."""
    with worker(queue, "default", "--isolation", "fork", "--max-workers", "1") as w:
        first = Jobs.push("trial.noop")
        wait_until(lambda: first.refresh().is_finished, "a job")
        wait_until(lambda: len(w.children()) == 2, "the child in the slot, and the one that waits for it")
        one = Jobs.push("trial.sleep", {"seconds": 0.5, "path": str(proof)})
        two = Jobs.push("trial.sleep", {"seconds": 0.1, "path": str(proof)})
        running = int(wait_until(lambda: lines(proof), "the job to start")[0].split()[-1])
        (waiting,) = set(w.children()) - {running}
        os.kill(waiting, signal.SIGKILL)
        last = Jobs.push("trial.write", {"path": str(proof.with_name("last"))})
        wait_finished(queue)
        assert w.stop() == 0, w.text
    assert [line.split()[0] for line in lines(proof)] == ["start", "end", "start", "end"]
    assert {(ref.refresh().state, ref.refresh().claim_no) for ref in (one, two, last)} == {("completed", 1)}


def test_without_a_descriptor_for_the_one_that_waits_the_others_work_on(queue: DatabaseBackend, proof: Path) -> None:
    with worker(queue, "default", "--isolation", "fork", "--max-workers", "2") as w:
        first = Jobs.push("trial.noop")
        wait_until(lambda: first.refresh().is_finished, "a job")
        slow = Jobs.push("trial.sleep", {"seconds": 1.5, "path": str(proof)})
        wait_until(lambda: lines(proof), "the job to start")
        template = w.template()
        used = len(os.listdir(f"/proc/{template}/fd"))
        resource.prlimit(template, resource.RLIMIT_NOFILE, (used, used))
        others = [Jobs.push("trial.noop") for _ in range(3)]
        wait_finished(queue)
        assert w.template() == template
        assert w.stop() == 0, w.text
    assert len(lines(proof)) == 2
    assert {(ref.refresh().state, ref.refresh().claim_no) for ref in (slow, *others)} == {("completed", 1)}


def test_the_process_that_waits_for_a_slot_ends_with_its_template(queue: DatabaseBackend) -> None:
    with worker(queue, "default", "--isolation", "fork", "--max-workers", "1") as w:
        first = Jobs.push("trial.noop")
        wait_until(lambda: first.refresh().is_finished, "a job")
        before = wait_until(lambda: len(w.children()) == 2 and w.children(), "the child, and the one that waits")
        os.kill(w.template(), signal.SIGKILL)
        wait_until(lambda: not any(map(alive, before)), "all of them to end")
        second = Jobs.push("trial.noop")
        wait_until(lambda: second.refresh().is_finished, "another job")
        assert w.stop() == 0, w.text


def test_a_fresh_interpreter_runs_the_code_that_is_on_disk_now(
    queue: DatabaseBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    settings.JOBS = {"shifting": "testproject.trials.jobs.NoOp"}
    code = tmp_path / "shifting.py"
    code.write_text(SHIFTING.format(1))
    theirs = {"JOBS": {"shifting": "shifting.Job"}, "JOBS_MISSING_HANDLER_GRACE": 10}
    with worker(queue, "default", "--isolation", "spawn", "--max-workers", "1", **theirs) as w:
        first = Jobs.define("shifting").timeout(1).dispatch()  # its interpreter takes longer to be ready
        wait_until(lambda: first.refresh().is_finished, "the first job")
        code.write_text("this is no Python")
        second = Jobs.push("shifting")
        wait_until(lambda: second.refresh().claim_no == 1 and second.refresh().state == "scheduled", "a broken deploy")
        code.write_text(SHIFTING.format(2))
        wait_until(lambda: second.refresh().is_finished, "the second job")
        assert w.stop() == 0, w.text
    assert (first.result(), second.result(), second.refresh().attempt) == (1, 2, 1)


SHIFTING = """
import time
from django_jobs import JobHandler
time.sleep(1.2)
class Job(JobHandler):
    def handle(self, ctx):
        return {0}
"""


@pytest.mark.parametrize("how", ["gone", "broken"])
def test_jobs_whose_interpreter_is_gone_are_given_back_uncharged(
    queue: DatabaseBackend, proof: Path, tmp_path: Path, how: str
) -> None:
    """Others run them meanwhile, and so does the worker itself once the interpreter is back."""
    venv.create(tmp_path / "venv", symlinks=True, with_pip=False)
    python = tmp_path / "venv/bin/python"
    (next((tmp_path / "venv").glob("lib/*/site-packages")) / "ours.pth").write_text("\n".join(sys.path))
    arguments = ("default", "--isolation", "spawn", "--max-workers", "2")
    with WorkerProcess(queue.database, *arguments, python=str(python)) as w:
        first = Jobs.push("trial.write", {"path": str(proof)})
        wait_until(lambda: first.refresh().is_finished, "the first job")
        aside = python.rename(tmp_path / "aside")
        if how == "broken":
            python.write_text("#!/bin/sh\nexit 1\n")
            python.chmod(0o755)
        refs = [Jobs.push("trial.write", {"path": str(proof)}) for _ in range(3)]
        wait_until(lambda: w.text.count("a fresh interpreter could not be had") >= 3, "it to have been tried again")
        assert {(ref.refresh().attempt, ref.refresh().crashes) for ref in refs} <= {(0, 0), (1, 0)}
        with worker(queue, *arguments):
            wait_until(lambda: all(ref.refresh().is_finished for ref in refs), "another worker to have them all")
        last = Jobs.push("trial.write", {"path": str(proof)})
        aside.replace(python)
        wait_until(lambda: last.refresh().is_finished, "the job after the mend")
        assert w.stop() == 0, w.text
    seen = [ref.refresh() for ref in (first, *refs, last)]
    assert {(r.state, r.attempt, r.crashes) for r in seen} == {("completed", 1, 0)}
    assert len(lines(proof)) == 5
    assert "Traceback" not in w.text


def test_nothing_of_a_job_is_on_the_command_line_of_its_interpreter(queue: DatabaseBackend, proof: Path) -> None:
    Jobs.push("trial.sleep", {"seconds": 60, "path": str(proof), "password": "open-sesame"})
    with worker(queue, "default", "--isolation", "spawn", "--max-workers", "1") as w:
        pid = int(wait_until(lambda: lines(proof), "the job to start")[0].split()[-1])
        command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        assert pid in w.children()
        assert os.getpgid(pid) == pid
        assert (command[-3], command[-2].isdigit()) == (_START, True)
        assert "open-sesame" not in " ".join(command)


# -- jobs that do not want to end ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("isolation", "hostile"),
    [("pool", HOSTILE), ("fork", HOSTILE), ("spawn", ("holds_the_interpreter", "leaks", "forks", "dies"))],
)
def test_a_job_that_does_not_want_to_end_is_ended_in_time_and_hurts_nobody(
    queue: DatabaseBackend, tmp_path: Path, isolation: str, hostile: tuple[str, ...]
) -> None:
    proofs = {how: tmp_path / how for how in hostile}
    refs, neighbours = {}, []
    for how, file in proofs.items():
        payload = {"how": how, "path": str(file)}
        refs[how] = Jobs.define("trial.hostile", payload).timeout(TIMEOUT).backoff("none").dispatch()
        neighbours.append(Jobs.push("trial.sleep", {"seconds": 0.05}))
    ended: dict[str, float] = {}
    arguments = ("default", "--isolation", isolation, "--max-workers", "2")
    with worker(queue, *arguments, JOBS_KILL_GRACE=GRACE, JOBS_MAX_CRASHES=1) as w:
        wait_until(lambda: seen_to_end(refs, proofs, ended) == set(hostile), "all of them to be ended", 60)
        wait_finished(queue)
        assert not [line for file in proofs.values() for line in lines(file) if is_left(line, w)]
        assert w.stop() == 0, w.text
    assert {how: ref.refresh().reason for how, ref in refs.items()} == {
        how: "crashed" if how == "dies" else "timed_out" for how in hostile
    }
    assert {(r.refresh().state, r.refresh().attempt, r.refresh().crashes) for r in neighbours} == {("completed", 1, 0)}
    print({how: round(seconds, 2) for how, seconds in ended.items()})
    assert max(ended.values()) <= 1.1 * (TIMEOUT + GRACE) + SLACK, ended


def seen_to_end(refs: dict[str, JobRef], proofs: dict[str, Path], ended: dict[str, float]) -> set[str]:
    """Which have been seen to be finished; `ended` is told how long after their start."""
    for how in set(refs) - set(ended):
        if refs[how].refresh().is_finished:
            ended[how] = time.monotonic() - float(lines(proofs[how])[0].split()[1])
    return set(ended)


def is_left(line: str, w: WorkerProcess) -> bool:
    """Whether a process that a job has named is still there, and not as a child of the worker."""
    pid = int(line.split()[0])
    return alive(pid) and pid not in w.children()


ENDS = {"told": {"seconds": 60}, "killed": {"seconds": 60, "deaf": True}, "dead": {"die": True}}


# -- what jobs leave behind ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["told", "killed", "dead"])
def test_a_daemon_of_a_job_ends_with_it_and_a_neighbours_does_not(
    queue: DatabaseBackend, proof: Path, end: str
) -> None:
    neighbour = proof.with_name("neighbour")
    other = Jobs.define("trial.daemon", {"path": str(neighbour), "seconds": 60}).dispatch()
    bad = Jobs.define("trial.daemon", {"path": str(proof), **ENDS[end]}).timeout(1).dispatch()
    with worker(queue, "default", "--max-workers", "2", JOBS_MAX_CRASHES=1) as w:
        wait_until(lambda: bad.refresh().is_finished, "the job to be ended")
        wait_until(lambda: not alive(int(lines(proof)[0])), "its daemon to be ended", 5)
        assert alive(int(wait_until(lambda: lines(neighbour), "the neighbour")[0])), "a neighbour's daemon was ended"
        w.kill()
        wait_until(lambda: not alive(int(lines(neighbour)[0])), "it to end with its worker", 5)
    assert other.refresh().state == "running"


@pytest.mark.parametrize("how", [{}, {"isolation": "fork"}, {"concurrency": 2}])
def test_a_child_that_is_too_big_from_the_start_does_its_job_all_the_same(
    queue: DatabaseBackend, proof: Path, how: dict[str, Any]
) -> None:
    refs = [Jobs.push("trial.hoard", {"mb": 1, "path": str(proof)}) for _ in range(3)]
    with worker(queue, "default", JOBS_QUEUES={"default": {"max_workers": 1, "max_memory_mb": 1, **how}}) as w:
        wait_finished(queue)
        assert w.stop() == 0, w.text
    assert {(ref.refresh().state, ref.refresh().claim_no) for ref in refs} == {("completed", 1)}
    assert "max_memory_mb" in w.text, "nobody was told"


def test_a_child_that_has_grown_is_replaced_when_its_job_is_done(queue: DatabaseBackend, proof: Path) -> None:
    for mb in (1, 1, 300, 1, 1):
        Jobs.push("trial.hoard", {"mb": mb, "path": str(proof)})
    queues = {"default": {"max_workers": 1, "max_memory_mb": 250}}
    with worker(queue, "default", JOBS_QUEUES=queues) as w:
        wait_finished(queue)
        assert w.stop() == 0, w.text
    pids = lines(proof)
    assert counts(queue) == {"completed": 5}
    assert len(set(pids[:3])) == 1
    assert len(set(pids[3:])) == 1
    assert pids[2] != pids[3]
