"""`jobs_cancel` and `Jobs.cancel`, on every database: by id, by filter, and what is told of each."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from django_jobs import JobHandler, Jobs
from django_jobs.backends import WorkerInfo
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import JobEvent

from .conftest import claim_all, work_off
from .test_commands import manage, run


@pytest.fixture
def store(jobs_on: DatabaseBackend) -> DatabaseBackend:
    return jobs_on


@pytest.fixture
def running(store: DatabaseBackend) -> str:
    """A job that a worker holds."""
    ref = str(Jobs.push("trial.noop"))
    claim_all(store, "default")
    return ref


def state(job: str) -> str:
    return Jobs.get(job).state


def test_jobs_are_cancelled_by_their_ids_whatever_they_do(store: DatabaseBackend) -> None:
    done = str(Jobs.push("trial.noop"))
    work_off(store)
    running = str(Jobs.push("trial.noop"))
    claim_all(store, "default")
    waiting, later = str(Jobs.push("trial.noop")), str(Jobs.push("trial.noop", delay=60))
    before = run("jobs_cancel", done, running, waiting, later, "--dry-run")
    assert before.out == "Would cancel 3 jobs, of which 1 runs.\n1 job had ended already.\n"
    assert [state(job) for job in (running, waiting, later)] == ["running", "pending", "scheduled"]
    ran = run("jobs_cancel", done, running, waiting, later, "--reason", "a mistake")
    assert (ran.code, ran.out) == (0, "Cancelled 3 jobs, of which 1 runs.\n1 job had ended already.\n")
    assert [state(job) for job in (running, waiting, later)] == ["cancel_requested", "cancelled", "cancelled"]
    events = JobEvent.objects.using(store.database).filter(message="a mistake").values_list("type", flat=True)
    assert sorted(events) == ["cancel_requested", "cancelled", "cancelled"]
    again = run("jobs_cancel", running, "--json")
    assert again.json["requested"] == [running]


def test_an_id_that_is_missing_is_named_and_the_others_are_cancelled(store: DatabaseBackend) -> None:
    missing, job = str(uuid.uuid4()), str(Jobs.push("trial.noop"))
    ran = run("jobs_cancel", missing, job, "--json")
    assert ran.code == 1
    assert missing in ran.err
    assert ran.json == {
        "dry_run": False,
        "cancelled": [job],
        "requested": [],
        "already_finished": [],
        "not_found": [missing],
    }


@pytest.mark.parametrize(
    ("flags", "others"),
    [
        (["--queue", "mail"], {"queue": "default"}),
        (["--handler", "trial.noop"], {"handler": "trial.fail"}),
        (["--group", "a"], {"group": "b"}),
        (["--tag", "red"], {"tags": ["reddish"]}),
        (["--state", "pending"], {"delay": 60}),
        (["--state", "queued", "--queue", "mail,default", "--tag", "red"], {"tags": []}),
    ],
)
def test_a_filter_cancels_what_it_says_and_nothing_else(
    store: DatabaseBackend, flags: list[str], others: dict[str, Any]
) -> None:
    options: dict[str, Any] = {"handler": "trial.noop", "queue": "mail", "group": "a", "tags": ["red", "x"]}
    meant, other = (str(Jobs.push(**{**options, **changes})) for changes in ({}, others))
    assert run("jobs_cancel", *flags, "--dry-run").out == "Would cancel 1 job.\n"
    ran = run("jobs_cancel", *flags, "--no-input")
    assert (ran.code, ran.out) == (0, "Cancelled 1 job.\n")
    assert state(meant) == "cancelled"
    assert state(other) in ("pending", "scheduled")


def test_all_are_cancelled_those_that_wait_first_and_what_is_asked_for_already_is_left(
    store: DatabaseBackend, running: str
) -> None:
    asked = str(Jobs.push("trial.noop"))
    claim_all(store, "default")
    Jobs.cancel(asked)
    refs = Jobs.push_many("trial.noop", [None] * 1200)
    ran = run("jobs_cancel", "--all", "--no-input", "--json")
    assert sorted(ran.json["cancelled"]) == sorted(map(str, refs))
    assert ran.json["requested"] == [running]
    assert run("jobs_cancel", "--all", "--no-input").out == "Cancelled 0 jobs.\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give ids of jobs, a filter or --all"),
        ([str(uuid.uuid4()), "--all"], "not both"),
        (["--state", "completed", "--no-input"], "'completed' is not a state"),
        (["--state", "cancel_requested", "--no-input"], "'cancel_requested' is not a state"),
        (["7"], "id: '7'"),
        (["--all", "--no-input", "--reason", "x" * 9000], "reason: 9000 characters are too many"),
    ],
)
def test_what_is_refused_before_anything_is_cancelled(store: DatabaseBackend, arguments: list[str], says: str) -> None:
    job = str(Jobs.push("trial.noop"))
    ran = run("jobs_cancel", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert state(job) == "pending"


def test_without_a_terminal_it_asks_for_the_flag(store: DatabaseBackend) -> None:
    job = str(Jobs.push("trial.noop"))
    ran = manage(store.database, "jobs_cancel", "--all")
    assert (ran.returncode, "--no-input" in ran.stderr) == (2, True)
    assert state(job) == "pending"


def test_the_question_is_answered(store: DatabaseBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    job = str(Jobs.push("trial.noop"))
    asked: list[str] = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer, becomes in (("n", "pending"), ("y", "cancelled")):
        monkeypatch.setattr("builtins.input", lambda text, answer=answer: asked.append(text) or answer)
        assert run("jobs_cancel", "--all").code == (1 if becomes == "pending" else 0)
        assert state(job) == becomes
    assert asked == ["Cancel 1 job? [y/N] "] * 2


def test_a_backend_that_cannot_cancel_says_so(store: DatabaseBackend, settings: Any) -> None:
    settings.JOBS_BACKENDS = {
        "default": {"BACKEND": "django_jobs.backends.database.DatabaseBackend"},
        "sync": {"BACKEND": "django_jobs.backends.sync.SyncBackend"},
    }
    ran = run("jobs_cancel", str(uuid.uuid4()), "--backend", "sync")
    assert (ran.code, "can't cancel jobs" in ran.err) == (1, True)


class Undoable(JobHandler):
    """Its cancel handler fails."""

    def handle(self, ctx: Any) -> None:
        return None

    def undo(self, job: Any, reason: str) -> None:
        raise ValueError(f"can't undo: {reason}")


def test_a_cancel_handler_that_fails_stops_nothing_and_is_in_the_timeline(
    store: DatabaseBackend, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.JOBS = {"unit.undoable": f"{__name__}.Undoable"}
    waiting, running = (Jobs.define("unit.undoable").on_cancel("undo").dispatch() for _ in range(2))
    worker = str(uuid.uuid4())
    store.register(WorkerInfo(worker, "host.test", 4711, ["default"]), 3600)
    assert store.claim_job(running, worker)
    assert (waiting.cancel("no"), running.cancel("no")) == ("cancelled", "requested")
    events = JobEvent.objects.using(store.database).filter(type="cancel_handler_failed")
    assert {(str(e.job_id), e.message) for e in events} == {(ref, "can't undo: no") for ref in (waiting, running)}
