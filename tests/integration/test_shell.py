"""Programs that the handler `shell` runs: what is kept of them, and that nothing of them is left."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from django_jobs.exceptions import JobCancelled, JobTimeout, ProgramFailed
from django_jobs.handlers.program import Program
from django_jobs.models import ScheduleTick
from django_jobs.retry import OutcomeKind
from django_jobs.runtime import Outcome, run_attempt
from django_jobs.worker import orphans
from django_jobs.worker.interrupts import AlarmGuard
from tests.integration.conftest import work_off
from tests.support.clock import advance_database
from tests.support.jobs import make_claim, run
from tests.support.lives import runs
from tests.support.waiting import wait_until
from tests.support.worker import lines


class Notes:
    """Controls that keep what is noted. `cancel_when` says whether a cancel was asked for."""

    alone = True

    def __init__(self, cancel_when: Any = bool) -> None:
        self.kept: list[tuple[str, str]] = []
        self.cancelled = cancel_when

    def note(self, kind: str, message: str, data: Any) -> None:
        self.kept.append((kind, message))


@pytest.fixture(autouse=True)
def _let_in(settings: Any) -> None:
    settings.JOBS_BUILTINS = ["shell"]
    settings.JOBS_SHELL_ALLOWED = ["/bin/sh"]
    settings.JOBS_KILL_GRACE = 10


def sh(script: str, *arguments: str, controls: Any = None, **options: Any) -> Outcome:
    """Run a script, without a deadline."""
    return run(make_claim("shell", ["sh", "-c", script, "sh", *arguments], **options), controls)


def test_what_it_prints_is_the_result_and_its_errors_are_in_the_timeline() -> None:
    notes = Notes()
    outcome = sh("echo out; echo err >&2; cat", controls=notes)
    assert (outcome.kind, json.loads(outcome.result)) == (OutcomeKind.COMPLETED, "out\n")
    assert notes.kept == [("output", "err\n")]


def test_an_exit_with_an_error_fails_the_attempt_and_says_why() -> None:
    notes = Notes()
    outcome = sh("echo out; echo 'no such table:' >&2; exit 3", controls=notes)
    assert outcome.kind == OutcomeKind.RETRY
    assert outcome.error is not None
    assert outcome.error.class_path == "django_jobs.exceptions.ProgramFailed"
    assert outcome.error.message == "sh exited with 3: no such table:"
    assert notes.kept == [("output", "out\nno such table:\n")]
    for script, message in {
        "echo only; exit 1": "sh exited with 1: only",
        "exit 2": "sh exited with 2",
        "kill -9 $$": "sh was ended by signal 9",
    }.items():
        error = sh(script).error
        assert error is not None
        assert error.message == message


def test_of_very_much_output_the_end_is_kept_on_both_ends(settings: Any) -> None:
    settings.JOBS_MAX_OUTPUT_LENGTH = 20
    settings.JOBS_SHELL_ALLOWED = ["sh", "seq"]
    notes = Notes()
    outcome = sh("seq 200000; seq 200000 >&2; echo Zoë; echo Zoë >&2", controls=notes)
    kept = "… (1,288,879 characters cut)\n8\n199999\n200000\nZoë\n"
    assert json.loads(outcome.result) == kept
    assert notes.kept == [("output", kept)]


def test_bytes_that_are_no_text_harm_nobody() -> None:
    outcome = sh(r"printf 'a\377b\0c'")
    assert json.loads(outcome.result) == "a\N{REPLACEMENT CHARACTER}b\0c"


def test_of_the_environment_it_sees_what_is_named(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SITE", "x")
    monkeypatch.setenv("PGPASSFILE", "y")
    monkeypatch.setenv("LC_TIME", "C")
    settings.JOBS_SHELL_VARIABLES = ["PGPASSFILE", "NOT_SET"]
    script = 'echo "$SECRET_OF_THE_SITE,$PGPASSFILE,$LC_TIME,$NOT_SET,$PATH"'
    assert json.loads(sh(script).result) == f",y,C,,{os.environ['PATH']}\n"


def test_what_it_leaves_in_its_group_ends_with_it(tmp_path: Path) -> None:
    outcome = sh("sleep 600 & echo $! > $1; echo done", str(tmp_path / "pid"))
    assert json.loads(outcome.result) == "done\n"
    wait_until(lambda: not runs(int(lines(tmp_path / "pid")[0])), "what it left behind to end")


def test_it_is_over_when_the_program_is_whoever_else_holds_its_pipes(tmp_path: Path) -> None:
    """One that has left the group is not ended here: a worker's child does that, when it ends."""
    outcome = sh(
        "setsid sh -c 'echo $$ > $0; exec sleep 600' $1 & while ! test -s $1; do :; done", str(tmp_path / "pid")
    )
    pid = int(lines(tmp_path / "pid")[0])
    assert outcome.kind == OutcomeKind.COMPLETED
    assert runs(pid)
    os.kill(pid, signal.SIGKILL)


POLITE = "trap 'echo tidied; exit 0' TERM; sleep 600 & echo $! > $1; wait"
RUDE = "trap '' TERM; sleep 600 & echo $! > $1; while true; do wait; done"


@pytest.mark.parametrize(("script", "printed"), [(POLITE, "tidied\n"), (RUDE, "")])
def test_at_its_timeout_the_whole_group_ends(tmp_path: Path, settings: Any, script: str, printed: str) -> None:
    settings.JOBS_KILL_GRACE = 0.6
    notes, guard = Notes(), AlarmGuard()
    claim = make_claim("shell", ["sh", "-c", script, "sh", str(tmp_path / "pid")], timeout=0.3)
    outcome = run_attempt(claim, guard, notes)
    assert outcome.kind == OutcomeKind.TIMED_OUT
    assert [text for _kind, text in notes.kept] == ([printed] if printed else [])
    wait_until(lambda: not runs(int(lines(tmp_path / "pid")[0])), "what it had started to end")


def test_whenever_its_timeout_strikes_no_program_is_left(settings: Any) -> None:
    """Also while it is started, when it has no name yet that could be killed."""
    settings.JOBS_KILL_GRACE = 0.2
    rng, guard, before = random.Random(1), AlarmGuard(), set(orphans.children())
    kinds = set()
    for _ in range(80):
        claim = make_claim("shell", ["sh", "-c", "sleep 600 & wait"], timeout=rng.uniform(0.0005, 0.015))
        kinds.add(run_attempt(claim, guard).kind)
        assert set(orphans.children()) == before
    assert kinds == {OutcomeKind.TIMED_OUT}


@pytest.mark.parametrize("why", ["cancel", "deadline"])
def test_in_a_thread_where_nothing_strikes_it_looks_by_itself(tmp_path: Path, why: str) -> None:
    """As beside other jobs, in the child of a queue with concurrency."""
    proof = tmp_path / "pid"
    outcomes: list[Outcome] = []
    controls = Notes((lambda: bool(lines(proof))) if why == "cancel" else bool)
    timeout = None if why == "cancel" else 0.3
    claim = make_claim("shell", ["sh", "-c", POLITE, "sh", str(proof)], timeout=timeout)
    thread = threading.Thread(
        target=lambda: outcomes.append(run_attempt(claim, lambda timeout: nullcontext(), controls))
    )
    thread.start()
    thread.join(30)
    (outcome,) = outcomes
    assert outcome.error is not None
    if why == "cancel":
        assert (outcome.kind, outcome.error.class_path) == (OutcomeKind.CANCELLED, path_of(JobCancelled))
    else:
        assert (outcome.kind, outcome.error.class_path) == (OutcomeKind.TIMED_OUT, path_of(JobTimeout))
    wait_until(lambda: not runs(int(lines(proof)[0])), "what it had started to end")


@pytest.fixture
def _children_ignored() -> Iterator[None]:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.mark.usefixtures("_children_ignored")
def test_an_exit_with_an_error_is_none_without_where_ended_children_are_ignored() -> None:
    """As a process may inherit it: the system then keeps no exit codes, and Python takes that for 0."""
    error = sh("exit 3").error
    assert error is not None
    assert error.message == "sh exited with 3"
    assert sh("exit 0").kind == OutcomeKind.COMPLETED
    assert signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN


@pytest.mark.usefixtures("_children_ignored")
def test_a_thread_that_could_not_know_the_exit_does_not_run_it(tmp_path: Path) -> None:
    outcomes: list[Outcome] = []
    proof = tmp_path / "proof"
    claim = make_claim("shell", ["sh", "-c", 'echo ran > "$1"', "sh", str(proof)])
    thread = threading.Thread(target=lambda: outcomes.append(run_attempt(claim, lambda timeout: nullcontext())))
    thread.start()
    thread.join(30)
    (outcome,) = outcomes
    assert outcome.kind == OutcomeKind.RETRY
    assert outcome.error is not None
    assert outcome.error.message.startswith("this process ignores SIGCHLD")
    assert not lines(proof)


def test_a_program_for_which_somebody_else_has_waited_has_not_succeeded(tmp_path: Path) -> None:
    watched = tmp_path / "watched"
    program = Program(["/bin/sh", "-c", 'until [ -e "$0" ]; do :; done; exit 3', str(watched)], {}, 100)

    def steal() -> None:
        watched.touch()
        with suppress(ChildProcessError):
            os.waitpid(-1, 0)

    with pytest.raises(ProgramFailed, match="how it ended is not known"):
        program.run(steal, 1)


def path_of(error: type) -> str:
    return f"{error.__module__}.{error.__qualname__}"


def test_a_file_that_can_not_be_executed_after_all_fails_the_attempt(tmp_path: Path, settings: Any) -> None:
    script = tmp_path / "script"
    script.write_text("no first line that says who reads it")
    script.chmod(0o755)
    settings.JOBS_SHELL_ALLOWED = [str(script)]
    outcome = run(make_claim("shell", [str(script)]))
    assert outcome.kind == OutcomeKind.RETRY
    assert outcome.error is not None
    assert outcome.error.class_path == "OSError"


def test_programs_in_the_schedule(jobs_on: DatabaseBackend, settings: Any) -> None:
    from django_jobs.scheduler.desk import make_desk
    from django_jobs.scheduler.launch import execute_plainly
    from django_jobs.scheduler.runner import Runner

    def schedule(s: Any) -> None:
        s.shell(["sh", "-c", "echo here"]).named("here").every_minute()
        s.shell("/bin/sh -c 'echo there'").every_minute().queue("default")
        s.shell(["sh", "-c", "echo gone wrong >&2; exit 1"]).named("bad").every_minute()

    settings.JOBS_SCHEDULE = schedule
    runner = Runner(make_desk(execute=execute_plainly))
    assert runner.register() == ["here", "sh", "bad"]
    advance_database(jobs_on, 60)
    reports = {report.name: report for report in runner.turn().reports}
    assert {name: report.state for name, report in reports.items()} == {
        "here": "succeeded",
        "sh": "dispatched",
        "bad": "failed",
    }
    assert "sh exited with 1: gone wrong" in reports["bad"].error
    work_off(jobs_on)
    runner.turn()
    assert ScheduleTick.objects.using(jobs_on.database).get(name="sh").state == "succeeded"
    record = Jobs.get(reports["sh"].job_id)
    assert record is not None
    assert record.result == "there\n"
