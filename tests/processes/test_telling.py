"""What a real worker tells of its jobs: logs, timelines, signals, and what none of them may hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import FailedJob, JobEvent
from django_jobs.redaction import REDACTED
from tests.support.worker import worker

CANARY = "canary-hunter2"
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "django_jobs.logs.JSONFormatter"}},
    "filters": {"job": {"()": "django_jobs.logs.JobFilter"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["job"]}},
    "loggers": {"django_jobs": {"handlers": ["console"], "level": "DEBUG"}},
}


def log_lines(text: str) -> list[dict[str, Any]]:
    """The JSON lines among what a worker printed."""
    return [json.loads(line) for line in text.splitlines() if line.startswith('{"time"')]


@pytest.mark.parametrize("isolation", ["pool", "inline"])
def test_a_secret_reaches_nothing_but_the_payload(queue: DatabaseBackend, isolation: str) -> None:
    ref = Jobs.push("trial.indiscreet", {"password": CANARY})
    with worker(queue, "default", "--isolation", isolation, "--stop-when-empty", LOGGING=LOGGING) as w:
        assert w.wait() == 0, w.text
    failed = FailedJob.objects.using(queue.database).get(id=str(ref))
    assert CANARY in failed.envelope
    assert f"postgres://joe:{REDACTED}@db/shop" in failed.error_message
    events = list(JobEvent.objects.using(queue.database).order_by("id"))
    assert [event.data for event in events if event.type == "message"] == [{"token": REDACTED, "plain": "seen"}] * 2
    told = [w.text, failed.error_message, failed.traceback, failed.history, *(f"{e.message} {e.data}" for e in events)]
    assert [CANARY in text for text in told] == [False] * len(told)
    assert "RuntimeError: api_key: " in w.text


def test_the_log_follows_a_job_from_its_start_to_its_end(queue: DatabaseBackend) -> None:
    ref = Jobs.push("trial.indiscreet", {"password": CANARY})
    done = Jobs.push("trial.add", [1, 2])
    with worker(queue, "default", "--stop-when-empty", LOGGING=LOGGING) as w:
        assert w.wait() == 0, w.text
    said = log_lines(w.text)
    of_job = [line["message"].split()[0] for line in said if line.get("job_id") == str(ref)]
    assert of_job[:6] == ["START", "about", "REQUEUED", "START", "about", "DEAD"]
    assert {line["attempt"] for line in said if line.get("job_id") == str(ref)} == {1, 2}
    assert [line["event"] for line in said if line.get("job_id") == str(done) and "event" in line] == ["FINISHED"]
    of_worker = [line["message"].split()[0] for line in said if "worker_id" in line]
    assert of_worker == ["STARTED", "STOPPED"]


@pytest.mark.parametrize(
    ("wanted", "types"),
    [
        ("none", []),
        ("odd", ["message", "retried", "message", "failed"]),
        ("all", ["created", "fetched", "message", "retried", "fetched", "message", "failed"]),
    ],
)
def test_the_timeline_holds_what_the_site_wants(
    queue: DatabaseBackend, settings: Any, wanted: str, types: list[str]
) -> None:
    settings.JOBS_EVENTS = wanted
    ref = Jobs.push("trial.indiscreet", {"password": CANARY})
    with worker(queue, "default", "--stop-when-empty", JOBS_EVENTS=wanted) as w:
        assert w.wait() == 0, w.text
    events = JobEvent.objects.using(queue.database).filter(job_id=str(ref)).order_by("id")
    assert sorted(event.type for event in events) == sorted(types)
