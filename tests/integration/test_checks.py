"""The checks that ask a server."""

from __future__ import annotations

from typing import Any

from django.core import checks
from django.db import connections

from django_jobs.backends.database import DatabaseBackend


def found(*databases: str) -> list[str | None]:
    tags = ["django_jobs", checks.Tags.database]
    ids = [message.id for message in checks.run_checks(tags=tags, databases=list(databases))]
    return [one for one in ids if str(one).startswith("django_jobs.")]


def test_the_test_databases_are_fit(jobs_on: DatabaseBackend) -> None:
    assert found(jobs_on.database) == []


def test_postgresql_that_does_not_wait_for_its_disk_is_a_warning(jobs_on: DatabaseBackend) -> None:
    connection = connections[jobs_on.database]
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
    try:
        assert found(jobs_on.database) == ["django_jobs.W012"]
        assert found() == [], "nobody may ask a server before its database is named"
    finally:
        connection.close()


def test_a_server_without_skip_locked_is_a_warning(jobs_on: DatabaseBackend, monkeypatch: Any) -> None:
    connection = connections[jobs_on.database]
    monkeypatch.setattr(connection.features, "has_select_for_update_skip_locked", False)
    assert found(jobs_on.database) == (["django_jobs.W011"] if connection.vendor == "mysql" else [])
