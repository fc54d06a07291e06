"""`Jobs`, the public face: define, dispatch, look up, cancel, retry, delete."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from django.db import transaction

from . import envelope, names, port, registry, signals
from .backends import Backend, CancelOutcome, JobRecord, get_backend
from .circuit import breaker_of
from .conf import conf, is_listed
from .defaults import with_defaults
from .definition import BLANK, JobBuilder, JobDefinition, LocalPayload, definition_of, seconds
from .exceptions import InvalidDefinition, JobFailed, JobNotFinished, JobNotFound
from .ids import new_id, new_ids, parse_id
from .names import check_handler, shown
from .retry import CANCEL
from .runtime import Claim, run_cancel_handler, run_hooks, wants_hooks


class JobRef(str):
    """The id of a job, as text, with what one may ask of it.

    ref = Jobs.push("welcome", {"user_id": 123})
    ref.refresh().state
    """

    __slots__ = ("backend", "skipped")
    backend: str | Backend | None
    skipped: str
    """Why nothing was stored: `disabled` or `environment`; blank for a job that was."""

    def __new__(cls, value: str, backend: str | Backend | None = None, skipped: str = "") -> JobRef:
        self = super().__new__(cls, value)
        self.backend = backend
        self.skipped = skipped
        return self

    def refresh(self) -> JobRecord:
        """The job as the store has it now. Raises `JobNotFound`."""
        return Jobs.get(self, backend=self.backend)

    def result(self) -> Any:
        """What the handler returned. Raises `JobNotFinished`, `JobFailed` (also for a cancelled job) or
        `JobNotFound`.
        """
        record = self.refresh()
        if record.state == "completed":
            return record.result
        if record.state == "failed":
            raise JobFailed(
                f"{record.reason}: {record.error_class} {record.error_message}".strip(), reason=record.reason
            )
        if record.state == "cancelled":
            raise JobFailed("the job was cancelled", reason="cancelled")
        raise JobNotFinished(f"job {self} is {record.state}")

    def cancel(self, reason: str = "") -> CancelOutcome:
        """Cancel the job; see `Jobs.cancel`."""
        return Jobs.cancel(self, reason=reason, backend=self.backend)

    def retry(self, *, delay: float | timedelta | str = 0.0) -> None:
        """Make the failed job wait again; see `Jobs.retry`."""
        Jobs.retry(self, delay=delay, backend=self.backend)


observers: list[Callable[[list[JobDefinition]], object]] = []
"""Each is told what is dispatched, before it is stored. For tests (`django_jobs.testing.capture_jobs`)."""


class Jobs:
    """The public face. Nothing here is an instance: call the class."""

    @classmethod
    def define(cls, handler: Any, payload: Any = None) -> JobBuilder:
        """A builder for a job of `handler`: a key, or a handler class that is registered.

        Jobs.define("welcome", {"user_id": 123}).queue("mail").max_retries(2).dispatch()
        """
        return JobBuilder(BLANK.changed({"handler": check_handler(cls.key_of(handler)), "payload": payload}))

    @classmethod
    def dispatch(cls, job: JobBuilder | JobDefinition) -> JobRef:
        """Enqueue one job and return its reference.

        On the database backend the enqueue is part of the caller's transaction: it is there when that commits, and
        never was when that rolls back. A unique job whose key is taken is not stored: the reference is that of the job
        which has the key. Raises `InvalidDefinition` for a bad field, `UnknownHandler`, `DuplicateJob` and
        `StoreUnavailable`.
        """
        return cls.dispatch_many([job])[0]

    @classmethod
    def prepare(cls, job: JobBuilder | JobDefinition) -> JobDefinition:
        """The definition as `dispatch` would store it: checked, with an id and every default. Stores nothing."""
        definition = _whole(definition_of(job))
        get_backend(definition.backend)
        envelope.seal(definition)
        return definition

    @classmethod
    def dispatch_many(cls, jobs: Iterable[JobBuilder | JobDefinition]) -> list[JobRef]:
        """Enqueue many jobs, each backend's in one statement or few, all or none; their references in order.

        Nothing is stored unless every one of them is good.
        """
        return _store([_whole(definition_of(job)) for job in jobs])

    @classmethod
    def push_many(cls, handler: Any, payloads: Iterable[Any], **options: Any) -> list[JobRef]:
        """Enqueue a job of one handler for each payload, all with the same `options`: the fastest way to enqueue many.

        All or none, as `dispatch_many`; their references in order.

            Jobs.push_many("welcome", [{"user_id": 1}, {"user_id": 2}], queue="mail")
        """
        common = with_defaults(cls.define(handler).with_options(**options).to_definition())
        if common.id is not None:
            raise InvalidDefinition("id: many jobs can't share one. Give ids to definitions, and use dispatch_many().")
        clean = _cleaner(registry.get(common.handler))
        cleaned = [clean(payload) for payload in payloads]
        return _store(common.copies(cleaned, new_ids(len(cleaned))))

    @classmethod
    def push(
        cls,
        handler: Any,
        payload: Any = None,
        queue: str | None = None,
        uuid: object = None,
        backend: str | None = None,
        *,
        configure: Callable[[JobBuilder], JobBuilder | None] | None = None,
        **options: Any,
    ) -> JobRef:
        """Enqueue in one call. `options` are the job options; an unknown one raises `TypeError`.

        `configure` gets the builder, and may return another one.

            Jobs.push("welcome", {"user_id": 123}, queue="mail", delay="10m")
        """
        builder = cls.define(handler, payload)
        given = {"queue": queue, "id": uuid, "backend": backend}
        options |= {name: value for name, value in given.items() if value is not None}
        if options:
            builder = builder.with_options(**options)
        if configure is not None:
            builder = configure(builder) or builder
        return builder.dispatch()

    @classmethod
    def push_at(cls, when: datetime, handler: Any, payload: Any = None, **options: Any) -> JobRef:
        """Enqueue a job that is due at `when` (aware)."""
        return cls.push(handler, payload, available_at=when, **options)

    @classmethod
    def dispatch_sync(cls, job: JobBuilder | JobDefinition) -> JobRef:
        """Run a job here and now, with its hooks, attempts and record, whatever backend it names."""
        from .backends.sync import SyncBackend

        definition = _whole(definition_of(job))
        database = getattr(get_backend(), "database", None)
        backend = SyncBackend("sync", {"DATABASE": database} if database else {})
        backend.enqueue_many([definition])
        return JobRef(str(definition.id), backend)

    @classmethod
    def handler(cls, key: str) -> type:
        """The handler class for a key. Raises `UnknownHandler`."""
        return registry.get(key)

    @classmethod
    def backend(cls, alias: str | None = None) -> Backend:
        """The backend with this alias; None is the default one."""
        return get_backend(alias)

    @classmethod
    def get(cls, job_id: object, *, backend: str | Backend | None = None) -> JobRecord:
        """The job, live or finished. Raises `JobNotFound`."""
        record = _backend_of(job_id, backend).get(parse_id(job_id))
        if record is None:
            raise JobNotFound(f"no job has the id {job_id}")
        return record

    @classmethod
    def cancel(cls, job_id: object, *, reason: str = "", backend: str | Backend | None = None) -> CancelOutcome:
        """Cancel a job. One that waits is cancelled at once; one that runs is asked for, and never retried.

        The job's cancel handler (`JobBuilder.on_cancel`) is called here, before this returns; what it raises is
        logged, and told in the timeline.
        A job that waited never meets a worker again: its `on_cancel` hook and `job_cancelled` follow here too, after
        the commit.
        `reason` is written into the job's timeline.
        """
        store, known_id = _backend_of(job_id, backend), str(parse_id(job_id))
        outcome = store.cancel(known_id, reason=names.check_label("reason", reason))
        if outcome in (CancelOutcome.CANCELLED, CancelOutcome.REQUESTED):
            record = store.get(known_id)
            if record is not None and record.definition is not None and record.definition.cancel_handler:
                error = run_cancel_handler(record, reason)
                if error is not None and conf.events != "none":
                    store.record_events([(known_id, record.queue, "cancel_handler_failed", error.message, {})])
            if record is not None and outcome is CancelOutcome.CANCELLED and wants_hooks(record.handler, CANCEL):
                store.after_commit(partial(run_hooks, _bare_claim(record), CANCEL, "", None))
        return outcome

    @classmethod
    def key_of(cls, handler: Any) -> str:
        """The key of a handler: of a registered class, of a `@job` function, or of `[Class, "method"]`."""
        return handler if isinstance(handler, str) else _key_of(handler)

    @classmethod
    def retry(
        cls,
        job_id: object,
        *,
        delay: float | timedelta | str = 0.0,
        resign: bool = False,
        backend: str | Backend | None = None,
    ) -> None:
        """Make a failed job wait again under its own id, with no attempts used; not before `delay` is over.

        Raises `InvalidDefinition` for what is no delay, `JobNotFound`, and `JobConflict` for a rejected one unless
        `resign` signs it anew.
        """
        _backend_of(job_id, backend).retry(parse_id(job_id), delay=seconds("delay", delay), resign=resign)

    @classmethod
    def delete(cls, job_id: object, *, force: bool = False, backend: str | Backend | None = None) -> bool:
        """Delete a job. False: there is none. Raises `JobConflict` for one that runs, unless `force`."""
        return _backend_of(job_id, backend).delete(parse_id(job_id), force=force)


def _bare_claim(record: JobRecord) -> Claim:
    """A claim that nobody holds, for the hooks of a job that ended without one."""
    now = datetime.now(UTC).timestamp()
    return Claim(
        *(record.id, record.queue, record.handler, "", record.claim_no, record.attempt, record.crashes, False),
        *(record.body, record.signature, "", now, now),
    )


def _backend_of(job_id: object, backend: str | Backend | None) -> Backend:
    return get_backend(backend if backend is not None else getattr(job_id, "backend", None))


def _key_of(handler: Any) -> str:
    if isinstance(handler, list | tuple) and len(handler) == 2:
        owner, method = handler
        owner_key = Jobs.key_of(owner)
        if method == "handle":
            return owner_key
        if not is_listed(method, getattr(registry.get(owner_key), "methods", ())):
            raise InvalidDefinition(f"handler: {shown(method)} can't be dispatched. List it in `methods` of its class.")
        return f"{owner_key}:{method}"
    if isinstance(key := getattr(handler, "key", None), str):
        return key
    if not isinstance(handler, type):
        raise InvalidDefinition(f"handler: {shown(handler)} is neither a key nor a handler class.")
    return registry.key_of(handler)


def _whole(definition: JobDefinition) -> JobDefinition:
    """The definition with an id, the payload as its handler has it stored, and every default filled in."""
    changes: dict[str, Any] = {"payload": _cleaner(registry.get(definition.handler))(definition.payload)}
    if definition.id is None:
        changes |= {"id": new_id(), "fresh_id": True}
    return with_defaults(definition).changed(changes)


def _cleaner(handler: type) -> Callable[[Any], Any]:
    clean: Callable[[Any], Any] = getattr(handler, "clean_payload", _unchanged)
    return clean


def _unchanged(payload: Any) -> Any:
    return payload


def _why_not(definition: JobDefinition) -> str:
    """Why a definition is not to be stored; blank where it is."""
    if not definition.enabled:
        return "disabled"
    return "environment" if definition.environments and conf.environment not in definition.environments else ""


def _store(definitions: list[JobDefinition]) -> list[JobRef]:
    """Enqueue whole definitions, each backend's together."""
    by_backend: dict[str, list[JobDefinition]] = {}
    skipped: dict[str, str] = {}
    for definition in definitions:
        if why := _why_not(definition):
            skipped[str(definition.id)] = why
        else:
            by_backend.setdefault(str(definition.backend), []).append(definition)
    for observe in observers:
        observe([definition for definition in definitions if definition.id not in skipped])
    backends = {alias: get_backend(alias) for alias in by_backend}
    for alias, some in by_backend.items():
        if backends[alias].supports.shared and any(isinstance(d.payload, LocalPayload) for d in some):
            raise InvalidDefinition(
                "payload: a lambda or an inner function is known to this process alone, so no worker could find it. "
                "Move it into a module, or use the backend sync."
            )
    if len(backends) > 1:  # each backend checks its own before it stores them, but no other's
        for some in by_backend.values():
            for definition in some:
                envelope.seal(definition)
    others: dict[str, str] = {}  # of unique jobs that were not stored: the jobs that have their keys
    for alias, some in by_backend.items():
        ids = _enqueue(backends[alias], some)
        others |= {str(d.id): found for d, found in zip(some, ids, strict=True) if found is not d.id and found != d.id}
    if not others and not skipped:
        return [JobRef(d.id or "", d.backend) for d in definitions]
    return [JobRef(others.get(str(d.id), str(d.id)), d.backend, skipped.get(str(d.id), "")) for d in definitions]


def _enqueue(backend: Backend, definitions: list[JobDefinition]) -> list[str]:
    if backend.supports.transactional or not backend.supports.shared:
        return _push(backend, definitions)
    for definition in definitions:  # checked now, pushed after the commit: a rolled back caller leaves no job behind
        envelope.seal(definition)
    transaction.on_commit(partial(_push, backend, definitions))
    return [str(definition.id) for definition in definitions]


def _push(backend: Backend, definitions: list[JobDefinition]) -> list[str]:
    ids = breaker_of(backend).call(partial(backend.enqueue_many, definitions))
    if signals.job_enqueued.receivers:
        stored = [d for d, found in zip(definitions, ids, strict=True) if found == d.id]
        backend.after_commit(partial(_tell, backend, stored))
    return ids


def _tell(backend: Backend, definitions: list[JobDefinition]) -> None:
    for d in definitions:
        signals.job_enqueued.send_robust(type(backend), job_id=d.id, queue=d.queue, handler=d.handler)


port.fill(Jobs)
