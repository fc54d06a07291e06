"""Statements that a PostgreSQL server reads once for a connection, not each time they are run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import ref

from django.db.backends.base.base import BaseDatabaseWrapper

WORTH_IT = 5
"""How often statements of a connection are run as they are before anything is prepared."""


class Prepared:
    """Runs prepared statements, on connections that lead to one server process.

    A pooler such as PgBouncer may send the next transaction to a process that knows nothing of what was prepared. It
    gives itself away: the process that answers is not the one that greeted the client.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self._raw: Any = lambda: None
        self._kept: Any = None
        self._runs = 0
        self._direct = False
        self._plans_anew = False

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        """A cursor for one statement, which is read once and planned each time."""
        raw = self._connected()
        if not self._is_worth_it(raw, any_plan=False):
            with self.connection.cursor() as cursor:
                yield cursor
            return
        threshold = raw.prepare_threshold
        raw.prepare_threshold = 0  # Django sets None, so that it works behind a pooler
        try:
            with self._new_cursor(raw) as cursor:
                yield cursor
        finally:
            raw.prepare_threshold = threshold

    def execute(self, sql: str, params: Sequence[Any]) -> None:
        """Run a statement that answers nothing, and whose best plan depends neither on the parameters nor on how full
        the tables are.
        """
        raw = self._connected()
        if not self._is_worth_it(raw, any_plan=True):
            with self.connection.cursor() as cursor:
                cursor.execute(sql, params)
            return
        if self._kept is None:
            self._kept = self._new_cursor(raw)  # to make one takes as long as all else that is done here
        threshold = raw.prepare_threshold
        raw.prepare_threshold = 0
        try:
            self._kept.execute(sql, params)
        finally:
            raw.prepare_threshold = threshold

    def _connected(self) -> Any:
        self.connection.close_if_health_check_failed()  # as Django's own cursors do (CONN_HEALTH_CHECKS)
        self.connection.ensure_connection()
        return self.connection.connection

    def _new_cursor(self, raw: Any) -> Any:
        import psycopg

        plain: Any = psycopg.Cursor(raw)
        return self.connection.make_cursor(plain)

    def _is_worth_it(self, raw: Any, *, any_plan: bool) -> bool:
        if self.connection.queries_logged:
            return False
        if self._raw() is not raw:
            self._raw, self._runs, self._kept = ref(raw), 0, None
            self._direct = self._plans_anew = False
        self._runs += 1
        if self._runs == WORTH_IT:
            with self.connection.wrap_database_errors:
                (answering,) = raw.execute("SELECT pg_backend_pid()").fetchone()
            self._direct = answering == raw.pgconn.backend_pid
        if self._direct and not any_plan and not self._plans_anew and not self.connection.in_atomic_block:
            with self.connection.wrap_database_errors:
                # The plan that was made while a table was empty would be kept while it fills.
                raw.execute("SET plan_cache_mode = force_custom_plan")
            self._plans_anew = True
        return self._direct and (any_plan or self._plans_anew)
