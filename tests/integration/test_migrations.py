"""The migrations go up and down on every database, and none is missing."""

from __future__ import annotations

import uuid
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from tests.support.site import TABLES

EVERY_COMMAND = [
    *(["jobs_stats"], ["jobs_reap"], ["jobs_cleanup"], ["jobs_retry", "--all"], ["jobs_delete", "--all", "--no-input"]),
    *(["jobs_cancel", "--all", "--no-input"],),
    *(["jobs_dispatch", "trial.noop"], ["jobs_run_job", str(uuid.uuid4())], ["jobs_work", "--once"]),
]


def told_by(*command: str) -> str:
    """What a command that fails says."""
    with pytest.raises(CommandError) as failure:
        call_command(*command, stdout=StringIO(), stderr=StringIO())
    assert failure.value.returncode == 1
    return str(failure.value)


def test_the_tables_come_and_go_and_come_again(jobs_on: DatabaseBackend) -> None:
    def tables() -> set[str]:
        return set(connections[jobs_on.database].introspection.table_names())

    assert set(TABLES) <= tables()
    try:
        call_command("migrate", "django_jobs", "zero", database=jobs_on.database, verbosity=0)
        assert not set(TABLES) & tables()
        assert "manage.py migrate" in jobs_on.not_ready()
        for command in EVERY_COMMAND:
            assert told_by(*command) == jobs_on.not_ready(), command
        call_command("migrate", "django_jobs", "0001", database=jobs_on.database, verbosity=0)
        assert "older than the code (0002" in told_by("jobs_work", "--once")
    finally:
        call_command("migrate", "django_jobs", database=jobs_on.database, verbosity=0)
    assert set(TABLES) <= tables()
    assert Jobs.push("trial.noop").refresh().state == "pending"


def test_no_migration_is_missing(jobs_on: DatabaseBackend) -> None:
    out = StringIO()
    call_command("makemigrations", "django_jobs", check=True, dry_run=True, stdout=out)
    assert "No changes" in out.getvalue()
