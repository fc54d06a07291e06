"""A log that goes to the database."""

from __future__ import annotations

import logging
from typing import Any

from django.db import connection

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"database": {"class": "tests.support.database_log.DatabaseLog"}},
    "loggers": {"django_jobs.runtime": {"handlers": ["database"], "level": "ERROR"}},
}


class DatabaseLog(logging.Handler):
    """Asks the database for something with each record."""

    def emit(self, record: logging.LogRecord) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s", [self.format(record)])
