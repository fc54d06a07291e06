"""What `jobs_work` refuses, and what it leaves out, before it starts."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from django_jobs.backends.database import DatabaseBackend

DATABASE = "django_jobs.backends.database.DatabaseBackend"
SYNC = "django_jobs.backends.sync.SyncBackend"


@pytest.mark.parametrize(
    ("command", "arguments", "says"),
    [
        ("jobs_work", ("--all", "mail"), "or give --all"),
        ("jobs_work", ("--all", "--fair"), "or give --all"),
        ("jobs_work", ("--all", "--once"), "name its queues"),
        ("jobs_work_all", ("--max", "3"), "name its queues"),
        ("jobs_work_all", ("--max-jobs", "3"), "name its queues"),
        ("jobs_work", ("here", "there"), "several backends"),
        ("jobs_work", ("here", "--background"), "--background needs --pidfile"),
        ("jobs_work", ("here", "--watch", "--pidfile", "x"), "--watch is for a terminal"),
    ],
)
def test_usage(jobs_on: DatabaseBackend, settings, command: str, arguments: tuple[str, ...], says: str) -> None:
    settings.JOBS_BACKENDS = {"default": {"BACKEND": DATABASE}, "other": {"BACKEND": DATABASE}}
    settings.JOBS_QUEUES = {"here": {}, "there": {"backend": "other"}}
    with pytest.raises(CommandError, match=says) as caught:
        call_command(command, *arguments)
    assert caught.value.returncode == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--max-workers", "1001"), "from 1 to 1000"),  # so many children are a slip
        (("--max-workers", "0"), "from 1 to 1000"),
        (("--max-time", "inf"), "'inf' is not a number from 0 to 1000000000"),
        (("--max-time", "nan"), "'nan' is not a number from 0"),
        (("--sleep", "0"), r"'0' is not a number from 0\.01"),
        (("--max-jobs", "ten"), "'ten' is not a whole number from 1"),
    ],
)
def test_numbers_have_bounds(jobs_on: DatabaseBackend, arguments: tuple[str, str], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        call_command("jobs_work", *arguments)


def test_queues_that_no_worker_can_serve_are_left_out_and_named(jobs_on: DatabaseBackend, settings, capsys) -> None:
    settings.JOBS_BACKENDS = {"default": {"BACKEND": DATABASE}, "now": {"BACKEND": SYNC}}
    settings.JOBS_QUEUES = {"cheap": {"backend": "now"}}
    with pytest.raises(CommandError, match="no queue to work on") as caught:
        call_command("jobs_work", "--all")
    assert caught.value.returncode == 1
    assert "the queue 'cheap' is left out" in capsys.readouterr().err


def test_a_worker_of_one_queue_works_on_its_backend(jobs_on: DatabaseBackend, settings) -> None:
    settings.JOBS_BACKENDS = {"default": {"BACKEND": DATABASE}, "now": {"BACKEND": SYNC}}
    settings.JOBS_QUEUES = {"default": {}, "cheap": {"backend": "now"}}
    with pytest.raises(CommandError, match="'now' keeps no jobs"):
        call_command("jobs_work", "cheap")


def test_what_watches_has_to_be_installed(jobs_on: DatabaseBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_jobs.management.commands.jobs_work.has_watchfiles", lambda: False)
    with pytest.raises(CommandError, match=r"pip install 'django-jobs-queue\[watch\]'") as caught:
        call_command("jobs_work", "--watch")
    assert caught.value.returncode == 1
