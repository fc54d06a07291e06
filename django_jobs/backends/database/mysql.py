"""MySQL and MariaDB: READ COMMITTED, rows locked in the order of their keys, polling that adapts."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ...conf import conf
from ...definition import JobDefinition
from ..base import Wakeup
from .statements import INSERTED, Statements

ROWS_PER_INSERT = 200


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

    def enqueue(self, definitions: Sequence[JobDefinition]) -> None:
        fields = ", ".join(self.connection.ops.quote_name(column) for column in INSERTED)
        marks = ", ".join(["%s"] * len(INSERTED))
        due = f"COALESCE(%s, {self.later('%s')})"
        row = f"""({marks}, 0, 0, 0, '', FALSE, {self.now}, {due},
                   CASE WHEN {due} > {self.now} THEN 'scheduled' ELSE 'pending' END)"""
        head = f"""INSERT INTO {self.job}
                   ({fields}, attempt, crashes, claim_no, history, suspect, enqueued_at, available_at, state) VALUES """
        with self.connection.cursor() as cursor:
            for start in range(0, len(definitions), ROWS_PER_INSERT):
                some = definitions[start : start + ROWS_PER_INSERT]
                values = [value for d in some for value in (*self.row(d), *self.due(d), *self.due(d))]
                cursor.execute(head + ", ".join([row] * len(some)), values)

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
