"""System checks of a database that keeps jobs. But for `check_server`, they read settings only: `check` runs before
`migrate`.
"""

from __future__ import annotations

from typing import Any

from django.core import checks
from django.db import connections

from ...findings import finding

LEAST_SQLITE_TIMEOUT = 5


def check_database(alias: str, database: str) -> list[checks.CheckMessage]:
    """What is wrong with `database` as the store of the backend `alias`."""
    where = f"JOBS_BACKENDS[{alias!r}]"
    if database not in connections.settings:
        known = ", ".join(connections.settings)
        return [
            finding(
                "E005",
                f"{where}: DATABASES has no {database!r}.",
                f"Set JOBS_DATABASE_ALIAS, or DATABASE in its OPTIONS, to one of: {known}.",
            )
        ]
    connection: Any = connections[database]
    if connection.vendor not in ("postgresql", "mysql", "sqlite"):
        return [finding("E006", f"{where}: {connection.display_name} can't keep jobs.")]
    options = connection.settings_dict.get("OPTIONS", {})
    if connection.vendor == "sqlite":
        return _check_sqlite(f"DATABASES[{database!r}]", options)
    if (
        connection.vendor == "mysql"
        and (options.get("isolation_level") or "read committed").lower() != "read committed"
    ):
        says = f"DATABASES[{database!r}] runs at {options['isolation_level']}, at which claims deadlock."
        return [finding("W003", says)]
    return []


def _check_sqlite(where: str, options: dict[str, Any]) -> list[checks.CheckMessage]:
    found = []
    if str(options.get("transaction_mode", "")).upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        says = "SQLite's transactions are deferred, so a worker and a web process can fail with 'database is locked'."
        found.append(finding("W001", f"{where}: {says}"))
    if "journal_mode" not in str(options.get("init_command", "")).lower():
        says = "without its write-ahead log, SQLite's readers and writers block each other."
        found.append(finding("W002", f"{where}: {says}"))
    timeout = options.get("timeout", LEAST_SQLITE_TIMEOUT)
    if isinstance(timeout, int | float) and timeout < LEAST_SQLITE_TIMEOUT:
        says = f"SQLite gives up after {timeout:g} seconds when somebody else writes."
        found.append(finding("W013", f"{where}: {says}"))
    return found


def check_server(database: str) -> list[checks.CheckMessage]:
    """What is wrong with the server behind `database`, which is asked."""
    connection = connections[database]
    found = []
    if connection.vendor == "mysql" and not connection.features.has_select_for_update_skip_locked:
        says = f"DATABASES[{database!r}] has no SKIP LOCKED, so that workers wait for each other's claims."
        found.append(finding("W011", says))
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SHOW synchronous_commit")
            if cursor.fetchone()[0] == "off":
                says = f"DATABASES[{database!r}] has synchronous_commit off: a crash loses jobs that were accepted."
                found.append(finding("W012", says))
    return found
