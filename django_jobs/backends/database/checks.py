"""System checks of a database that keeps jobs. They read settings only: `check` runs before `migrate`."""

from __future__ import annotations

from typing import Any

from django.core import checks
from django.db import connections


def check_database(alias: str, database: str) -> list[checks.CheckMessage]:
    """What is wrong with `database` as the store of the backend `alias`."""
    where = f"JOBS_BACKENDS[{alias!r}]"
    if database not in connections.settings:
        known = ", ".join(connections.settings)
        return [
            checks.Error(
                f"{where}: DATABASES has no {database!r}.",
                hint=f"Set JOBS_DATABASE_ALIAS, or DATABASE in its OPTIONS, to one of: {known}.",
                id="django_jobs.E005",
            )
        ]
    connection: Any = connections[database]
    if connection.vendor not in ("postgresql", "mysql", "sqlite"):
        return [
            checks.Error(
                f"{where}: {connection.display_name} can't keep jobs.",
                hint="Use PostgreSQL, MariaDB, MySQL or SQLite.",
                id="django_jobs.E006",
            )
        ]
    options = connection.settings_dict.get("OPTIONS", {})
    if connection.vendor == "sqlite":
        return _check_sqlite(database, options)
    if (
        connection.vendor == "mysql"
        and (options.get("isolation_level") or "read committed").lower() != "read committed"
    ):
        return [
            checks.Warning(
                f"DATABASES[{database!r}] runs at {options['isolation_level']}, at which claims deadlock.",
                hint="Take isolation_level out of its OPTIONS: Django's default is read committed.",
                id="django_jobs.W003",
            )
        ]
    return []


def _check_sqlite(database: str, options: dict[str, Any]) -> list[checks.CheckMessage]:
    found: list[checks.CheckMessage] = []
    if str(options.get("transaction_mode", "")).upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        found.append(
            checks.Warning(
                f"DATABASES[{database!r}]: SQLite's transactions are deferred, so a worker and a web process can "
                "fail with 'database is locked'.",
                hint='Add "transaction_mode": "IMMEDIATE" to its OPTIONS.',
                id="django_jobs.W001",
            )
        )
    if "journal_mode" not in str(options.get("init_command", "")).lower():
        found.append(
            checks.Warning(
                f"DATABASES[{database!r}]: without its write-ahead log, SQLite's readers and writers block each other.",
                hint='Add "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL" to its OPTIONS.',
                id="django_jobs.W002",
            )
        )
    return found
