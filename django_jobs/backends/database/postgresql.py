"""PostgreSQL: SKIP LOCKED, one statement per claim and per settlement, LISTEN/NOTIFY."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import chain
from operator import itemgetter
from typing import Any

from django.db import Error, IntegrityError
from django.db.backends.base.base import BaseDatabaseWrapper

from ...conf import conf
from ...definition import JobDefinition
from ...logs import get_logger
from ...retry import Target
from ...runtime import Claim
from ...settlement import Settlement
from ..base import Settled, Wakeup
from .arrays import array, plain_array
from .completion import Completion
from .marks import Marks, Stretch
from .meanwhile import acting
from .prepared import Prepared
from .statements import INSERTED, STILL_SECONDS, Statements, is_timed

logger = get_logger("backends.database")

_place = itemgetter(1, 0, 2)
"""The rank, due time and id of what a claim answers."""
NOTIFY_INTERVAL = 0.010
ECHO_SECONDS = 0.015
UNQUOTED = ("id", "signature")
"""Columns with nothing in them that an array would have to quote."""
MOST_NOTIFIED = 1000


class PostgreSQLStatements(Statements):
    """The statements for PostgreSQL. `now()` would be the start of the caller's transaction: the statement's start is
    used.
    """

    now = "statement_timestamp()"

    def __init__(self, connection: BaseDatabaseWrapper, options: dict[str, Any]) -> None:
        super().__init__(connection, options)
        self._marks: defaultdict[str, Marks] = defaultdict(Marks)
        self._prepared = Prepared(connection)

    def moment(self, when: datetime) -> Any:
        return when

    def later(self, seconds: str) -> str:
        return f"{self.now} + {seconds} * interval '1 second'"

    def epoch(self, column: str) -> str:
        return f"date_part('epoch', {column})"  # of float8 all the way: extract() is of numeric, and slower

    def is_retryable(self, error: Exception) -> bool:
        return getattr(error.__cause__, "sqlstate", None) in ("40001", "40P01", "55P03")

    @contextmanager
    def brief_transaction(self) -> Iterator[Any]:
        own = not self.connection.in_atomic_block
        with self.transaction() as cursor:
            if own:
                cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{STILL_SECONDS}s'")
            yield cursor

    @contextmanager
    def meanwhile(self, fileno: int, act: Callable[[], object]) -> Iterator[bool]:
        self.connection.ensure_connection()
        with acting(self.connection.connection, fileno, act):
            yield True

    @contextmanager
    def pipeline(self) -> Iterator[None]:
        # The client seals the next rows while the server stores the last ones.
        import psycopg

        if not psycopg.Pipeline.is_supported():
            yield
            return
        self.connection.ensure_connection()
        with self.connection.wrap_database_errors, self.connection.connection.pipeline():
            yield

    def wait_params(self, lease_seconds: float) -> dict[str, Any]:
        seconds = max(int(lease_seconds / 3), 1)
        return {
            "connect_timeout": max(seconds, 2),
            "tcp_user_timeout": seconds * 1000,
            "keepalives_idle": seconds,
            "keepalives_interval": max(seconds // 3, 1),
            "keepalives_count": 3,
        }

    def wait_settings(self, lease_seconds: float) -> str:
        if self.options.get("LISTEN", True) is False:
            return ""  # a pooler hands the session to others: lock_timeout is to be set for the role
        lock, statement = int(lease_seconds * 100), int(lease_seconds * 1000 / 3)
        return f"SET lock_timeout = {lock}; SET statement_timeout = {statement}"

    def enqueue(self, definitions: Sequence[JobDefinition]) -> None:
        timed = any(map(is_timed, definitions))
        rows = list(self.rows(definitions, timed))
        if len(rows) == 1:
            self._prepared.execute(f"{self.insert_job} VALUES {self.values(timed)}", rows[0])
            return
        each: dict[str, str] = {}
        alike: dict[str, Any] = {}  # what they all share is sent once
        fields = {**INSERTED, "due_at": "timestamptz", "delay": "float8"} if timed else INSERTED
        for name, values in zip(fields, zip(*rows, strict=True), strict=False):
            if values.count(values[0]) == len(values):
                alike[name] = values[0]
            else:
                each[name] = (plain_array if name in UNQUOTED else array)(values)
        due, state = self.now, "'pending'"
        if timed:
            due = f"COALESCE(t.due_at, {self.later('t.delay')})"
            state = f"CASE WHEN {due} > {self.now} THEN 'scheduled' ELSE 'pending' END"
        shared = "".join(f", %s::{fields[name]} AS {name}" for name in alike)
        arrays = ", ".join(f"%s::{fields[name]}[]" for name in each)
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"""{self.insert_job}
                    SELECT {", ".join(f"t.{name}" for name in INSERTED)}, 0, 0, 0, '', FALSE, {self.now}, {due}, {state}
                    FROM (SELECT each.*{shared} FROM unnest({arrays}) AS each({", ".join(each)})) AS t""",
                [*alike.values(), *each.values()],
            )

    def claim(self, queue: str, worker_id: str, limit: int, suspect: bool) -> list[Claim]:
        marks = self._marks[queue]
        stretches = [] if suspect else marks.stretches()
        picked, params = self.picked(queue, worker_id, limit, suspect, stretches)
        started = time.monotonic()
        with self._prepared.cursor() as cursor:
            cursor.execute(
                f"""
                WITH picked AS ({picked})
                UPDATE {self.job} j SET {self.claimed("j.")}
                WHERE j.id = ANY(ARRAY(SELECT id FROM picked))
                RETURNING {self.epoch("j.available_at")}, j.rank, j.id::text, j.handler, j.claim_no, j.attempt,
                    j.crashes, j.envelope, j.signature, j.history, {self.epoch("j.enqueued_at")},
                    {self.epoch(self.now)}""",
                [*params, worker_id],
            )
            rows = cursor.fetchall()
        if stretches and not rows:
            marks.forget()
            return self.claim(queue, worker_id, limit, suspect)
        rows.sort(key=_place)  # by the server it would cost a copy of every row
        if not suspect:
            marks.claimed(map(_place, rows))
            if not stretches:
                marks.looked_everywhere(time.monotonic() - started)
        return [
            Claim(uid, queue, handler, worker_id, claim_no, attempt, crashes, suspect, *rest)
            for _, _, uid, handler, claim_no, attempt, crashes, *rest in rows
        ]

    def forget_marks(self) -> None:
        """Some rows may now lie before the marks."""
        for marks in self._marks.values():
            marks.forget()

    def picked(
        self, queue: str, worker_id: str, limit: int, suspect: bool, stretches: Sequence[Stretch]
    ) -> tuple[str, list[Any]]:
        """SQL that picks and locks what to claim, with its parameters: of the whole queue, or of some stretches."""
        pick = f"""SELECT j.id FROM {self.job} j
            WHERE j.queue = %s AND j.state = 'pending' AND j.suspect = {suspect!s} {self.countable}
              AND {self.may_claim()}"""
        order = "ORDER BY j.rank, j.available_at, j.id LIMIT %s FOR UPDATE OF j SKIP LOCKED"
        params = [queue, worker_id, queue, limit]
        if not stretches:
            return f"{pick} {order}", params
        parts = ", ".join(["(CAST(%s AS smallint), to_timestamp(%s), %s::uuid, %s::smallint)"] * len(stretches))
        sql = f"""SELECT j.id FROM (VALUES {parts}) AS part(low, since, after, high) CROSS JOIN LATERAL (
            {pick} AND (j.rank, j.available_at, j.id) >= (part.low, part.since, part.after) AND j.rank <= part.high
            {order}) j LIMIT %s"""
        return sql, [*chain.from_iterable(stretches), *params, limit]

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        plain = [s for s in settlements if s.transition.target is Target.COMPLETED]
        if len(plain) == len(settlements):
            return self.complete(plain)
        self.forget_marks()  # what is given back keeps its place in the line
        others = [s for s in settlements if s.transition.target is not Target.COMPLETED]
        if not plain:
            return super().settle(others)
        # All or none, as a deadlock is tried again: a second try would find lost what the first one had settled.
        with self.transaction() as cursor:
            ids = [s.claim.id for s in settlements]
            cursor.execute(f"SELECT 1 FROM {self.job} WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE", [ids])
            answers = dict(zip(map(id, plain), self.complete(plain), strict=True))
            answers |= zip(map(id, others), super().settle(others), strict=True)
        return [answers[id(s)] for s in settlements]

    def complete(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """Move completed jobs in one statement; a cancel that was asked for makes them cancelled."""
        if not self.connection.in_atomic_block:
            try:
                return self._complete(Completion(self, settlements))
            except IntegrityError:
                logger.warning("a job that is to be completed is among the completed ones already")
        return self._complete(Completion(self, settlements, "ON CONFLICT (id) DO NOTHING"))

    def _complete(self, completion: Completion) -> list[Settled]:
        with self._prepared.cursor() as cursor:
            cursor.execute(completion.sql, completion.params)
            return completion.answers(cursor.fetchone())

    def promote(self, limit: int) -> int:
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"""
                WITH due AS (
                    SELECT id FROM {self.job} WHERE state = 'scheduled' AND available_at <= {self.now}
                    ORDER BY available_at LIMIT %s FOR UPDATE SKIP LOCKED
                )
                UPDATE {self.job} j SET state = 'pending' FROM due WHERE j.id = due.id""",
                [limit],
            )
            promoted = int(cursor.rowcount)
        if promoted:
            self.forget_marks()
        return promoted

    # -- waking up ------------------------------------------------------------------------------------------------

    _notified: dict[str, float] = {}

    def notify(self, queues: set[str]) -> None:
        for queue in queues:
            self._tell(queue, "")

    def notify_of_cancel(self, queue: str, worker_id: str) -> None:
        self._tell(queue, worker_id)

    def _tell(self, queue: str, worker_id: str) -> None:
        """Notify the workers of a queue: of new jobs, or one of them of a cancel."""
        now, kind = time.monotonic(), f"{queue} {worker_id}"
        if self.options.get("LISTEN", True) is False or now - self._notified.get(kind, 0.0) < NOTIFY_INTERVAL:
            return
        try:
            with self.connection.cursor() as cursor:
                # In a statement of its own, after the commit: inside the enqueue's transaction a NOTIFY takes a lock
                # on the whole database until its fsync is done. It needs no fsync itself: it is a hint.
                cursor.execute(
                    "SELECT set_config('synchronous_commit', 'off', true), pg_notify(%s, %s)",
                    [channel(queue), worker_id],
                )
            if len(self._notified) >= MOST_NOTIFIED:
                self._notified.clear()
            self._notified[kind] = now
        except Error:
            logger.warning("could not notify workers; they will find out when they poll", exc_info=True)

    def wakeup(self, queues: Sequence[str]) -> Wakeup:
        if self.options.get("LISTEN", True) is False:
            return Wakeup()
        return ListenWakeup(self.connection, queues)


def channel(queue: str) -> str:
    """The name of a queue's channel. PostgreSQL cuts names at 63 bytes, so a long one ends in its hash."""
    name = f"jobs_{queue}"
    return name if len(name) <= 63 else f"jobs_{hashlib.sha256(queue.encode()).hexdigest()[:40]}"


class ListenWakeup(Wakeup):
    """LISTEN on a connection of its own. Where it breaks, polling carries on, and it is opened again.

    Enqueuers notify at most once in 10 ms, so a wake-up may stand for jobs that are not committed yet: `ready()`
    answers True once more 15 ms after the last wake-up or claim.
    """

    def __init__(self, connection: Any, queues: Sequence[str]) -> None:
        self._wrapper = connection
        self._channels = [channel(queue) for queue in queues]
        self._raw: Any = None
        self._echo_at: float | None = None
        self._notified = False
        self._cancels: set[str] = set()
        self._retry_at = 0.0
        self._ping_at = 0.0
        self._asked = False
        self._open()

    @property
    def interval(self) -> float:  # type: ignore[override]
        if self._echo_at is None:
            return conf.poll_interval
        return min(max(self._echo_at - time.monotonic(), 0.0), conf.poll_interval)

    def fileno(self) -> int | None:
        return None if self._raw is None else int(self._raw.fileno())

    def ready(self) -> bool:
        now = time.monotonic()
        self._take_in(now)
        if self._notified:
            self._notified = False
            self._echo_at = now + ECHO_SECONDS
            return True
        if self._echo_at is not None and now >= self._echo_at:
            self._echo_at = None
            return True
        return False

    def cancels(self, worker_id: str) -> bool:
        self._take_in(time.monotonic())
        told = worker_id in self._cancels
        self._cancels.clear()
        return told

    def _take_in(self, now: float) -> None:
        """Take in what was notified: of jobs without a payload, of a cancel with the id of the worker."""
        if self._raw is None and now >= self._retry_at:
            self._open()
        if self._raw is not None:
            try:
                self._raw.pgconn.consume_input()
                self._ping(now)
                while (notification := self._raw.pgconn.notifies()) is not None:
                    if notification.extra:
                        self._cancels.add(notification.extra.decode())
                    else:
                        self._notified = True
            except Exception:
                logger.warning("the LISTEN connection broke; polling carries on until it is back")
                self.close()
                self._retry_at = now + conf.poll_interval

    def _ping(self, now: float) -> None:
        """Ask for a sign of life now and then: a network may have swallowed the connection without a word."""
        pgconn = self._raw.pgconn
        while self._asked and not pgconn.is_busy():
            self._asked = pgconn.get_result() is not None
        if now < self._ping_at:
            return
        if self._asked:
            raise OSError("the LISTEN connection gives no sign of life")
        pgconn.send_query(b"SELECT 1")
        pgconn.flush()
        self._asked, self._ping_at = True, now + conf.heartbeat_interval

    def worked(self) -> None:
        self._echo_at = time.monotonic() + ECHO_SECONDS

    def close(self) -> None:
        if self._raw is not None:
            try:
                self._raw.close()
            except Exception:
                logger.debug("closing the LISTEN connection failed", exc_info=True)
            self._raw = None

    def _open(self) -> None:
        from psycopg import sql

        try:
            params = {**self._wrapper.get_connection_params(), "keepalives_idle": 10, "keepalives_interval": 5}
            self._raw = self._wrapper.get_new_connection(params)
            self._raw.autocommit = True
            self._asked, self._ping_at = False, time.monotonic() + conf.heartbeat_interval
            for name in self._channels:
                self._raw.execute(sql.SQL("LISTEN {}").format(sql.Identifier(name)))
        except Exception:
            logger.warning("could not LISTEN; polling carries on", exc_info=True)
            self.close()
            self._retry_at = time.monotonic() + 5.0
