"""`jobs_test` and `jobs_test_monitor`: jobs to try a worker out with, and the reaper."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from django_jobs import Jobs, registry
from django_jobs.backends.database import DatabaseBackend
from django_jobs.maintenance.canned import ALIASES, KINDS, OUTCOMES
from django_jobs.maintenance.stats import backlog
from django_jobs.maintenance.stuck import SHAPES
from django_jobs.models import CompletedJob, Job, Worker
from django_jobs.store import ago
from tests.support.worker import ROOT

from .conftest import work_off
from .test_commands import run

PAGE = (ROOT / "docs/how-to/try-out.md").read_text("utf-8")
BECOMES = {shape.name: shape.becomes for shape in SHAPES}


@pytest.fixture
def store(jobs_on: DatabaseBackend) -> DatabaseBackend:
    return jobs_on


def test_the_documentation_says_the_same() -> None:
    rows = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| `")]
    told = {row[0].strip("| `"): row[2] for row in rows}
    assert list(told) == [*KINDS, *BECOMES]
    for kind, (state, reason) in OUTCOMES.items():
        assert f"`{state}`" in told[kind]
        assert not reason or f"`{reason}`" in told[kind]
    for shape in SHAPES:
        assert f"`{shape.becomes}`" in told[shape.name]


def test_what_waits_is_counted_up_to_a_bound(store: DatabaseBackend) -> None:
    Jobs.dispatch_many([Jobs.define("trial.noop") for _ in range(7)])
    Jobs.push("trial.noop", queue="mail", delay=60)
    assert backlog(store, ["default", "mail"], 100) == {"default": 7, "mail": 0}
    assert backlog(store, ["default"], 5) == {"default": 5}


def states(jobs: list[dict[str, Any]]) -> dict[str, str]:
    return {job["shape"]: Jobs.get(job["id"]).state for job in jobs}


@pytest.mark.parametrize("command", [["jobs_test", "success"], ["jobs_test_monitor"]])
def test_where_debug_is_false_they_want_force(store: DatabaseBackend, settings: Any, command: list[str]) -> None:
    refused = run(*command)
    assert (refused.code, Job.objects.using(store.database).count()) == (1, 0)
    assert "--force" in refused.err
    settings.DEBUG = True
    assert run(*command).code == 0


def test_each_kind_is_enqueued_and_how_to_watch_is_said(store: DatabaseBackend) -> None:
    done = run("jobs_test", "all", "--force", "--count", "2", "--queue", "mail")
    assert done.code == 0, done.err
    assert "jobs_work mail --show=tui" in done.out
    assert [line.split()[0] for line in done.out.splitlines()[:10]] == [kind for kind in KINDS for _ in range(2)]
    assert Job.objects.using(store.database).filter(queue="mail", state="pending").count() == 8
    assert CompletedJob.objects.using(store.database).filter(state="cancelled").count() == 2


@pytest.mark.parametrize(("alias", "kind"), ALIASES.items())
def test_the_words_of_others_are_understood(store: DatabaseBackend, alias: str, kind: str) -> None:
    printed = run("jobs_test", alias, "--force", "--json").json
    assert [job["kind"] for job in printed["jobs"]] == [kind]


def test_without_a_worker_waiting_ends_in_vain(store: DatabaseBackend) -> None:
    waited = run("jobs_test", "success", "cancelled", "--force", "--wait", "0.1")
    assert waited.code == 1
    assert "Does a worker of the queue 'default' run?" in waited.err
    assert "should be: completed" in waited.out


def test_another_end_than_expected_is_a_failure(store: DatabaseBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_jobs.maintenance.canned.OUTCOMES", {"cancelled": ("completed", "")})
    assert run("jobs_test", "cancelled", "--force", "--wait").code == 1


def test_a_canned_job_is_known_to_workers_and_in_no_list(store: DatabaseBackend) -> None:
    run("jobs_test", "success", "failed", "--force")
    work_off(store)
    assert store.stats(["default"])[0].counts == {"completed": 1, "failed": 1}
    assert not [key for key in registry.handler_keys() if key.startswith("jobs_test")]


def test_the_reaper_resolves_each_shape_as_is_said(store: DatabaseBackend) -> None:
    bystander = Jobs.push("trial.noop")
    seeded = run("jobs_test_monitor", "--force", "--json").json["jobs"]
    assert [job["shape"] for job in seeded] == list(BECOMES)
    assert set(states(seeded).values()) == {"running", "cancel_requested"}
    assert run("jobs_reap", "default", "--json").json["total"] == len(BECOMES) - 1
    assert states(seeded) == {**BECOMES, "live-overdue": "running"}, "a lease that lasts is respected"
    overdue = Worker.objects.using(store.database).filter(lease_expires_at__gt=ago(store, 0))
    overdue.update(lease_expires_at=ago(store, 1))
    assert run("jobs_reap", "default", "--json").json["total"] == 1
    assert states(seeded) == BECOMES
    failed = Jobs.get(next(job["id"] for job in seeded if job["shape"] == "no-crashes-left"))
    assert failed.reason == "crashed"
    back = Job.objects.using(store.database).exclude(id=str(bystander))
    assert {(job.suspect, job.crashes) for job in back} == {(True, 0)}, "nothing is charged the first time"
    assert {job.attempt for job in back if "no-attempts-left" not in job.name} == {0}
    assert bystander.refresh().state == "pending"


def test_it_reaps_by_itself_and_says_what_each_became(store: DatabaseBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    overdue, *others = SHAPES
    monkeypatch.setattr("django_jobs.maintenance.stuck.SHAPES", (replace(overdue, lease_seconds=1.0), *others))
    done = run("jobs_test_monitor", "mail", "--force", "--reap")
    assert done.code == 0, done.err + done.out
    assert done.out.count("became pending") == 6
    assert "became failed crashed" in done.out
    assert "became cancelled" in done.out


def test_another_state_than_is_said_is_a_failure(store: DatabaseBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    from django_jobs.maintenance import stuck

    monkeypatch.setattr(stuck, "SHAPES", (stuck.Shape("dead-owner", "", "cancelled"),))
    done = run("jobs_test_monitor", "--force", "--reap")
    assert done.code == 1
    assert "should be cancelled" in done.out


def test_the_backend_is_that_of_the_queue(store: DatabaseBackend, settings: Any) -> None:
    own = {"BACKEND": "django_jobs.backends.database.DatabaseBackend", "OPTIONS": {"DATABASE": store.database}}
    settings.JOBS_BACKENDS = {
        "default": {"BACKEND": "django_jobs.backends.null.NullBackend"},
        "other": own,
    }
    settings.JOBS_QUEUES = {"default": {}, "mail": {"backend": "other"}}
    assert run("jobs_test", "success", "--force").code == 1
    assert run("jobs_test", "success", "--force", "--queue", "mail").code == 0
    assert run("jobs_test_monitor", "mail", "--force").code == 0
    assert {job.queue for job in Job.objects.using(store.database).all()} == {"mail"}


def test_a_backend_that_workers_do_not_see_is_told(settings: Any) -> None:
    settings.JOBS_BACKENDS = {"default": {"BACKEND": "django_jobs.backends.memory.MemoryBackend"}}
    for command in ("jobs_test", "success"), ("jobs_test_monitor",):
        assert run(*command, "--force").code == 1
