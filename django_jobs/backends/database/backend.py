"""`DatabaseBackend`: the contract on top of the vendor's statements."""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, connections, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Count, Min
from django.db.models.expressions import RawSQL

from ... import envelope, migrations
from ...conf import conf
from ...definition import UNSET, JobDefinition
from ...envelope import unique_key
from ...exceptions import DuplicateJob, JobConflict, JobNotFound, StoreBusy, StoreUnavailable
from ...logs import get_logger
from ...models import CompletedJob, FailedJob, Hold, Job, JobEvent, Queue, Worker
from ...models.failed_job import FailureReason
from ...redaction import presentable
from ...runtime import Claim, Complete, result_json
from ...settlement import Settlement
from .. import archive
from ..archive import record_of, shared_values
from ..base import Backend, CancelOutcome, JobRecord, Promotion, QueueStats, Settled, Supports, Wakeup, WorkerInfo
from ..completing import completing
from .mysql import MySQLStatements
from .postgresql import PostgreSQLStatements
from .sqlite import SQLiteStatements
from .statements import DEFAULT_KEEP_SECONDS, Statements

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

logger = get_logger("backends.database")
T = TypeVar("T")

VENDORS: dict[str, type[Statements]] = {
    "postgresql": PostgreSQLStatements,
    "mysql": MySQLStatements,
    "sqlite": SQLiteStatements,
}
TRIES = 6
TRIES_FOR_A_KEY = 25  # many callers that replace each other's job: each time one of them gets on
RUNNING = ("running", "cancel_requested")
ROWS_PER_STATEMENT = 500
ROWS_PER_ENQUEUE = 125
MOST_QUEUES = 1000
EVENT_MESSAGE_BYTES = 45_000  # a handler's printed output, and its mark of a cut
_OWN = {"DATABASE", "LISTEN"}
_SERVICE = "service:"


class DatabaseBackend(Backend):
    """Jobs in a database of the site: SQLite, PostgreSQL, MariaDB or MySQL.

    An enqueue is part of the caller's transaction on that database. `OPTIONS`: `DATABASE`, an alias in `DATABASES`
    (default: `JOBS_DATABASE_ALIAS`); `LISTEN`, False where sessions are not kept, as behind PgBouncer in transaction
    mode.
    """

    supports = Supports(transactional=True, atomic=True)

    def __init__(self, alias: str, options: Mapping[str, Any]) -> None:
        super().__init__(alias, options)
        if unknown := set(options) - _OWN:
            raise ImproperlyConfigured(
                f"JOBS_BACKENDS[{alias!r}]['OPTIONS']: unknown option {min(unknown)!r}. "
                f"It takes {', '.join(sorted(_OWN))}."
            )
        self.database: str = self.options.get("DATABASE") or conf.database_alias

    @property
    def sql(self) -> Statements:
        """The statements over this thread's connection."""
        connection = connections[self.database]
        statements: Statements | None = getattr(connection, "_django_jobs_statements", None)
        if statements is None or statements.options is not self.options:
            try:
                statements = VENDORS[connection.vendor](connection, self.options)
            except KeyError:
                raise ImproperlyConfigured(f"django_jobs has no statements for {connection.vendor}.") from None
            connection._django_jobs_statements = statements  # type: ignore[attr-defined]
        return statements

    # -- putting in -----------------------------------------------------------------------------------------

    def enqueue_many(self, definitions: Sequence[JobDefinition]) -> list[str]:
        if not definitions:
            return []
        plain = [d for d in definitions if d.fresh_id and not d.unique]
        others = [d for d in definitions if d.unique or not d.fresh_id]
        ids = [str(d.id) for d in definitions]
        try:
            if not others and len(plain) <= ROWS_PER_ENQUEUE and conf.events != "all":
                self.retrying(lambda: self.sql.enqueue(plain))
            else:
                stored = self.retrying(lambda: self._enqueue_all(plain, others))
                ids = [stored.get(job_id, job_id) for job_id in ids]
        except (OperationalError, InterfaceError) as error:
            kind = StoreBusy if self.sql.is_retryable(error) else StoreUnavailable
            raise kind(f"the job could not be stored in the database {self.database!r}: {error}") from error
        queues = {str(d.queue) for d in definitions}
        self.after_commit(lambda: self.sql.notify(queues))
        return ids

    def after_commit(self, act: Callable[[], object]) -> None:
        transaction.on_commit(act, using=self.database, robust=True)

    def meanwhile(self, fileno: int, act: Callable[[], object]) -> AbstractContextManager[bool]:
        return self.sql.meanwhile(fileno, act)

    def _enqueue_all(self, plain: list[JobDefinition], others: list[JobDefinition]) -> dict[str, str]:
        """Answers the ids of other jobs that stand for unique ones, by their own ids."""
        answers: dict[str, str] = {}
        with self.sql.transaction():
            with self.sql.pipeline():
                for start in range(0, len(plain), ROWS_PER_ENQUEUE):
                    self.sql.enqueue(plain[start : start + ROWS_PER_ENQUEUE])
            known = self._known({str(d.id) for d in others if not d.fresh_id})
            for d in sorted(others, key=lambda d: (unique_key(d) or "", str(d.id))):  # two callers lock in one order
                if str(d.id) not in known:
                    known.add(str(d.id))
                    answers[str(d.id)] = self._enqueue_unique(d) if d.unique else self._enqueue_given(d)
            if conf.events == "all":
                stored = [d for d in (*plain, *others) if answers.get(str(d.id), d.id) == d.id]
                self.record_events([(str(d.id), str(d.queue), "created", "", {}) for d in stored])
        return answers

    def _enqueue_given(self, d: JobDefinition) -> str:
        try:
            with transaction.atomic(using=self.database):
                self.sql.enqueue([d])
        except IntegrityError:
            if not self._known({str(d.id)}):  # somebody else stored the same id meanwhile: that is the job
                raise
        return str(d.id)

    # -- unique jobs ------------------------------------------------------------------------------------------

    def _enqueue_unique(self, d: JobDefinition) -> str:
        """Store a unique job, or answer the job that has its key."""
        key = str(unique_key(d))
        period = d.unique.period if d.unique else None
        for tries in range(TRIES_FOR_A_KEY):
            if tries > 1:
                time.sleep(random.uniform(0.0, 0.005))  # noqa: S311 - spreads tries, guards nothing
            holder = self._holder(key, d, surely=tries > 0) if period is None else self._period_holder(key)
            if holder and (not isinstance(holder, Job) or not self._makes_room(holder, d)):
                existing = str(holder.pk if isinstance(holder, Job) else holder.job_id)
                if d.unique and d.unique.mode == "reject":
                    raise DuplicateJob(f"unique: job {existing} has the key already.", existing=existing)
                return existing
            if isinstance(holder, Job) and d.unique and d.unique.mode == "replace" and holder.worker_id is None:
                d = d.changed({"available_at": archive.aware(holder.available_at, self.database)})
            try:
                with transaction.atomic(using=self.database):
                    self.sql.enqueue([d])
                    if period is None:
                        Job.objects.using(self.database).filter(pk=str(d.id)).update(unique_key=key)
                    else:
                        self._hold(key, str(d.id), period)
                return str(d.id)
            except IntegrityError:  # somebody else has taken the key, or the id, meanwhile
                if self._known({str(d.id)}):
                    return str(d.id)
        raise StoreBusy("unique: the key is taken by a job that this transaction can't see. Roll back and try again.")

    def _holder(self, key: str, d: JobDefinition, *, surely: bool) -> Job | None:
        """The live job that has a key. With `surely`, one that has it is not overlooked for an older snapshot.

        One that waits is locked, so that no worker starts it before the caller's commit. One that runs is not, unless
        it gives its key away: a worker's whole batch of settlements would wait for the caller.
        """
        rows = Job.objects.using(self.database).filter(unique_key=key)
        holder: Job | None = rows.first()
        if holder is None and not surely:
            return None
        if holder is not None and holder.state in RUNNING and not _replaces(d):
            return holder
        return self._locking(rows).first()  # type: ignore[no-any-return]

    def _period_holder(self, key: str) -> Hold | None:
        holds = Hold._default_manager.using(self.database)
        return holds.filter(key=key, until__gt=RawSQL(self._raw_now(), [])).first()

    def _hold(self, key: str, job_id: str, seconds: float) -> None:
        """Take a key for a period. Raises `IntegrityError` where it is taken."""
        rows = Hold._default_manager.using(self.database)
        rows.filter(key=key, until__lte=RawSQL(self._raw_now(), [])).delete()
        until = RawSQL(self._raw(self.sql.later("%s")), [seconds])
        Hold(key=key, job_id=job_id, until=until).save(using=self.database, force_insert=True)

    def _makes_room(self, holder: Job, d: JobDefinition) -> bool:
        """Let the job that has the key give it up, where the mode says so."""
        if not _replaces(d):
            return False
        if holder.state in RUNNING:
            Job.objects.using(self.database).filter(pk=holder.pk).update(unique_key=None)
        else:
            self._archive_cancelled(holder, f"replaced by {d.id}")
        return True

    def _known(self, ids: set[str]) -> set[str]:
        if not ids:
            return set()
        return {
            str(found)
            for model in (Job, CompletedJob, FailedJob)
            for found in model._default_manager.using(self.database).filter(id__in=ids).values_list("id", flat=True)
        }

    # -- the worker's verbs -----------------------------------------------------------------------------------

    def register(self, worker: WorkerInfo, lease_seconds: float) -> None:
        self.retrying(lambda: self.sql.register(worker, lease_seconds))

    def renew(self, worker_id: str, lease_seconds: float, *, state: str, running: int, settled: int) -> bool:
        return self.retrying(lambda: self.sql.renew(worker_id, lease_seconds, state, running, settled))

    def deregister(self, worker_id: str) -> None:
        workers = Worker.objects.using(self.database).filter(id=worker_id, state__in=("running", "draining"))
        self.retrying(lambda: workers.update(state="stopped", running=0))

    def claim(self, queue: str, worker_id: str, limit: int, *, suspect: bool = False) -> list[Claim]:
        return self.retrying(lambda: self.sql.claim(queue, worker_id, limit, suspect)) if limit > 0 else []

    def claim_job(self, job_id: str, worker_id: str, *, force: bool = False) -> Claim | None:
        return self.retrying(lambda: self.sql.claim_job(job_id, worker_id, force))

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        answers = [Settled.LOST] * len(settlements)
        for chosen in _statements(settlements):
            some = [settlements[n] for n in chosen]
            settled = self.retrying(lambda some=some: self.sql.settle(some))  # type: ignore[misc]
            for n, answer in zip(chosen, settled, strict=True):
                answers[n] = answer
        if elsewhere := {q for s in settlements if (q := _queue_elsewhere(s))}:
            self.after_commit(lambda: self.sql.notify(elsewhere))
        return answers

    @property
    def longest_transaction(self) -> float | None:
        # The only write lock of SQLite: nobody renews a lease meanwhile.
        return conf.lease_seconds / 3 if connections[self.database].vendor == "sqlite" else None

    def completing(self, claim: Claim) -> AbstractContextManager[Complete]:
        return completing(
            claim,
            database=self.database,
            transaction=self.sql.transaction(),
            settle=lambda s: self.settle([s])[0],
            is_outage=self.is_outage,
        )

    def is_outage(self, error: BaseException) -> bool:
        if not isinstance(error, OperationalError | InterfaceError | StoreUnavailable | OSError):
            return False
        return error.args[:1] != (1366,)  # MySQL files a text that a column can't hold under OperationalError

    def promote_due(self, limit: int = 1000) -> Promotion:
        return self.retrying(lambda: self.sql.promote_due(limit))

    def lost_claims(self, limit: int = 500, queues: Collection[str] | None = None) -> list[Claim]:
        self.retrying(self.sql.mark_lost)
        return self.sql.claims_of_the_lost(limit, queues)

    def held(self, worker_id: str) -> dict[str, int]:
        return self.sql.held(worker_id)

    def cancel_requests(self, worker_id: str) -> set[str]:
        return self.sql.cancel_requests(worker_id)

    def pause_services(self, seconds: Mapping[str, float]) -> None:
        holds = Hold._default_manager.using(self.database)
        for name, pause in seconds.items():
            key, until = _SERVICE + name, RawSQL(self._raw(self.sql.later("%s")), [pause])
            if holds.filter(key=key, until__lt=until).update(until=until) or holds.filter(key=key).exists():
                continue
            with suppress(IntegrityError), transaction.atomic(using=self.database):  # or somebody else made it now
                Hold(key=key, until=until).save(using=self.database, force_insert=True)

    def paused_services(self, names: Collection[str]) -> dict[str, float]:
        now = self._now_expression()
        rows = Hold._default_manager.using(self.database).filter(key__in=[_SERVICE + name for name in names])
        found = rows.annotate(now=now).values_list("key", "until", "now")
        left = {key.removeprefix(_SERVICE): (until - now).total_seconds() for key, until, now in found}
        return {name: seconds for name, seconds in left.items() if seconds > 0}

    def queue_names(self) -> list[str]:
        rows = Job.objects.using(self.database)
        if connections[self.database].features.supports_partial_indexes:
            rows = rows.filter(state="pending")  # elsewhere the index has every state, and its first column will do
        names: list[str] = []
        # One probe of the index for each name, where DISTINCT would walk over every job that waits.
        while name := rows.filter(queue__gt=names[-1] if names else "").aggregate(name=Min("queue"))["name"]:
            if not isinstance(name, str) or len(names) == MOST_QUEUES:
                break  # SQLite takes any value in any column
            names.append(name)
        return sorted(names)

    def paused_queues(self, queues: Collection[str]) -> set[str]:
        return self.sql.paused_queues(queues)

    def record_events(self, events: Sequence[tuple[str, str, str, str, Mapping[str, Any]]]) -> None:
        now = RawSQL(self._raw_now(), [])
        JobEvent.objects.using(self.database).bulk_create(
            JobEvent(
                job_id=job_id,
                queue=queue,
                type=kind[:32],
                message=presentable(message, EVENT_MESSAGE_BYTES),
                data=_storable(data),
                at=now,
            )
            for job_id, queue, kind, message, data in events
        )

    def bound_waits(self, lease_seconds: float) -> None:
        self.close()
        self.sql.bound_waits(lease_seconds)

    def wakeup(self, queues: Sequence[str]) -> Wakeup:
        return self.sql.wakeup(queues)

    def not_ready(self) -> str:
        connection = connections[self.database]
        try:
            if Worker._meta.db_table not in connection.introspection.table_names():
                says = f"The database {self.database!r} has no tables for jobs yet."
            elif missing := _missing_migrations(connection):
                says = f"The tables for jobs in the database {self.database!r} are older than the code ({missing})."
            else:
                return ""
        except DatabaseError:
            return ""  # away just now: the worker waits for it
        option = "" if self.database == "default" else f" --database {self.database}"
        return f"{says} Run: manage.py migrate{option} django_jobs"

    def close(self) -> None:
        connections[self.database].close()

    # -- people's verbs ---------------------------------------------------------------------------------------

    def get(self, job_id: str) -> JobRecord | None:
        for model in (Job, FailedJob, CompletedJob, Job):  # again at the end: it may have moved on while we looked
            row = model._default_manager.using(self.database).filter(id=job_id).first()
            if row is not None:
                return record_of(row)
        return None

    def cancel(self, job_id: str, *, reason: str = "") -> CancelOutcome:
        outcome, job = self.retrying(lambda: self._cancel(job_id, reason))
        if outcome is CancelOutcome.REQUESTED and job is not None:
            self.after_commit(lambda: self.sql.notify_of_cancel(job.queue, str(job.worker_id)))
        return outcome

    def _cancel(self, job_id: str, reason: str) -> tuple[CancelOutcome, Job | None]:
        with self.sql.transaction():
            job = self._locked(Job, job_id)
            if job is None:
                finished = self._known({job_id})
                return CancelOutcome.ALREADY_FINISHED if finished else CancelOutcome.NOT_FOUND, None
            if job.state in RUNNING:
                if job.state == "running":
                    Job.objects.using(self.database).filter(pk=job.pk).update(state="cancel_requested")
                    self._record_cancel(job, "cancel_requested", reason)
                return CancelOutcome.REQUESTED, job
            self._archive_cancelled(job, reason)
            return CancelOutcome.CANCELLED, job

    def _archive_cancelled(self, job: Job, reason: str) -> None:
        """Move a job that waits, and is locked, to the cancelled ones."""
        CompletedJob(
            **shared_values(job),
            state="cancelled",
            finished_at=RawSQL(self._raw_now(), []),
            keep_until=RawSQL(self._raw(self.sql.later("%s")), [DEFAULT_KEEP_SECONDS]),
        ).save(using=self.database, force_insert=True)
        self._record_cancel(job, "cancelled", reason)
        job.delete()

    def _record_cancel(self, job: Job, kind: str, reason: str) -> None:
        if conf.events != "none":
            self.record_events([(str(job.id), job.queue, kind, reason, {})])

    def retry(self, job_id: str, *, delay: float = 0.0, resign: bool = False) -> None:
        self.retrying(lambda: self._retry(job_id, delay, resign))
        self.after_commit(lambda: self.sql.notify(self._queue_of(job_id)))

    def _retry(self, job_id: str, delay: float, resign: bool) -> None:
        with self.sql.transaction():
            failed = self._locked(FailedJob, job_id)
            if failed is None:
                raise JobNotFound(f"no failed job has the id {job_id}")
            values = shared_values(failed)
            if failed.reason == FailureReason.REJECTED:
                if not resign:
                    raise JobConflict(
                        f"job {job_id} was rejected for its signature. Look at it, then retry it with --resign."
                    )
                values["signature"] = envelope.sign(failed.envelope)
            values |= {"attempt": 0, "crashes": 0, "worker_id": None, "started_at": None}
            values["available_at"] = RawSQL(self._raw(self.sql.later("%s")), [delay])
            state = "scheduled" if delay > 0 else "pending"
            key = _key_again(failed.definition)
            try:
                with transaction.atomic(using=self.database):
                    Job(**values, state=state, unique_key=key).save(using=self.database, force_insert=True)
            except IntegrityError as error:
                holder = Job.objects.using(self.database).filter(unique_key=key).first() if key else None
                if holder is not None:
                    raise DuplicateJob(
                        f"job {job_id} can't wait again: job {holder.pk} has its unique key.", existing=str(holder.pk)
                    ) from error
                raise JobConflict(f"job {job_id} can't wait again: {error}") from error
            failed.delete()

    def delete(self, job_id: str, *, force: bool = False) -> bool:
        return self.retrying(lambda: self._delete(job_id, force))

    def _delete(self, job_id: str, force: bool) -> bool:
        with self.sql.transaction():
            job = self._locked(Job, job_id)
            if job is not None:
                if job.state in RUNNING and not force:
                    raise JobConflict(f"job {job_id} is running. Cancel it, or delete it by force.")
                job.delete()
                return True
            return any(
                model._default_manager.using(self.database).filter(id=job_id).delete()[0]
                for model in (FailedJob, CompletedJob)
            )

    def set_paused(self, queues: Sequence[str], *, paused: bool) -> list[str]:
        rows, now = Queue.objects.using(self.database), RawSQL(self._raw_now(), [])
        changed = []
        for name in dict.fromkeys(queues):
            was_other = rows.filter(name=name, paused=not paused).update(paused=paused, changed_at=now)
            if was_other or (paused and rows.get_or_create(name=name, defaults={"paused": True})[1]):
                changed.append(name)
        if not paused:
            self.after_commit(lambda: self.sql.notify(set(changed)))
        return changed

    def stats(self, queues: Sequence[str] | None = None) -> list[QueueStats]:
        counts: dict[str, dict[str, int]] = defaultdict(dict)
        oldest: dict[str, float] = {}

        def rows(model: Any, **where: Any) -> Any:
            chosen = model.objects.using(self.database).filter(**where)
            return chosen.filter(queue__in=queues) if queues is not None else chosen

        for queue, state, n in rows(Job).values_list("queue", "state").annotate(n=Count("*")):
            counts[queue][state] = n
        for queue, n in rows(FailedJob).values_list("queue").annotate(n=Count("*")):
            counts[queue]["failed"] = n
        for queue, state, n in rows(CompletedJob).values_list("queue", "state").annotate(n=Count("*")):
            counts[queue][state] = n
        waits = (
            rows(Job, state="pending")
            .values_list("queue")
            .annotate(since=Min("available_at"), now=self._now_expression())
        )
        for queue, since, now in waits:
            oldest[queue] = max((now - since).total_seconds(), 0.0)
        paused = set(Queue.objects.using(self.database).filter(paused=True).values_list("name", flat=True))
        names = sorted(queues if queues is not None else {*counts, *paused})
        return [QueueStats(name, counts.get(name, {}), oldest.get(name), name in paused) for name in names]

    def check(self) -> list[CheckMessage]:
        from .checks import check_database

        return check_database(self.alias, self.database)

    def check_store(self, databases: Collection[str]) -> list[CheckMessage]:
        from .checks import check_server

        return check_server(self.database) if self.database in databases else []

    # -- within -----------------------------------------------------------------------------------------------

    def _locked(self, model: type[Any], job_id: str) -> Any:
        return self._locking(model.objects.using(self.database).filter(id=job_id)).first()

    def _locking(self, rows: Any) -> Any:
        return rows.select_for_update() if connections[self.database].features.has_select_for_update else rows

    def _queue_of(self, job_id: str) -> set[str]:
        return set(Job.objects.using(self.database).filter(id=job_id).values_list("queue", flat=True))

    def _raw(self, sql: str) -> str:
        return f"({sql})"

    def _raw_now(self) -> str:
        return self._raw(self.sql.now)

    def _now_expression(self) -> Any:
        return RawSQL(self._raw_now(), [], output_field=Job._meta.get_field("available_at"))

    def retrying(self, act: Callable[[], T]) -> T:
        """Run `act`; try it again after a deadlock, but only where the transaction is ours: in the caller's it would
        be half.
        """
        if connections[self.database].in_atomic_block:
            return act()
        patient_until = time.monotonic() + conf.lease_seconds / 3
        for attempt in range(1, TRIES):
            try:
                return act()
            except (DatabaseError, StoreBusy) as error:
                may_try = isinstance(error, StoreBusy) or self.sql.is_retryable(error)
                if not may_try or time.monotonic() > patient_until:
                    raise
                logger.info("a lock was in the way (try %d): %s", attempt, error)
                time.sleep(random.uniform(0.0, 0.02 * 2**attempt))  # noqa: S311 - spreads tries, guards nothing
        return act()


def _statements(settlements: Sequence[Settlement]) -> Iterator[Sequence[int]]:
    """Which settlements go into one statement. It sees a job once: what else is said of that job waits for the next."""
    rest: Sequence[int] = range(len(settlements))
    while rest:
        first: dict[str, int] = {}
        for n in rest:
            first.setdefault(settlements[n].claim.id, n)
        chosen = list(first.values())[:ROWS_PER_STATEMENT]
        yield chosen
        rest = [] if len(chosen) == len(rest) else sorted({*rest} - {*chosen})


def _replaces(d: JobDefinition) -> bool:
    return d.unique is not None and d.unique is not UNSET and d.unique.replaces


def _queue_elsewhere(s: Settlement) -> str:
    """The other queue on which a settlement puts a job."""
    if s.moved is not None:
        return s.moved.queue
    return "" if s.dead_letter is None else str(s.dead_letter.queue)


def _key_again(definition: JobDefinition | None) -> str | None:
    """The unique key that a job takes when it waits once more; a period has run since its enqueue."""
    if definition is None or not definition.unique or definition.unique.period is not None:
        return None
    return unique_key(definition)


def _storable(data: Mapping[str, Any]) -> Any:
    """`data` as every database's JSON column takes it: bounded, and without the NUL that PostgreSQL refuses."""
    return json.loads(result_json(dict(data)).replace("\\u0000", "\\ufffd"))


def _missing_migrations(connection: Any) -> str:
    """The first of our migrations that has not been run; none where the tables were made without migrations."""
    done = {name for app, name in MigrationRecorder(connection).applied_migrations() if app == Worker._meta.app_label}
    ours = sorted(module.name for module in iter_modules(migrations.__path__))
    return next((name for name in ours if done and name not in done), "")
