"""MySQL and MariaDB: READ COMMITTED, rows locked in the order of their keys, polling that adapts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any

from django.db import Error

from ...conf import conf
from ...definition import JobDefinition
from ...models import SHARED_COLUMNS
from ..base import Wakeup
from .statements import STILL_SECONDS, Statements, is_timed

ROWS_PER_INSERT = 200
ROWS_PER_COPY = 100


class MySQLStatements(Statements):
    """The statements for MySQL and MariaDB. NOW() would be in the session's time zone: UTC_TIMESTAMP is used."""

    now = "UTC_TIMESTAMP(6)"
    retryable = frozenset({1213, 1205})  # deadlock; the wait for a lock took too long
    insert_ignore = "INSERT IGNORE"  # for an id that is there already: everything else was bounded before it was stored
    on_conflict = ""

    def later(self, seconds: str) -> str:
        return f"{self.now} + INTERVAL ROUND({seconds} * 1000000) MICROSECOND"

    def epoch(self, column: str) -> str:
        return f"TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {column}) / 1e6"

    def wait_params(self, lease_seconds: float) -> dict[str, Any]:
        seconds = max(int(lease_seconds / 3), 1)
        return {"connect_timeout": seconds, "read_timeout": seconds, "write_timeout": seconds}

    def wait_settings(self, lease_seconds: float) -> str:
        return f"SET SESSION innodb_lock_wait_timeout = {max(int(lease_seconds / 10), 1)}"

    @contextmanager
    def brief_transaction(self) -> Iterator[Any]:
        connection: Any = self.connection
        if connection.in_atomic_block or not connection.mysql_is_mariadb:  # MySQL has no such setting
            with self.transaction() as cursor:
                yield cursor
            return
        with connection.cursor() as cursor:
            cursor.execute(f"SET SESSION idle_transaction_timeout = {STILL_SECONDS}")
        try:
            with self.transaction() as cursor:
                yield cursor
        finally:
            with suppress(Error), connection.cursor() as cursor:
                cursor.execute("SET SESSION idle_transaction_timeout = DEFAULT")

    def enqueue(self, definitions: Sequence[JobDefinition]) -> None:
        timed = any(map(is_timed, definitions))
        rows = list(self.rows(definitions, timed))
        with self.connection.cursor() as cursor:
            for start in range(0, len(rows), ROWS_PER_INSERT):
                some = rows[start : start + ROWS_PER_INSERT]
                values = ", ".join([self.values(timed)] * len(some))
                cursor.execute(f"{self.insert_job} VALUES {values}", [*chain.from_iterable(some)])

    def insert_completed(self, cursor: Any, rows: Sequence[tuple[Any, ...]]) -> None:
        for start in range(0, len(rows), ROWS_PER_COPY):
            self._copy_completed(cursor, rows[start : start + ROWS_PER_COPY])

    def _copy_completed(self, cursor: Any, rows: Sequence[tuple[Any, ...]]) -> None:
        # One statement for all of them. Their values are picked by the id, not joined from a list of constants: those
        # would have the collation of the connection, and MySQL refuses to compare them with a column of another one.
        history, state, result, seconds, for_ever, keep, ids, _ = zip(*rows, strict=True)
        some = ", ".join(["%s"] * len(ids))
        parameters: list[Any] = []

        def value(column: Sequence[Any]) -> str:
            if column.count(column[0]) == len(column):
                parameters.append(column[0])
                return "%s"
            parameters.extend([*ids, *column])
            return f"ELT(FIELD(j.id, {some}), {some})"

        shared = ", ".join(
            value(history) if column == "history" else f"j.{self.connection.ops.quote_name(column)}"
            for column in SHARED_COLUMNS
        )
        sql = f"""{self.insert_ignore} INTO {self.completed}
              ({self.shared}, state, result, run_seconds, finished_at, keep_until)
            SELECT {shared}, {value(state)}, {value(result)}, {value(seconds)}, {self.now},
                   CASE WHEN {value(for_ever)} = 1 THEN NULL ELSE {self.later(value(keep))} END
            FROM {self.job} j WHERE j.id IN ({some})"""
        cursor.execute(sql, [*parameters, *ids])

    def wakeup(self, queues: Sequence[str]) -> Wakeup:
        return AdaptivePolling()


class AdaptivePolling(Wakeup):
    """Polls 50 ms after work, then ever more rarely, up to `JOBS_POLL_INTERVAL`."""

    shortest = 0.05

    def __init__(self) -> None:
        self._step = self.shortest
        self._next_at = time.monotonic() + self._step

    @property
    def interval(self) -> float:  # type: ignore[override]
        return max(self._next_at - time.monotonic(), 0.0)

    def ready(self) -> bool:
        now = time.monotonic()
        if now < self._next_at:
            return False
        self._step = min(self._step * 1.25, conf.poll_interval)
        self._next_at = now + self._step
        return True

    def worked(self) -> None:
        self._step = self.shortest
        self._next_at = time.monotonic() + self._step
