"""The migrations go up and down on every database, and none is missing."""

from __future__ import annotations

from io import StringIO

from django.core.management import call_command
from django.db import connections

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from tests.support.site import TABLES


def test_the_tables_come_and_go_and_come_again(jobs_on: DatabaseBackend) -> None:
    def tables() -> set[str]:
        return set(connections[jobs_on.database].introspection.table_names())

    assert set(TABLES) <= tables()
    try:
        call_command("migrate", "django_jobs", "zero", database=jobs_on.database, verbosity=0)
        assert not set(TABLES) & tables()
        assert "manage.py migrate" in jobs_on.not_ready()
    finally:
        call_command("migrate", "django_jobs", database=jobs_on.database, verbosity=0)
    assert set(TABLES) <= tables()
    assert Jobs.push("trial.noop").refresh().state == "pending"


def test_no_migration_is_missing(jobs_on: DatabaseBackend) -> None:
    out = StringIO()
    call_command("makemigrations", "django_jobs", check=True, dry_run=True, stdout=out)
    assert "No changes" in out.getvalue()
