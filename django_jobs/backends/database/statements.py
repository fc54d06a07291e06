"""The hot statements in their portable form. Each vendor's file overrides what it can do better.

Names in the SQL are constants of the models; every value is bound. `%%` is a percent sign.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ...definition import JobDefinition
from ...envelope import seal_many
from ...models import SHARED_COLUMNS, CompletedJob, FailedJob, Job, Queue, Worker
from ...retry import Target
from ...runtime import Claim, ErrorRecord
from ...settlement import Settlement
from ..base import Promotion, Settled, Wakeup, WorkerInfo

INSERTED = {
    "id": "uuid",
    "queue": "text",
    "handler": "text",
    "rank": "int",
    "max_attempts": "int",
    "name": "text",
    "reference": "text",
    "job_group": "text",
    "tags": "text",
    "source": "text",
    "envelope": "text",
    "signature": "text",
}
"""The columns that an enqueue fills in, with their types on PostgreSQL."""
HELD = "state IN ('running', 'cancel_requested')"
"""SQL for: a worker holds the job. In these very words, as they are the condition of the index of what is held."""
NOBODY = "00000000-0000-0000-0000-000000000000"
DEFAULT_KEEP_SECONDS = 7 * 24 * 3600.0
STILL_SECONDS = 10
"""How long a process may stand still in a brief transaction before it loses it."""


class Statements(ABC):
    """The statements over one connection. `now` is SQL for the store's clock, in UTC."""

    now: str
    retryable: frozenset[Any] = frozenset()

    def __init__(self, connection: BaseDatabaseWrapper, options: dict[str, Any]) -> None:
        self.connection = connection
        self.options = options
        quote = connection.ops.quote_name
        self.job = quote(Job._meta.db_table)
        self.completed = quote(CompletedJob._meta.db_table)
        self.failed = quote(FailedJob._meta.db_table)
        self.worker = quote(Worker._meta.db_table)
        self.queue = quote(Queue._meta.db_table)
        self.rank = quote("rank")
        self.shared = ", ".join(quote(column) for column in SHARED_COLUMNS)
        self.shared_of_job = ", ".join(f"j.{quote(column)}" for column in SHARED_COLUMNS)
        self.shared_with_history = ", ".join(
            "%s" if column == "history" else f"j.{quote(column)}" for column in SHARED_COLUMNS
        )

    # -- values, in and out -----------------------------------------------------------------------------------

    def uid(self, text: str) -> str:
        """A UUID as this vendor keeps it."""
        return text if self.connection.features.has_native_uuid_field else text.replace("-", "")

    def text_of(self, uid: Any) -> str:
        """The canonical text of a UUID as this vendor answers it."""
        text = str(uid)
        return text if "-" in text else f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def moment(self, when: datetime) -> Any:
        """A moment as a parameter."""
        return when.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")

    @abstractmethod
    def later(self, seconds: str) -> str:
        """SQL for `seconds` (an SQL expression) from now."""

    @abstractmethod
    def epoch(self, column: str) -> str:
        """SQL for a moment as seconds since 1970."""

    def bound_waits(self, lease_seconds: float) -> None:
        """Bound the waits of this process's next connections by `wait_params` and `wait_settings`."""
        wrapper: Any = self.connection
        owner, params, start = os.getpid(), wrapper.get_connection_params, wrapper.init_connection_state

        def get_connection_params() -> dict[str, Any]:
            given: dict[str, Any] = params()
            return {**self.wait_params(lease_seconds), **given} if os.getpid() == owner else given

        def init_connection_state() -> None:
            start()
            if os.getpid() == owner and (settings := self.wait_settings(lease_seconds)):
                with wrapper.cursor() as cursor:
                    cursor.execute(settings)

        wrapper.get_connection_params = get_connection_params
        wrapper.init_connection_state = init_connection_state

    def wait_params(self, lease_seconds: float) -> dict[str, Any]:
        """Parameters of a connection that bound what its client waits for. What the site has set goes before."""
        return {}

    def wait_settings(self, lease_seconds: float) -> str:
        """SQL for settings of a session that bound what its server waits for. Empty: none."""
        return ""

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """A cursor in a transaction that may write from its first statement on."""
        with transaction.atomic(using=self.connection.alias), self.connection.cursor() as cursor:
            yield cursor

    @contextmanager
    def brief_transaction(self) -> Iterator[Any]:
        """A transaction whose locks the server takes away, where it can, should this process stand still in it."""
        with self.transaction() as cursor:
            yield cursor

    def meanwhile(self, fileno: int, act: Callable[[], object]) -> AbstractContextManager[bool]:
        """While it is open, `act` is called each time that `fileno` can be read and the server has not answered yet,
        where the vendor can. Bound to whether it can.
        """
        return nullcontext(False)

    def pipeline(self) -> AbstractContextManager[Any]:
        """While it is open, statements that answer nothing need not wait for each other's end, where the vendor can."""
        return nullcontext()

    def is_retryable(self, error: Exception) -> bool:
        """Whether `error` is a deadlock or a lock's time-out, which leave nothing behind and may be tried again."""
        cause = error.__cause__ or error
        return bool(cause.args) and cause.args[0] in self.retryable

    # -- enqueue ------------------------------------------------------------------------------------------------

    def enqueue(self, definitions: Sequence[JobDefinition]) -> None:
        """Insert pending or scheduled jobs."""
        timed = any(map(is_timed, definitions))
        self.execute_many(f"{self.insert_job} VALUES {self.values(timed)}", list(self.rows(definitions, timed)))

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement for each row."""
        with self.connection.cursor() as cursor:
            cursor.executemany(sql, rows)

    @cached_property
    def insert_job(self) -> str:
        """SQL that inserts jobs, up to their VALUES."""
        fields = ", ".join(self.connection.ops.quote_name(column) for column in INSERTED)
        return f"""INSERT INTO {self.job}
            ({fields}, attempt, crashes, claim_no, history, suspect, enqueued_at, available_at, state)"""

    def values(self, timed: bool) -> str:
        """SQL for the VALUES of one job. Takes a row of `rows`."""
        due, state = self.now, "'pending'"
        if timed:
            due = f"COALESCE(%s, {self.later('%s')})"
            state = f"CASE WHEN {due} > {self.now} THEN 'scheduled' ELSE 'pending' END"
        return f"""({", ".join(["%s"] * len(INSERTED))}, 0, 0, 0, '', {self.false}, {self.now}, {due}, {state})"""

    def rows(self, definitions: Sequence[JobDefinition], timed: bool) -> Iterator[tuple[Any, ...]]:
        """Per definition, the values of the columns `INSERTED`, and with `timed` twice when it is due: a moment (or
        None), and a delay in seconds where there is none.
        """
        for d, sealed in zip(definitions, seal_many(definitions), strict=True):
            tags = f" {' '.join(d.tags)} " if d.tags else ""
            due = (None if d.available_at is None else self.moment(d.available_at), float(d.delay)) if timed else ()
            yield (
                *(self.uid(d.id or ""), d.queue, d.handler, -d.priority, d.max_attempts, d.name, d.reference),
                *(d.group, tags, d.source, sealed.body, sealed.signature, *due, *due),
            )

    false = "FALSE"
    true = "TRUE"

    countable = "AND j.claim_no < 2147483647 AND j.attempt < 2147483647"
    """A row whose counters somebody has set to their end would fail every claim of its queue."""

    def claimed(self, prefix: str = "") -> str:
        """SQL that a claim sets. Takes (worker id). A unique key that is taken until the start is free now."""
        return (
            f"state = 'running', worker_id = %s, claim_no = {prefix}claim_no + 1, attempt = {prefix}attempt + 1, "
            f"started_at = {self.now}, "
            f"unique_key = CASE WHEN substr({prefix}unique_key, 1, 1) = 's' THEN NULL ELSE {prefix}unique_key END"
        )

    # -- claim ------------------------------------------------------------------------------------------------

    def may_claim(self) -> str:
        """SQL for: the worker holds a lease, and the queue is not paused. Takes (worker id, queue)."""
        return f"{self.holds_lease()} AND {self.unpaused('%s')}"

    def holds_lease(self) -> str:
        """SQL for: the worker holds a lease. Takes (worker id)."""
        return (
            f"EXISTS (SELECT 1 FROM {self.worker} w WHERE w.id = %s AND w.state IN ('running', 'draining') "
            f"AND w.lease_expires_at > {self.now})"
        )

    def unpaused(self, queue: str) -> str:
        """SQL for: `queue` (an SQL expression) is not paused."""
        return f"NOT EXISTS (SELECT 1 FROM {self.queue} q WHERE q.name = {queue} AND q.paused)"

    def claimed_columns(self, prefix: str = "") -> str:
        """What a claim answers, in the order that `claim_of` takes."""
        return ", ".join(
            (
                *(f"{prefix}{c}" for c in ("id", "queue", "handler", "worker_id", "claim_no", "attempt", "crashes")),
                *(f"{prefix}{c}" for c in ("suspect", "envelope", "signature", "history")),
                self.epoch(f"{prefix}enqueued_at"),
                self.epoch(self.now),
            )
        )

    def claim_of(self, row: Sequence[Any]) -> Claim:
        """A claim from a row of `claimed_columns`."""
        uid, queue, handler, worker_id, claim_no, attempt, crashes, suspect, *rest = row
        return Claim(
            self.text_of(uid), queue, handler, self.text_of(worker_id), claim_no, attempt, crashes, bool(suspect), *rest
        )

    def claim(self, queue: str, worker_id: str, limit: int, suspect: bool) -> list[Claim]:
        """Lock the first rows, mark them, read them: three statements in a short transaction."""
        locked = (
            "FOR UPDATE SKIP LOCKED" if self.connection.features.has_select_for_update_skip_locked else "FOR UPDATE"
        )
        with self.transaction() as cursor:
            cursor.execute(
                f"""SELECT j.id FROM {self.job} j
                    WHERE j.queue = %s AND j.state = 'pending' AND j.suspect = {self.true if suspect else self.false}
                      {self.countable} AND {self.may_claim()}
                    ORDER BY j.{self.rank}, j.available_at, j.id LIMIT %s {locked}""",
                [queue, self.uid(worker_id), queue, limit],
            )
            return self.mark_claimed(cursor, [row[0] for row in cursor.fetchall()], worker_id)

    def claim_job(self, job_id: str, worker_id: str, force: bool) -> Claim | None:
        """Claim one job by its id. Every vendor does it so: nobody runs jobs by hand in a hurry."""
        due = (
            "j.state IN ('pending', 'scheduled')"
            if force
            else f"(j.state = 'pending' OR j.state = 'scheduled' AND j.available_at <= {self.now}) "
            f"AND {self.unpaused('j.queue')}"
        )
        with self.transaction() as cursor:
            cursor.execute(
                f"""SELECT j.id FROM {self.job} j
                    WHERE j.id = %s AND {self.holds_lease()} AND {due} {self.countable} {self.for_update}""",
                [self.uid(job_id), self.uid(worker_id)],
            )
            claims = self.mark_claimed(cursor, [row[0] for row in cursor.fetchall()], worker_id)
        return claims[0] if claims else None

    def mark_claimed(self, cursor: Any, ids: Sequence[Any], worker_id: str) -> list[Claim]:
        """Mark rows that the caller's transaction has locked; answers their claims, in order."""
        if not ids:
            return []
        ids = sorted(ids)
        chosen = f"id IN ({', '.join(['%s'] * len(ids))})"
        cursor.execute(
            f"UPDATE {self.job} SET {self.claimed()} WHERE {chosen}",
            [self.uid(worker_id), *ids],
        )
        cursor.execute(
            f"""SELECT {self.claimed_columns()} FROM {self.job} WHERE {chosen}
                ORDER BY {self.rank}, available_at, id""",
            ids,
        )
        return [self.claim_of(row) for row in cursor.fetchall()]

    # -- settle -----------------------------------------------------------------------------------------------

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """Write outcomes of different jobs in one transaction; answers, per settlement, what became of it."""
        by_id = {s.claim.id: s for s in settlements}
        ids = sorted(self.uid(job_id) for job_id in by_id)
        with self.transaction() as cursor:
            cursor.execute(
                f"""SELECT id, worker_id, claim_no, state FROM {self.job}
                    WHERE id IN ({", ".join(["%s"] * len(ids))}) ORDER BY id {self.for_update}""",
                ids,
            )
            held: list[tuple[Settlement, Target]] = []
            answers: dict[str, Settled] = {}
            for uid, worker_id, claim_no, state in cursor.fetchall():
                s = by_id[self.text_of(uid)]
                if worker_id is None or (self.text_of(worker_id), claim_no) != (s.claim.worker_id, s.claim.claim_no):
                    continue
                if state in ("running", "cancel_requested"):
                    runs = state == "running"
                    held.append((s, s.transition.target if runs else Target.CANCELLED))
                    answers[s.claim.id] = Settled.WRITTEN if runs else Settled.CANCELLED
            self.write_waiting(cursor, [s for s, target in held if target is Target.WAITING])
            self.write_failed(cursor, [s for s, target in held if target is Target.FAILED])
            self.write_completed(cursor, [(s, t) for s, t in held if t in (Target.COMPLETED, Target.CANCELLED)])
        return [answers.get(s.claim.id, Settled.LOST) for s in settlements]

    for_update = "FOR UPDATE"

    def write_waiting(self, cursor: Any, settlements: Sequence[Settlement]) -> None:
        """Give jobs back: pending at once, or scheduled after their delay."""
        if not settlements:
            return
        sql = f"""UPDATE {self.job} SET state = %s, available_at = {self.later("%s")}, worker_id = NULL,
                    attempt = attempt - %s, crashes = crashes + %s, suspect = COALESCE(%s, suspect),
                    history = COALESCE(NULLIF(%s, ''), history)
                  WHERE id = %s AND claim_no = %s"""
        back = f"""UPDATE {self.job} SET state = 'pending', worker_id = NULL, attempt = attempt - %s,
                    crashes = crashes + %s, suspect = COALESCE(%s, suspect), history = COALESCE(NULLIF(%s, ''), history)
                   WHERE id = %s AND claim_no = %s"""
        delayed, at_once = [], []
        for s in settlements:
            t = s.transition
            if s.moved is not None:
                cursor.execute(
                    f"UPDATE {self.job} SET queue = %s, envelope = %s, signature = %s WHERE id = %s AND claim_no = %s",
                    [*s.moved, self.uid(s.claim.id), s.claim.claim_no],
                )
            tail = (t.attempt_refund, t.crash, t.suspect, s.history, self.uid(s.claim.id), s.claim.claim_no)
            if t.delay > 0:
                delayed.append(("scheduled", t.delay, *tail))
            else:
                at_once.append(tail)  # keeps its due time, and so its place in the line
        if delayed:
            cursor.executemany(sql, delayed)
        if at_once:
            cursor.executemany(back, at_once)

    def write_failed(self, cursor: Any, settlements: Sequence[Settlement]) -> None:
        """Move jobs to the failed ones."""
        if not settlements:
            return
        rows = []
        for s in settlements:
            error = s.error or ErrorRecord()
            rows.append(
                (
                    *(s.history, s.transition.reason, error.class_path, error.message, error.traceback, s.seconds),
                    *(self.uid(s.claim.id), s.claim.claim_no),
                )
            )
        cursor.executemany(
            f"""{self.insert_ignore} INTO {self.failed}
                  ({self.shared}, reason, error_class, error_message, traceback, run_seconds, finished_at)
                SELECT {self.shared_with_history}, %s, %s, %s, %s, %s, {self.now}
                FROM {self.job} j WHERE j.id = %s AND j.claim_no = %s {self.on_conflict}""",
            rows,
        )
        for s in settlements:
            if s.transition.crash:
                cursor.execute(
                    f"UPDATE {self.failed} SET crashes = crashes + %s WHERE id = %s AND claim_no = %s",
                    [s.transition.crash, self.uid(s.claim.id), s.claim.claim_no],
                )
        self.delete(cursor, settlements)
        if letters := [s.dead_letter for s in settlements if s.dead_letter is not None]:
            self.enqueue(letters)

    insert_ignore = "INSERT"
    on_conflict = "ON CONFLICT (id) DO NOTHING"

    def write_completed(self, cursor: Any, settlements: Sequence[tuple[Settlement, Target]]) -> None:
        """Move jobs to the completed ones, or drop them."""
        rows = [
            (
                *(s.history, str(target), s.result if target is Target.COMPLETED else "", s.seconds),
                *self.keep_until(s, target),
                *(self.uid(s.claim.id), s.claim.claim_no),
            )
            for s, target in settlements
            if s.keep_seconds != 0 or target is not Target.COMPLETED
        ]
        if rows:
            self.insert_completed(cursor, rows)
        self.delete(cursor, [s for s, _ in settlements])

    def insert_completed(self, cursor: Any, rows: Sequence[tuple[Any, ...]]) -> None:
        """Copy live jobs to the completed ones. Per job: history, state, result, seconds of its run, 1 to keep it for
        ever, seconds to keep it, id, claim number.
        """
        cursor.executemany(
            f"""{self.insert_ignore} INTO {self.completed}
                  ({self.shared}, state, result, run_seconds, finished_at, keep_until)
                SELECT {self.shared_with_history}, %s, %s, %s, {self.now},
                       CASE WHEN %s = 1 THEN NULL ELSE {self.later("%s")} END
                FROM {self.job} j WHERE j.id = %s AND j.claim_no = %s {self.on_conflict}""",
            rows,
        )

    def keep_until(self, settlement: Settlement, target: Target) -> tuple[int, float]:
        """(1 to keep for ever, seconds to keep)."""
        if target is not Target.COMPLETED:
            return 0, DEFAULT_KEEP_SECONDS
        return (1, 0.0) if settlement.keep_seconds is None else (0, float(settlement.keep_seconds))

    def delete(self, cursor: Any, settlements: Sequence[Settlement]) -> None:
        """Delete live rows that have been moved. The caller's transaction holds them."""
        ids = sorted(self.uid(s.claim.id) for s in settlements)
        if ids:
            cursor.execute(f"DELETE FROM {self.job} WHERE id IN ({', '.join(['%s'] * len(ids))})", ids)

    # -- promote, reap ------------------------------------------------------------------------------------------

    def promote_due(self, limit: int) -> Promotion:
        """Look when the next job is due; where that has passed, make the due ones pending."""
        promoted, next_in = 0, self.next_due()
        if next_in is not None and next_in <= 0:
            promoted = self.promote(limit)
            next_in = 0.0 if promoted >= limit else self.next_due()
        return Promotion(promoted, next_in)

    def next_due(self) -> float | None:
        """Seconds until the next scheduled job is due."""
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"""SELECT {self.epoch("available_at")} - {self.epoch(self.now)} FROM {self.job}
                    WHERE state = 'scheduled' ORDER BY available_at LIMIT %s""",
                [1],
            )
            row = cursor.fetchone()
        return None if row is None else float(row[0] or 0.0)

    def promote(self, limit: int) -> int:
        """Make due jobs pending; answers how many."""
        locked = (
            "FOR UPDATE SKIP LOCKED" if self.connection.features.has_select_for_update_skip_locked else "FOR UPDATE"
        )
        with self.transaction() as cursor:
            cursor.execute(
                f"""SELECT id FROM {self.job} WHERE state = 'scheduled' AND available_at <= {self.now}
                    ORDER BY available_at LIMIT %s {locked}""",
                [limit],
            )
            ids = sorted(row[0] for row in cursor.fetchall())
            if ids:
                marks = ", ".join(["%s"] * len(ids))
                cursor.execute(f"UPDATE {self.job} SET state = 'pending' WHERE id IN ({marks})", ids)
        return len(ids)

    def held(self, worker_id: str) -> dict[str, int]:
        """What a worker holds: `claim_no` by job id."""
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT id, claim_no FROM {self.job} WHERE {HELD} AND worker_id = %s", [self.uid(worker_id)]
            )
            return {self.text_of(uid): claim_no for uid, claim_no in cursor.fetchall()}

    def cancel_requests(self, worker_id: str) -> set[str]:
        """Of what a worker holds, the jobs whose cancel was asked for."""
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT id FROM {self.job} WHERE {HELD} AND worker_id = %s AND state = 'cancel_requested'",
                [self.uid(worker_id)],
            )
            return {self.text_of(uid) for (uid,) in cursor.fetchall()}

    def paused_queues(self, queues: Collection[str]) -> set[str]:
        """Which of these queues are paused."""
        with self.connection.cursor() as cursor:
            names = ", ".join(["%s"] * len(queues)) or "NULL"
            cursor.execute(f"SELECT name FROM {self.queue} q WHERE q.paused AND q.name IN ({names})", list(queues))
            return {name for (name,) in cursor.fetchall()}

    def mark_lost(self) -> None:
        """Mark workers whose lease is over as lost. Give nobody's running jobs to a worker that never was, which is
        lost too.
        """
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {self.job} SET worker_id = %s WHERE {HELD} AND worker_id IS NULL", [self.uid(NOBODY)]
            )
            cursor.execute(
                f"""UPDATE {self.worker} SET state = 'lost'
                    WHERE state IN ('running', 'draining') AND lease_expires_at < {self.now} AND 1 = %s""",
                [1],
            )

    def claims_of_the_lost(self, limit: int, queues: Collection[str] | None) -> list[Claim]:
        """Claims whose worker is lost, has stopped, or has no row."""
        names = list(queues or ())
        chosen = f"AND j.queue IN ({', '.join(['%s'] * len(names))})" if names else ""
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"""SELECT {self.claimed_columns("j.")}
                    FROM {self.job} j LEFT JOIN {self.worker} w ON w.id = j.worker_id
                    WHERE j.{HELD} AND (w.id IS NULL OR w.state IN ('lost', 'stopped')) {chosen}
                    ORDER BY j.worker_id, j.id LIMIT %s""",
                [*names, limit],
            )
            return [self.claim_of(row) for row in cursor.fetchall()]

    # -- the worker's row -----------------------------------------------------------------------------------------

    def register(self, worker: WorkerInfo, lease_seconds: float) -> None:
        """Insert the worker's row."""
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"""INSERT INTO {self.worker} (id, host, pid, queues, state, children, running, settled,
                        started_at, renewed_at, lease_expires_at)
                    VALUES (%s, %s, %s, %s, 'running', %s, 0, 0, {self.now}, {self.now}, {self.later("%s")})""",
                [
                    *(self.uid(worker.id), worker.host[:255], worker.pid, ",".join(worker.queues)[:1000]),
                    *(worker.children, lease_seconds),
                ],
            )

    def renew(self, worker_id: str, lease_seconds: float, state: str, running: int, settled: int) -> bool:
        """Prolong the lease, unless the worker is lost or has stopped."""
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"""UPDATE {self.worker} SET lease_expires_at = {self.later("%s")}, renewed_at = {self.now},
                        state = %s, running = %s, settled = %s
                    WHERE id = %s AND state IN ('running', 'draining')""",
                [lease_seconds, state, running, settled, self.uid(worker_id)],
            )
            return bool(cursor.rowcount == 1)

    # -- waking up ------------------------------------------------------------------------------------------------

    def notify(self, queues: set[str]) -> None:
        """Tell waiting workers of new work, where the vendor can. Called after the commit."""

    def notify_of_cancel(self, queue: str, worker_id: str) -> None:
        """Tell the worker that runs a job of `queue` of its cancel, where the vendor can. Called after the commit."""

    def wakeup(self, queues: Sequence[str]) -> Wakeup:
        """How a worker learns of new work."""
        return Wakeup()


def is_timed(definition: JobDefinition) -> bool:
    """Whether a job may be due later than now."""
    return bool(definition.delay) or definition.available_at is not None
