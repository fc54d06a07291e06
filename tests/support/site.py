"""The test site as other processes see it."""

from __future__ import annotations

import os
from pathlib import Path

from django.db import connections

from .servers import Service

TABLES = (
    "django_jobs_job",
    "django_jobs_completedjob",
    "django_jobs_failedjob",
    "django_jobs_jobevent",
    "django_jobs_worker",
    "django_jobs_queue",
    "django_jobs_hold",
    "django_jobs_lock",
    "django_jobs_scheduleentry",
    "django_jobs_scheduletick",
)


def site_env(database: str, port: int | None = None) -> dict[str, str]:
    """The environment in which `manage.py` has the test database behind the alias `database` as its default one; with
    `port`, by way of a proxy that listens there.
    """
    connection = connections[database]
    name = str(connection.settings_dict["NAME"])
    env = {
        "TESTPROJECT_ALL_DATABASES": "0",
        "TESTPROJECT_DATABASE": connection.vendor,
        "TESTPROJECT_NAME": name,
    }
    if connection.vendor == "sqlite":
        file = Path(name)
        env |= {"TESTPROJECT_NAME": file.stem, "TESTPROJECT_VAR": str(file.parent)}
    else:
        given = connection.settings_dict
        service = Service(
            connection.vendor, given["HOST"], port or int(given["PORT"]), given["USER"], given["PASSWORD"]
        )
        env[f"JOBS_TEST_{connection.vendor.upper()}"] = service.url
    return {**os.environ, **env}


def empty_tables(database: str) -> None:
    """Delete every row of ours, in a transaction that commits."""
    connection = connections[database]
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"DELETE FROM {table}")
