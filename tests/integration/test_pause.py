"""`jobs_pause` and `jobs_resume`."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import Queue


def call(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def paused(store: DatabaseBackend) -> set[str]:
    return set(Queue.objects.using(store.database).filter(paused=True).values_list("name", flat=True))


def test_queues_are_paused_and_resumed(jobs_on: DatabaseBackend) -> None:
    assert call("jobs_pause", "mail") == "Queue 'mail' is paused.\n"
    assert paused(jobs_on) == {"mail"}
    said = call("jobs_pause", "mail,default", "--queue", "census")
    assert said.splitlines() == [
        "Queue 'mail' was paused already.",
        "Queue 'default' is paused.",
        "Queue 'census' is paused.",
    ]
    assert call("jobs_resume", "mail") == "Queue 'mail' is resumed.\n"
    assert call("jobs_resume", "mail") == "Queue 'mail' was not paused.\n"
    assert paused(jobs_on) == {"default", "census"}


def test_all_are_those_that_are_configured_and_those_that_have_jobs(jobs_on: DatabaseBackend) -> None:
    Jobs.push("trial.noop", queue="odd")
    assert json.loads(call("jobs_pause", "--all", "--json")) == {
        "paused": True,
        "queues": [{"queue": name, "changed": True} for name in ("default", "mail", "census", "odd")],
    }
    assert paused(jobs_on) == {"default", "mail", "census", "odd"}
    answer = json.loads(call("jobs_resume", "--all", "--json"))
    assert all(entry["changed"] for entry in answer["queues"])
    assert paused(jobs_on) == set()


@pytest.mark.parametrize("command", ["jobs_pause", "jobs_resume"])
def test_a_queue_that_there_is_not_is_an_error_and_nothing_is_changed(jobs_on: DatabaseBackend, command: str) -> None:
    with pytest.raises(CommandError, match="There is no queue 'mial'") as caught:
        call(command, "mail", "mial")
    assert caught.value.returncode == 1
    assert paused(jobs_on) == set()


@pytest.mark.parametrize("arguments", [(), ("mail", "--all")])
def test_what_is_meant_has_to_be_said(jobs_on: DatabaseBackend, arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="Name queues, or give --all") as caught:
        call("jobs_pause", *arguments)
    assert caught.value.returncode == 2


def test_a_backend_that_keeps_nothing_has_nothing_to_pause(jobs_on: DatabaseBackend, settings) -> None:
    settings.JOBS_BACKENDS = {"default": {"BACKEND": "django_jobs.backends.sync.SyncBackend"}}
    with pytest.raises(CommandError, match="keeps no jobs"):
        call("jobs_pause", "mail")


def test_each_queue_is_paused_where_it_is_kept(jobs_on: DatabaseBackend, settings) -> None:
    kind = "django_jobs.backends.memory.MemoryBackend"
    database = {"BACKEND": "django_jobs.backends.database.DatabaseBackend"}
    sync = {"BACKEND": "django_jobs.backends.sync.SyncBackend"}
    settings.JOBS_BACKENDS = {"default": database, "other": {"BACKEND": kind}, "now": sync}
    settings.JOBS_QUEUES = {"mail": {}, "far": {"backend": "other"}, "cheap": {"backend": "now"}}
    call("jobs_pause", "mail", "far")
    assert paused(jobs_on) == {"mail"}
    assert Jobs.backend("other").paused_queues(["mail", "far"]) == {"far"}
    call("jobs_resume", "--all")
    assert (paused(jobs_on), Jobs.backend("other").paused_queues(["far"])) == (set(), set())
