"""`Jobs`, the public face: define, dispatch, look up, cancel, retry, delete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache, partial
from typing import Any

from django.core.signals import setting_changed
from django.db import transaction

from . import envelope, port, registry, signals
from .backends import Backend, CancelOutcome, JobRecord, get_backend
from .conf import conf
from .definition import UNSET, JobBuilder, JobDefinition, checked_options, definition_of
from .exceptions import InvalidDefinition, JobFailed, JobNotFinished, JobNotFound
from .ids import new_id, parse_id
from .names import check_handler, check_queue
from .retry import parse_backoff


class JobRef(str):
    """The id of a job, as text, with what one may ask of it.

    ref = Jobs.push("welcome", {"user_id": 123})
    ref.refresh().state
    """

    __slots__ = ("backend",)
    backend: str | Backend | None

    def __new__(cls, value: str, backend: str | Backend | None = None) -> JobRef:
        self = super().__new__(cls, value)
        self.backend = backend
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

    def cancel(self) -> CancelOutcome:
        """Cancel the job; see `Jobs.cancel`."""
        return Jobs.cancel(self, backend=self.backend)

    def retry(self, *, delay: float = 0.0) -> None:
        """Make the failed job wait again; see `Jobs.retry`."""
        Jobs.retry(self, delay=delay, backend=self.backend)


class Jobs:
    """The public face. Nothing here is an instance: call the class."""

    @classmethod
    def define(cls, handler: Any, payload: Any = None) -> JobBuilder:
        """A builder for a job of `handler`: a key, or a handler class that is registered.

        Jobs.define("welcome", {"user_id": 123}).queue("mail").max_retries(2).dispatch()
        """
        key = handler if isinstance(handler, str) else _key_of(handler)
        return JobBuilder(JobDefinition(handler=check_handler(key), payload=payload))

    @classmethod
    def dispatch(cls, job: JobBuilder | JobDefinition) -> JobRef:
        """Enqueue one job and return its reference.

        On the database backend the enqueue is part of the caller's transaction: it is there when that commits, and
        never was when that rolls back. Raises `InvalidDefinition` for a bad field, `UnknownHandler`, and
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
        common = _with_defaults(cls.define(handler).with_options(**options).to_definition())
        if common.id is not None:
            raise InvalidDefinition("id: many jobs can't share one. Give ids to definitions, and use dispatch_many().")
        check_payload = getattr(registry.get(common.handler), "check_payload", None)
        definitions = []
        for payload in payloads:
            if check_payload is not None:
                check_payload(payload)
            definitions.append(common.changed({"payload": payload, "id": new_id(), "fresh_id": True}))
        return _store(definitions)

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
        given = {"queue": queue, "id": uuid, "backend": backend}
        builder = cls.define(handler, payload).with_options(
            **{k: v for k, v in given.items() if v is not None}, **options
        )
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
    def cancel(cls, job_id: object, *, backend: str | Backend | None = None) -> CancelOutcome:
        """Cancel a job. One that waits is cancelled at once; one that runs is asked for, and never retried."""
        return _backend_of(job_id, backend).cancel(parse_id(job_id))

    @classmethod
    def retry(
        cls, job_id: object, *, delay: float = 0.0, resign: bool = False, backend: str | Backend | None = None
    ) -> None:
        """Make a failed job wait again under its own id, with no attempts used.

        Raises `JobNotFound`, and `JobConflict` for a rejected one unless `resign` signs it anew.
        """
        _backend_of(job_id, backend).retry(parse_id(job_id), delay=delay, resign=resign)

    @classmethod
    def delete(cls, job_id: object, *, force: bool = False, backend: str | Backend | None = None) -> bool:
        """Delete a job. False: there is none. Raises `JobConflict` for one that runs, unless `force`."""
        return _backend_of(job_id, backend).delete(parse_id(job_id), force=force)


def _backend_of(job_id: object, backend: str | Backend | None) -> Backend:
    return get_backend(backend if backend is not None else getattr(job_id, "backend", None))


def _key_of(handler: Any) -> str:
    if isinstance(handler, list | tuple) and len(handler) == 2:
        handler, method = handler
        if method != "handle":
            raise InvalidDefinition(f"handler: {method!r} can't be chosen; a handler's method is `handle`.")
    if isinstance(key := getattr(handler, "key", None), str):
        return key
    if not isinstance(handler, type):
        raise InvalidDefinition(f"handler: {handler!r:.200} is neither a key nor a handler class.")
    return registry.key_of(handler)


def _whole(definition: JobDefinition) -> JobDefinition:
    """The definition with an id, a payload that the handler takes, and every default filled in."""
    check_payload = getattr(registry.get(definition.handler), "check_payload", None)
    if check_payload is not None:
        check_payload(definition.payload)
    definition = _with_defaults(definition)
    return definition if definition.id is not None else definition.changed({"id": new_id(), "fresh_id": True})


def _with_defaults(definition: JobDefinition) -> JobDefinition:
    """The definition with every option: the call wins over the handler, it over the queue, it over the site."""
    of_handler = registry.defaults_of(registry.get(definition.handler))
    queue = definition.queue if definition.queue is not UNSET else of_handler.get("queue", conf.default_option("queue"))
    return definition.changed(definition.gaps({**_defaults_of_queue(queue), **of_handler}))


@lru_cache(maxsize=1000)
def _defaults_of_queue(name: str) -> Mapping[str, Any]:
    """What `JOBS_QUEUES` says of the jobs of a queue, over what the site says of all."""
    queue = conf.queue(name)
    return {
        **site_defaults(),
        **_checked(f"JOBS_QUEUES[{queue.name!r}]", queue.options),
        "queue": check_queue(name),
        "backend": queue.backend or conf.default_backend,
    }


def site_defaults() -> Mapping[str, Any]:
    """The job options of `JOBS_DEFAULTS` and `JOBS_BACKOFF`, checked."""
    defaults = {"backoff": parse_backoff(conf.backoff)}
    defaults |= {name: conf.default_option(name) for name in ("priority", "delay", "max_attempts", "timeout")}
    return _checked("JOBS_DEFAULTS", defaults)


def _checked(where: str, options: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return checked_options(options)
    except InvalidDefinition as error:
        raise InvalidDefinition(f"{where}: {error}") from None


def _forget(*, setting: str, **_: Any) -> None:
    if setting.startswith("JOBS_"):
        _defaults_of_queue.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_jobs.api")


def _store(definitions: list[JobDefinition]) -> list[JobRef]:
    """Enqueue whole definitions, each backend's together."""
    by_backend: dict[str, list[JobDefinition]] = {}
    for definition in definitions:
        by_backend.setdefault(str(definition.backend), []).append(definition)
    backends = {alias: get_backend(alias) for alias in by_backend}
    if len(backends) > 1:  # each backend checks its own before it stores them, but no other's
        for definition in definitions:
            envelope.seal(definition)
    for alias, definitions in by_backend.items():
        _enqueue(backends[alias], definitions)
    return [JobRef(str(definition.id), str(definition.backend)) for definition in definitions]


def _enqueue(backend: Backend, definitions: list[JobDefinition]) -> None:
    if backend.supports.transactional or not backend.supports.shared:
        _push(backend, definitions)
        return
    for definition in definitions:  # checked now, pushed after the commit: a rolled back caller leaves no job behind
        envelope.seal(definition)
    transaction.on_commit(partial(_push, backend, definitions))


def _push(backend: Backend, definitions: list[JobDefinition]) -> None:
    backend.enqueue_many(definitions)
    if signals.job_enqueued.receivers:
        backend.after_commit(partial(_tell, backend, definitions))


def _tell(backend: Backend, definitions: list[JobDefinition]) -> None:
    for d in definitions:
        signals.job_enqueued.send_robust(type(backend), job_id=d.id, queue=d.queue, handler=d.handler)


port.fill(Jobs)
