"""Statements that a PostgreSQL server reads and plans once for a connection, not each time they are run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import ref

from django.db.backends.base.base import BaseDatabaseWrapper

WORTH_IT = 5
"""How often statements of a connection are run as they are before anything is prepared."""


class Prepared:
    """Cursors that prepare what they run, on connections that lead to one server process.

    A pooler such as PgBouncer may send the next transaction to a process that knows nothing of what was prepared. It
    gives itself away: the process that answers is not the one that greeted the client.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self._raw: Any = lambda: None
        self._runs = 0
        self._direct = False

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        """A cursor for a statement without a result, of which the best plan never depends on the parameters."""
        self.connection.ensure_connection()
        raw = self.connection.connection
        if self.connection.queries_logged or not self._is_worth_it(raw):
            with self.connection.cursor() as cursor:
                yield cursor
            return
        import psycopg

        plain: Any = psycopg.Cursor(raw)
        threshold = raw.prepare_threshold
        raw.prepare_threshold = 0  # Django sets None, so that it works behind a pooler
        try:
            with self.connection.make_cursor(plain) as cursor:
                yield cursor
        finally:
            raw.prepare_threshold = threshold

    def _is_worth_it(self, raw: Any) -> bool:
        if self._raw() is not raw:
            self._raw, self._runs, self._direct = ref(raw), 0, False
        self._runs += 1
        if self._runs == WORTH_IT:
            with self.connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                (answering,) = cursor.fetchone()
            self._direct = answering == raw.pgconn.backend_pid
        return self._direct
