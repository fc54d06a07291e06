"""`jobs_delete`, on every database: by id, by filter, and what it leaves alone."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from django_jobs.maintenance.delete import delete_selected
from django_jobs.maintenance.selection import Selection
from django_jobs.maintenance.states import EVERY, LIVE, state_meant
from django_jobs.models import CompletedJob, FailedJob, Job

from .conftest import claim_all, work_off
from .test_commands import Failed, manage, run


@pytest.fixture
def store(jobs_on: DatabaseBackend) -> DatabaseBackend:
    return jobs_on


def left(store: DatabaseBackend) -> set[str]:
    """The ids of all jobs that are stored."""
    return {
        str(pk)
        for model in (Job, CompletedJob, FailedJob)
        for pk in model._default_manager.using(store.database).values_list("pk", flat=True)
    }


@pytest.fixture
def one_of_each(store: DatabaseBackend, failed: Failed) -> dict[str, str]:
    """A job in each state, by the state."""
    jobs = {"failed": failed()}
    jobs["completed"] = str(Jobs.push("trial.noop"))
    jobs["retry_wait"] = str(Jobs.push("trial.flaky", {"good": 2, "after": 60}))
    work_off(store)
    jobs["running"] = str(Jobs.push("trial.noop"))
    jobs["cancel_requested"] = str(Jobs.push("trial.noop"))
    claim_all(store, "default")
    Jobs.cancel(jobs["cancel_requested"])
    jobs["cancelled"] = str(Jobs.push("trial.noop"))
    Jobs.cancel(jobs["cancelled"])
    jobs["scheduled"] = str(Jobs.push("trial.noop", delay=60))
    jobs["pending"] = str(Jobs.push("trial.noop"))
    return jobs


# -- by id ----------------------------------------------------------------------------------------------------------


def test_jobs_are_deleted_by_their_ids_wherever_they_are(store: DatabaseBackend, one_of_each: dict[str, str]) -> None:
    gone = [job for state, job in one_of_each.items() if state not in ("running", "cancel_requested")]
    ran = run("jobs_delete", *gone)
    assert (ran.code, ran.out) == (0, "Deleted 6 jobs.\n")
    assert left(store) == {one_of_each["running"], one_of_each["cancel_requested"]}


def test_a_running_job_is_deleted_only_by_force(store: DatabaseBackend, one_of_each: dict[str, str]) -> None:
    for state in ("running", "cancel_requested"):
        job = one_of_each[state]
        for dry_run in ([], ["--dry-run"]):
            ran = run("jobs_delete", job, *dry_run)
            assert ran.code == 1
            assert "1 job is running, and is left" in ran.err
        assert job in left(store)
        assert run("jobs_delete", job, "--force").code == 0
        assert job not in left(store)


def test_an_id_that_is_no_jobs_is_told_and_the_others_go(store: DatabaseBackend) -> None:
    job, missing = Jobs.push("trial.noop"), str(uuid.uuid4())
    ran = run("jobs_delete", missing, job, "--json")
    assert ran.code == 1
    assert ran.json == {
        "dry_run": False,
        "deleted": {"pending": 1},
        "total": 1,
        "running": 0,
        "not_found": [missing],
    }
    assert f"No job has the id {missing}." in ran.err
    assert left(store) == set()


def test_a_backend_without_a_database_takes_ids_alone(settings: Any) -> None:
    settings.JOBS_BACKENDS = {"default": {"BACKEND": "django_jobs.backends.memory.MemoryBackend"}}
    job = Jobs.push("trial.noop")
    assert run("jobs_delete", "--all", "--no-input").code == 1
    assert run("jobs_delete", job).out == "Deleted 1 job.\n"
    assert Jobs.backend().get(job) is None


# -- by filter --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [state for state in EVERY if state not in ("blocked", "expired", "corrupt")])
def test_each_state_by_itself(store: DatabaseBackend, one_of_each: dict[str, str], state: str) -> None:
    here = one_of_each.get("failed" if state == "dead" else state)
    expected = {job for job in one_of_each.values() if job != here}
    assert run("jobs_delete", "--state", state, "--force", "--no-input").code == 0
    assert left(store) == expected


def test_all_but_what_runs(store: DatabaseBackend, one_of_each: dict[str, str]) -> None:
    ran = run("jobs_delete", "--all", "--dry-run")
    assert ran.out == "Would delete 6 jobs.\n"
    assert len(left(store)) == 8
    ran = run("jobs_delete", "--all", "--no-input", "--batch-size", "1", "--json")
    assert (ran.code, ran.json["total"], ran.json["running"]) == (0, 6, 2)
    assert "2 jobs are running, and are left" in ran.err
    assert left(store) == {one_of_each["running"], one_of_each["cancel_requested"]}
    assert run("jobs_delete", "--all", "--no-input", "--force").code == 0
    assert left(store) == set()


@pytest.mark.parametrize(
    ("flags", "others"),
    [
        (["--queue", "mail"], {"queue": "default"}),
        (["--handler", "trial.noop"], {"handler": "trial.Noop"}),
        (["--group", "50%"], {"group": "50x"}),
        (["--group", "night"], {"group": "Night"}),
        (["--tag", "red"], {"tags": " Red "}),
        (["--tag", "red"], {"tags": " infrared red-ish "}),
        (["--tag", "red"], {"tags": ""}),
    ],
)
def test_a_filter_means_exactly_what_it_says(store: DatabaseBackend, flags: list[str], others: dict[str, str]) -> None:
    meant = {"queue": "mail", "handler": "trial.noop", "group": flags[1], "tags": " blue red "}
    job, other = Jobs.push("trial.noop"), Jobs.push("trial.noop")
    rows = Job.objects.using(store.database)
    rows.filter(pk=job).update(**meant)
    rows.filter(pk=other).update(**{**meant, **others})
    assert run("jobs_delete", *flags, "--no-input").code == 0
    assert left(store) == {other}


def test_older_than_counts_from_the_end_of_a_job_or_from_its_enqueue(store: DatabaseBackend) -> None:
    old, new = Jobs.push("trial.noop"), Jobs.push("trial.noop")
    done_old, done_new = Jobs.push("trial.noop", queue="mail"), Jobs.push("trial.noop", queue="mail")
    work_off(store, "mail")
    week = timedelta(days=7)
    Job.objects.using(store.database).filter(pk=old).update(enqueued_at=F("enqueued_at") - week)
    finished = CompletedJob.objects.using(store.database)
    finished.filter(pk=done_old).update(finished_at=F("finished_at") - week)
    finished.filter(pk=done_new).update(enqueued_at=F("enqueued_at") - week)
    assert run("jobs_delete", "--older-than", "6d", "--no-input").out == "Deleted 2 jobs.\n"
    assert left(store) == {new, done_new}
    assert run("jobs_delete", "--older-than", "soon", "--no-input").code == 2


def test_progress_is_told_after_each_batch(store: DatabaseBackend) -> None:
    Jobs.push_many("trial.noop", range(7))
    seen: list[int] = []
    report = delete_selected(store, Selection(), batch_size=3, progress=seen.append)
    assert (report.deleted, seen) == ({"pending": 7}, [3, 6, 7])


# -- usage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give ids of jobs, a filter or --all"),
        ([str(uuid.uuid4()), "--all"], "not both"),
        (["--state", "running", "--no-input"], "only with --force"),
        (["--state", "in_progress", "--no-input"], "only with --force"),
        (["--state", "asleep", "--no-input"], "'asleep' is not a state"),
        (["7"], "id: '7'"),
    ],
)
def test_what_is_refused_before_anything_is_deleted(store: DatabaseBackend, arguments: list[str], says: str) -> None:
    job = Jobs.push("trial.noop")
    ran = run("jobs_delete", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert left(store) == {job}


def test_without_a_terminal_it_asks_for_the_flag(store: DatabaseBackend) -> None:
    job = Jobs.push("trial.noop")
    ran = manage(store.database, "jobs_delete", "--all")
    assert (ran.returncode, "--no-input" in ran.stderr) == (2, True)
    assert left(store) == {job}


def test_the_question_is_answered(store: DatabaseBackend, monkeypatch: Any) -> None:
    Jobs.push("trial.noop")
    asked: list[str] = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer, remain in (("n", 1), ("y", 0)):
        monkeypatch.setattr("builtins.input", lambda text, answer=answer: asked.append(text) or answer)
        assert run("jobs_delete", "--all").code == (1 if remain else 0)
        assert len(left(store)) == remain
    assert asked == ["Delete 1 job? [y/N] "] * 2


# -- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("completed", "completed"),
        ("success", "completed"),
        ("Done", "completed"),
        ("failed", "failed"),
        ("failure", "failed"),
        ("cancelled", "cancelled"),
        ("canceled", "cancelled"),
        ("cancel-requested", "cancel_requested"),
        ("request_cancelled", "cancel_requested"),
        ("request_canceled", "cancel_requested"),
        ("processing", "running"),
        ("in_progress", "running"),
        ("queued", "pending"),
        ("new", "pending"),
        ("retry_wait", "retry_wait"),
        ("timed_out", "timed_out"),
    ],
)
def test_the_words_for_states(word: str, state: str) -> None:
    assert state_meant(word) == state


def test_a_word_for_a_state_that_is_not_allowed_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"'done' is not a state\. Use one of: pending"):
        state_meant("done", LIVE)
