"""`jobs_dispatch`: what is enqueued from the shell, and what is refused."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import CompletedJob, FailedJob, Job
from tests.support.site import site_env

from .conftest import work_off
from .test_commands import ROOT, run


@pytest.fixture
def store(jobs_on: DatabaseBackend) -> DatabaseBackend:
    return jobs_on


def live(store: DatabaseBackend) -> list[Any]:
    return list(Job.objects.using(store.database).order_by("id"))


def test_a_job_is_enqueued_and_its_id_printed(store: DatabaseBackend) -> None:
    ran = run("jobs_dispatch", "trial.noop", "--payload", '{"a": [1, null]}')
    assert (ran.code, ran.err) == (0, "")
    record = Jobs.get(ran.out.strip())
    assert record.definition is not None
    assert (record.state, record.handler, record.queue) == ("pending", "trial.noop", "default")
    assert (record.definition.payload, record.definition.source) == ({"a": [1, None]}, "cli")
    work_off(store)
    assert Jobs.get(ran.out.strip()).state == "completed"


def test_every_option_reaches_the_job(store: DatabaseBackend) -> None:
    job_id = str(uuid.uuid4())
    flags = ["--queue", "mail", "--priority", "-7", "--max-attempts", "4", "--timeout", "2m", "--id", job_id]
    labels = ["--name", "n", "--reference", "r", "--group", "g", "--tag", "red", "--tag", "blue"]
    ran = run("jobs_dispatch", "trial.noop", *flags, *labels, "--at", "2037-01-31T12:00:00+00:00", "--json")
    assert ran.json["ids"] == [job_id]
    record = Jobs.get(job_id)
    made = record.definition
    assert made is not None
    assert (record.state, record.queue, record.priority) == ("scheduled", "mail", -7)
    assert (made.max_attempts, made.timeout) == (4, 120)
    assert (made.name, made.reference, made.group, made.tags) == ("n", "r", "g", ("red", "blue"))
    assert record.available_at == datetime(2037, 1, 31, 12, tzinfo=UTC)
    assert run("jobs_dispatch", "trial.noop", "--id", job_id).code == 0
    assert len(live(store)) == 1


def test_no_timeout_is_a_value_of_its_own(store: DatabaseBackend) -> None:
    job = run("jobs_dispatch", "trial.noop", "--timeout", "none").out.strip()
    definition = Jobs.get(job).definition
    assert definition is not None
    assert definition.timeout is None


def test_many_alike(store: DatabaseBackend) -> None:
    ran = run("jobs_dispatch", "trial.noop", "--count", "2500", "--delay", "10m")
    assert sorted(ran.out.split()) == [str(job.id) for job in live(store)]
    assert len(set(ran.out.split())) == 2500
    refused = run("jobs_dispatch", "trial.noop", "--count", "2", "--id", str(uuid.uuid4()))
    assert refused.code == 2


def test_a_payload_from_a_file_or_from_standard_input(store: DatabaseBackend, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "payload.json").write_text('"from ☕ a file"', "utf-8")
    monkeypatch.setattr(sys, "stdin", io.StringIO("[1, 2]"))
    jobs = [
        run("jobs_dispatch", "trial.noop", "--payload", given).out.strip()
        for given in (f"@{tmp_path / 'payload.json'}", "-")
    ]
    definitions = [Jobs.get(job).definition for job in jobs]
    assert [d and d.payload for d in definitions] == ["from ☕ a file", [1, 2]]


def test_a_dry_run_checks_everything_and_stores_nothing(store: DatabaseBackend) -> None:
    ran = run("jobs_dispatch", "trial.noop", "--queue", "mail", "--count", "3", "--dry-run")
    assert ran.out == "Would enqueue 3 jobs of trial.noop on queue 'mail'.\n"
    ran = run("jobs_dispatch", "trial.noop", "--queue", "mail", "--dry-run", "--json")
    assert (ran.json["dry_run"], ran.json["ids"], ran.json["job"]["max_attempts"]) == (True, [], 3)
    assert run("jobs_dispatch", "trial.noop", "--dry-run", "--payload", '"' + "x" * 70_000 + '"').code == 2
    assert live(store) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no.such"], "'no.such'"),
        (["trial.noop", "--payload", "{"], "is not JSON"),
        (["trial.noop", "--payload", "[" * 100_000], "is not JSON"),
        (["trial.noop", "--payload", "NaN"], "payload"),
        (["trial.noop", "--payload", "@/no/such/file"], "can't be read"),
        (["trial.noop", "--delay", "soon"], "delay: 'soon' is not a duration"),
        (["trial.noop", "--delay", "1", "--at", "2037-01-01"], "--delay or --at"),
        (["trial.noop", "--at", "soon"], "ISO 8601"),
        (["trial.noop", "--priority", "101"], "priority"),
        (["trial.noop", "--priority", "high"], "--priority"),
        (["trial.noop", "--max-attempts", "0"], "max_attempts"),
        (["trial.noop", "--timeout", "0"], "timeout"),
        (["trial.noop", "--queue", "No Queue"], "queue"),
        (["trial.noop", "--id", "7"], "id: '7'"),
        (["trial.noop", "--tag", "two words"], "tag"),
        (["trial.noop", "--count", "0"], "--count"),
    ],
)
def test_bad_input_is_a_usage_error_that_says_what(store: DatabaseBackend, arguments: list[str], says: str) -> None:
    ran = run("jobs_dispatch", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert live(store) == []


def test_bad_input_is_one_sentence_on_a_terminal(store: DatabaseBackend) -> None:
    ran = subprocess.run(
        [sys.executable, "manage.py", "jobs_dispatch", "trial.noop", "--payload", "{"],
        cwd=ROOT,
        env=site_env(store.database),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)


def test_an_unknown_backend_is_a_thing_not_found(store: DatabaseBackend) -> None:
    ran = run("jobs_dispatch", "trial.noop", "--backend", "nowhere")
    assert (ran.code, "nowhere" in ran.err) == (1, True)


def test_run_here_and_now(store: DatabaseBackend) -> None:
    job = run("jobs_dispatch", "trial.noop", "--sync").out.strip()
    assert CompletedJob.objects.using(store.database).get().id == uuid.UUID(job)
    ran = run("jobs_dispatch", "trial.fail", "--sync")
    assert (ran.code, "this job fails" in ran.err) == (1, True)
    assert FailedJob.objects.using(store.database).get().source == "cli"
    assert live(store) == []


def test_it_can_be_called_from_code(store: DatabaseBackend) -> None:
    from django.core.management import call_command

    out = io.StringIO()
    call_command("jobs_dispatch", "trial.noop", payload=json.dumps({"a": 1}), queue="mail", stdout=out)
    assert Jobs.get(out.getvalue().strip()).queue == "mail"
