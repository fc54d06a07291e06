"""The `memory` backend: the full contract in this process, with a clock that can be set. For tests."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from ..conf import conf
from ..definition import JobDefinition
from ..envelope import Envelope, decode, seal, sign, unique_key
from ..exceptions import CorruptEnvelope, DuplicateJob, JobConflict, JobNotFound
from ..retry import Target
from ..runtime import Claim, Complete, ErrorRecord
from ..settlement import Settlement, history_entries
from .base import Backend, CancelOutcome, JobRecord, Promotion, QueueStats, Settled, Supports, WorkerInfo
from .completing import completing


@dataclass(slots=True)
class _Row:
    id: str
    queue: str
    handler: str
    rank: int
    max_attempts: int
    body: str
    signature: str
    enqueued_at: float
    available_at: float
    state: str
    unique_key: str | None = None
    attempt: int = 0
    crashes: int = 0
    claim_no: int = 0
    suspect: bool = False
    worker_id: str | None = None
    history: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    result: str = ""
    reason: str = ""
    error: ErrorRecord = field(default_factory=ErrorRecord)


@dataclass(slots=True)
class _Worker:
    lease_expires_at: float
    state: str = "running"


class MemoryBackend(Backend):
    """Keeps jobs in this process. `clock` (seconds since 1970) may be replaced, so that a test can move time."""

    supports = Supports(shared=False, atomic=True)

    def __init__(self, alias: str, options: Mapping[str, Any]) -> None:
        super().__init__(alias, options)
        self.clock: Callable[[], float] = time.time
        self.paused: set[str] = set()
        self.events: list[tuple[str, str, str, str, Mapping[str, Any]]] = []
        self._live: dict[str, _Row] = {}
        self._completed: dict[str, _Row] = {}
        self._failed: dict[str, _Row] = {}
        self._workers: dict[str, _Worker] = {}
        self._holds: dict[str, tuple[str, float]] = {}
        self._pauses: dict[str, float] = {}
        self._lock = threading.RLock()

    def clear(self) -> None:
        """Forget everything, and go by the real clock again."""
        self.clock = time.time
        for jobs in (self._live, self._completed, self._failed):
            jobs.clear()
        for kept in (self._workers, self._holds, self._pauses, self.events, self.paused):
            kept.clear()

    def records(self) -> list[JobRecord]:
        """Every job that is kept, oldest first."""
        with self._lock:
            rows = (*self._live.values(), *self._failed.values(), *self._completed.values())
            return [_record_of(row) for row in sorted(rows, key=lambda row: row.id)]

    # -- putting in -----------------------------------------------------------------------------------------

    def enqueue_many(self, definitions: Sequence[JobDefinition]) -> list[str]:
        sealed = [seal(d) for d in definitions]
        with self._lock:
            now = self.clock()
            before = dict(self._live), dict(self._completed), dict(self._holds)
            try:
                return [self._enqueue(d, envelope, now) for d, envelope in zip(definitions, sealed, strict=True)]
            except DuplicateJob:
                self._live, self._completed, self._holds = before
                raise

    def _enqueue(self, d: JobDefinition, envelope: Envelope, now: float) -> str:
        if self._find(str(d.id)) is not None:
            return str(d.id)
        due = d.available_at.timestamp() if d.available_at is not None else now + (d.delay or 0)
        key = unique_key(d)
        if key and d.unique:
            holder = next((row for row in self._live.values() if row.unique_key == key), None)
            existing, until = self._holds.get(key, ("", 0.0))
            if holder is not None and d.unique.replaces:
                due = due if d.unique.mode == "debounce" or holder.worker_id else holder.available_at
                self._make_room(holder, str(d.id))
            elif holder is not None or until > now:
                existing = existing if holder is None else holder.id
                if d.unique.mode == "reject":
                    raise DuplicateJob(f"unique: job {existing} has the key already.", existing=existing)
                return existing
            if d.unique.period is not None:
                self._holds[key] = (str(d.id), now + d.unique.period)
                key = None
        self._live[str(d.id)] = _Row(
            id=str(d.id),
            queue=str(d.queue),
            handler=d.handler,
            rank=-(d.priority or 0),
            max_attempts=int(d.max_attempts or 1),
            body=envelope.body,
            signature=envelope.signature,
            enqueued_at=now,
            available_at=due,
            state="scheduled" if due > now else "pending",
            unique_key=key,
        )
        return str(d.id)

    def _make_room(self, holder: _Row, new_id: str) -> None:
        if holder.state in ("running", "cancel_requested"):
            self._live[holder.id] = replace(holder, unique_key=None)
        else:
            del self._live[holder.id]
            self._completed[holder.id] = replace(holder, state="cancelled", finished_at=self.clock())
            self.events.append((holder.id, holder.queue, "cancelled", f"replaced by {new_id}", {}))

    # -- the worker's verbs -----------------------------------------------------------------------------------

    def register(self, worker: WorkerInfo, lease_seconds: float) -> None:
        self._workers[worker.id] = _Worker(self.clock() + lease_seconds)

    def renew(self, worker_id: str, lease_seconds: float, *, state: str, running: int, settled: int) -> bool:
        with self._lock:
            worker = self._workers.get(worker_id)
            if worker is None or worker.state not in ("running", "draining"):
                return False
            worker.state = state
            worker.lease_expires_at = self.clock() + lease_seconds
            return True

    def deregister(self, worker_id: str) -> None:
        if worker_id in self._workers and self._workers[worker_id].state != "lost":
            self._workers[worker_id].state = "stopped"

    def claim(self, queue: str, worker_id: str, limit: int, *, suspect: bool = False) -> list[Claim]:
        with self._lock:
            if not self._holds_lease(worker_id) or queue in self.paused:
                return []
            waiting = [r for r in self._live.values() if (r.queue, r.state, r.suspect) == (queue, "pending", suspect)]
            waiting.sort(key=lambda r: (r.rank, r.available_at, r.id))
            return [self._mark_claimed(row, worker_id) for row in waiting[: max(limit, 0)]]

    def claim_job(self, job_id: str, worker_id: str, *, force: bool = False) -> Claim | None:
        with self._lock:
            row = self._live.get(job_id)
            if row is None or row.state not in ("pending", "scheduled") or not self._holds_lease(worker_id):
                return None
            is_due = row.state == "pending" or row.available_at <= self.clock()
            if not force and (not is_due or row.queue in self.paused):
                return None
            return self._mark_claimed(row, worker_id)

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        with self._lock:
            return [self._settle(s) for s in settlements]

    def _settle(self, s: Settlement) -> Settled:
        row = self._live.get(s.claim.id)
        if row is None or (row.worker_id, row.claim_no) != (s.claim.worker_id, s.claim.claim_no):
            return Settled.LOST
        now = self.clock()
        answer = Settled.WRITTEN if row.state == "running" else Settled.CANCELLED
        target = s.transition.target if row.state == "running" else Target.CANCELLED
        row.history = s.history
        if target is Target.WAITING:
            t = s.transition
            if s.moved is not None:
                row.queue, row.body, row.signature = s.moved
            row.attempt -= t.attempt_refund
            row.crashes += t.crash
            row.suspect = row.suspect if t.suspect is None else t.suspect
            row.worker_id = None
            row.state = "scheduled" if t.delay > 0 else "pending"
            row.available_at = now + t.delay if t.delay > 0 else row.available_at
            return answer
        del self._live[row.id]
        row.finished_at = now
        if target is Target.FAILED:
            row.state, row.reason, row.error = "failed", s.transition.reason, s.error or ErrorRecord()
            row.crashes += s.transition.crash
            self._failed[row.id] = row
            if s.dead_letter is not None:
                self._enqueue(s.dead_letter, seal(s.dead_letter), now)
        elif s.keep_seconds != 0 or target is not Target.COMPLETED:
            row.state = str(target)
            row.result = s.result if target is Target.COMPLETED else ""
            self._completed[row.id] = row
        return answer

    @contextmanager
    def completing(self, claim: Claim) -> Iterator[Complete]:
        with ExitStack() as until_commit:

            def settle(settlement: Settlement) -> Settled:
                until_commit.enter_context(self._unless_rolled_back(claim.id))
                return self._settle(settlement)

            with completing(
                claim,
                database=conf.database_alias,
                transaction=transaction.atomic(using=conf.database_alias),
                settle=settle,
                is_outage=self.is_outage,
            ) as complete:
                yield complete

    @contextmanager
    def _unless_rolled_back(self, job_id: str) -> Iterator[None]:
        """Hold everybody off until the transaction of an atomic job has ended; where it fails, the job is as before."""
        with self._lock:
            before = self._live.get(job_id)
            kept = None if before is None else replace(before)
            try:
                yield
            except BaseException:
                if kept is not None:
                    self._completed.pop(job_id, None)
                    self._live[job_id] = kept
                raise

    def promote_due(self, limit: int = 1000) -> Promotion:
        with self._lock:
            now = self.clock()
            scheduled = sorted((r for r in self._live.values() if r.state == "scheduled"), key=lambda r: r.available_at)
            due = [r for r in scheduled if r.available_at <= now][:limit]
            for row in due:
                row.state = "pending"
            rest = [r for r in scheduled if r.state == "scheduled"]
            return Promotion(len(due), max(rest[0].available_at - now, 0.0) if rest else None)

    def lost_claims(self, limit: int = 500, queues: Collection[str] | None = None) -> list[Claim]:
        with self._lock:
            now = self.clock()
            for worker in self._workers.values():
                if worker.state in ("running", "draining") and worker.lease_expires_at < now:
                    worker.state = "lost"
            gone = [
                row
                for row in sorted(self._live.values(), key=lambda r: r.id)
                if row.worker_id
                and (not queues or row.queue in queues)
                and (row.worker_id not in self._workers or self._workers[row.worker_id].state in ("lost", "stopped"))
            ]
            return [self._claim_of(row, now) for row in gone[:limit]]

    def held(self, worker_id: str) -> dict[str, int]:
        return {row.id: row.claim_no for row in self._live.values() if row.worker_id == worker_id}

    def cancel_requests(self, worker_id: str) -> set[str]:
        return {r.id for r in self._live.values() if r.worker_id == worker_id and r.state == "cancel_requested"}

    def pause_services(self, seconds: Mapping[str, float]) -> None:
        with self._lock:
            for name, pause in seconds.items():
                until = max(self._pauses.get(name, 0.0), self.clock() + pause)
                self._pauses[name] = until

    def paused_services(self, names: Collection[str]) -> dict[str, float]:
        now = self.clock()
        return {name: until - now for name in names if (until := self._pauses.get(name, 0.0)) > now}

    def paused_queues(self, queues: Collection[str]) -> set[str]:
        return self.paused & set(queues)

    def record_events(self, events: Sequence[tuple[str, str, str, str, Mapping[str, Any]]]) -> None:
        self.events.extend(events)

    # -- people's verbs ---------------------------------------------------------------------------------------

    def get(self, job_id: str) -> JobRecord | None:
        row = self._find(job_id)
        return None if row is None else _record_of(row)

    def cancel(self, job_id: str, *, reason: str = "") -> CancelOutcome:
        with self._lock:
            row = self._live.get(job_id)
            if row is None:
                return CancelOutcome.NOT_FOUND if self._find(job_id) is None else CancelOutcome.ALREADY_FINISHED
            if row.state in ("running", "cancel_requested"):
                row.state = "cancel_requested"
                self._record_cancel(row, "cancel_requested", reason)
                return CancelOutcome.REQUESTED
            del self._live[job_id]
            row.state, row.finished_at = "cancelled", self.clock()
            self._completed[job_id] = row
            self._record_cancel(row, "cancelled", reason)
            return CancelOutcome.CANCELLED

    def _record_cancel(self, row: _Row, kind: str, reason: str) -> None:
        if conf.events != "none":
            self.events.append((row.id, row.queue, kind, reason, {}))

    def retry(self, job_id: str, *, delay: float = 0.0, resign: bool = False) -> None:
        with self._lock:
            row = self._failed.get(job_id)
            if row is None:
                raise JobNotFound(f"no failed job has the id {job_id}")
            if row.reason == "rejected":
                if not resign:
                    raise JobConflict(
                        f"job {job_id} was rejected for its signature. Look at it, then retry it with --resign."
                    )
                row.signature = sign(row.body)
            definition = _definition_of(row)
            key = unique_key(definition) if definition and definition.unique and not definition.unique.period else None
            holder = next((other for other in self._live.values() if key and other.unique_key == key), None)
            if holder is not None:
                raise DuplicateJob(
                    f"job {job_id} can't wait again: job {holder.id} has its unique key.", existing=holder.id
                )
            row.unique_key = key
            del self._failed[job_id]
            row.attempt, row.crashes, row.suspect, row.worker_id, row.started_at = 0, 0, False, None, None
            row.reason, row.error, row.finished_at = "", ErrorRecord(), None
            row.available_at = self.clock() + delay
            row.state = "scheduled" if delay > 0 else "pending"
            self._live[job_id] = row

    def delete(self, job_id: str, *, force: bool = False) -> bool:
        with self._lock:
            row = self._live.get(job_id)
            if row is not None and row.state in ("running", "cancel_requested") and not force:
                raise JobConflict(f"job {job_id} is running. Cancel it, or delete it by force.")
            return any(kept.pop(job_id, None) is not None for kept in (self._live, self._failed, self._completed))

    def set_paused(self, queues: Sequence[str], *, paused: bool) -> list[str]:
        with self._lock:
            changed = [name for name in dict.fromkeys(queues) if (name in self.paused) is not paused]
            (self.paused.update if paused else self.paused.difference_update)(changed)
            return changed

    def stats(self, queues: Sequence[str] | None = None) -> list[QueueStats]:
        with self._lock:
            counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
            oldest: dict[str, float] = {}
            for row in (*self._live.values(), *self._failed.values(), *self._completed.values()):
                counts[row.queue][row.state] += 1
                if row.state == "pending":
                    oldest[row.queue] = max(oldest.get(row.queue, 0.0), self.clock() - row.available_at)
            names = sorted(queues if queues is not None else {*counts, *self.paused})
            return [QueueStats(n, dict(counts.get(n, {})), oldest.get(n), n in self.paused) for n in names]

    # -- within -----------------------------------------------------------------------------------------------

    def _find(self, job_id: str) -> _Row | None:
        return self._live.get(job_id) or self._failed.get(job_id) or self._completed.get(job_id)

    def _holds_lease(self, worker_id: str) -> bool:
        worker = self._workers.get(worker_id)
        return worker is not None and worker.state in ("running", "draining") and worker.lease_expires_at > self.clock()

    def _mark_claimed(self, row: _Row, worker_id: str) -> Claim:
        row.state, row.worker_id, row.started_at = "running", worker_id, self.clock()
        row.claim_no += 1
        row.attempt += 1
        if row.unique_key and row.unique_key[0] == "s":
            row.unique_key = None
        return self._claim_of(row, row.started_at)

    def _claim_of(self, r: _Row, now: float) -> Claim:
        return Claim(
            *(
                r.id,
                r.queue,
                r.handler,
                r.worker_id or "",
                r.claim_no,
                r.attempt,
                r.crashes,
                r.suspect,
                r.body,
                r.signature,
            ),
            *(r.history, r.enqueued_at, now),
        )


def _record_of(row: _Row) -> JobRecord:
    def moment(seconds: float | None) -> datetime | None:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

    return JobRecord(
        id=row.id,
        state=row.state,
        queue=row.queue,
        handler=row.handler,
        definition=_definition_of(row),
        priority=-row.rank,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        crashes=row.crashes,
        claim_no=row.claim_no,
        worker_id=row.worker_id,
        enqueued_at=moment(row.enqueued_at),
        available_at=moment(row.available_at),
        started_at=moment(row.started_at),
        finished_at=moment(row.finished_at),
        result=json.loads(row.result) if row.result else None,
        reason=row.reason,
        error_class=row.error.class_path,
        error_message=row.error.message,
        traceback=row.error.traceback,
        attempts=history_entries(row.history),
        body=row.body,
        signature=row.signature,
    )


def _definition_of(row: _Row) -> JobDefinition | None:
    try:
        return decode(row.body)
    except CorruptEnvelope:
        return None
