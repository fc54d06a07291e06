"""`JobHandler`, the base class of handlers, and `JobResult`, what they may return."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from .. import port, registry
from ..context import JobContext
from ..definition import UNSET, JobBuilder
from ..exceptions import NonRetryableJobError, RecordedError
from . import typed

if TYPE_CHECKING:
    from typing import Self

    from ..api import JobRef


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a handler may return to say more than its output. Make one with the class methods."""

    kind: str
    value: Any = None
    error: str = ""
    after: float | None = None

    @classmethod
    def success(cls, value: Any = None) -> JobResult:
        """Done; `value` is the output."""
        return cls("success", value=value)

    @classmethod
    def retry(cls, error: str | None = None, after: float | None = None) -> JobResult:
        """Try again: `after` seconds, 0 is now, None leaves it to the backoff. Counts as an attempt."""
        return cls("retry", error=error or "the handler asked to be tried again", after=after)

    @classmethod
    def fail(cls, error: str) -> JobResult:
        """Failed for good."""
        return cls("fail", error=error)

    @classmethod
    def snooze(cls, after: float) -> JobResult:
        """Not now: try again in `after` seconds. Costs no attempt."""
        return cls("snooze", after=after)


class JobHandler:
    """Business logic of one kind of job. A fresh instance runs each attempt.

    Class attributes are the defaults of the job options; a class method `get_<option>()` may compute one. The hooks
    `on_success`, `on_retry`, `on_failure` and `on_cancel` run after the outcome is stored, at most once, in a process
    of the worker (not necessarily the one that ran the job). What they raise is logged and changes nothing.

        class SendWelcomeEmail(JobHandler):
            queue = "mail"
            max_attempts = 3

            def handle(self, ctx):
                send_mail(...)
                return {"sent": True}


        SendWelcomeEmail.dispatch({"user_id": 123}, delay=60)
    """

    queue: str = UNSET
    backend: str = UNSET
    priority: int = UNSET
    delay: Any = UNSET
    max_attempts: int = UNSET
    timeout: Any = UNSET
    backoff: Any = UNSET
    ttl: Any = UNSET
    unique: Any = UNSET
    retry_on_crash: bool = True
    """False: a job whose process died under it fails at once, as it may have had half of its effects. One that was lost
    with its whole worker is given back once all the same: it need not have begun.
    """
    atomic: bool = False
    """True: an attempt runs in a transaction on the database of its queue, which also records its completion. What it
    writes there and that it is done are committed together; whatever else it comes to, nothing of it is left.
    """
    payload_type: Any = None
    """A dataclass, an attrs class or a `msgspec.Struct`: payloads are checked against it at dispatch, and `ctx.payload`
    is one of its instances. Keys that it does not know are refused, unless `allow_extra`.
    """
    allow_extra: bool = False
    """True: keys that `payload_type` does not know are let in. They are stored, and left out of `ctx.payload`."""
    schema_version: int = 1
    """The version of the payload's form. Raise it with a change, and turn older payloads in `migrate_payload`."""
    middleware: Sequence[Any] = ()
    """Callables `(ctx, next)`, or their dotted paths, around each attempt. The first is the outermost, but for
    `JOBS_MIDDLEWARE`; each answers what `next()` answers, or something else.
    """
    methods: Sequence[str] = ()
    """Methods that may be dispatched in the place of `handle`: `Jobs.define([Reports, "monthly"])`."""
    capture_output: bool = False
    """True: what an attempt prints goes into the job's timeline, the last `JOBS_MAX_OUTPUT_LENGTH` characters of it."""
    warnings_as_errors: bool | None = None
    """True: a Python warning fails the attempt. None: as `JOBS_QUEUES` has it."""
    service: str = ""
    """What the jobs depend on, such as the name of a remote API: a `RetryAfter` pauses all handlers that name it."""
    max_snoozes: int | None = None
    """How often a job may snooze before it is dead. None: `JOBS_MAX_SNOOZES`."""

    @classmethod
    def create(cls, ctx: JobContext) -> Self:
        """The instance that runs an attempt. Override it to hand over what the handler depends on.

        Where `JOBS_CONTAINER` names a callable `(handler class, ctx)`, that makes the instances of all handlers.
        """
        return cls()

    @classmethod
    def clean_payload(cls, payload: Any) -> Any:
        """The payload as it is stored; called at dispatch. Raises `InvalidDefinition` for one that does not fit."""
        if cls.payload_type is None:
            return payload
        return typed.dump(cls.payload_type, payload, allow_extra=cls.allow_extra)

    @classmethod
    def load_payload(cls, payload: Any) -> Any:
        """`ctx.payload`, from what is stored."""
        if cls.payload_type is None:
            return payload
        return typed.load(cls.payload_type, payload, allow_extra=cls.allow_extra)

    @classmethod
    def migrate_payload(cls, payload: Any, from_version: int) -> Any:
        """A payload of this version, from one that was stored under an older `schema_version`."""
        raise NonRetryableJobError(
            f"the payload is of version {from_version} and {cls.__qualname__} of version {cls.schema_version}. "
            "Give it a class method migrate_payload(payload, from_version)."
        )

    def handle(self, ctx: JobContext) -> Any:
        """Do the work. The return value (JSON, or a `JobResult`) is the output; raising means the attempt failed."""
        raise NotImplementedError(f"{type(self).__qualname__} needs a method handle(self, ctx)")

    def before_run(self, ctx: JobContext) -> None:
        """Called before `handle`, within the attempt: raising here fails it."""

    def after_run(self, ctx: JobContext, result: Any) -> None:
        """Called after `handle` returned, within the attempt's time. Errors are logged and change nothing."""

    def on_success(self, ctx: JobContext, result: Any) -> None:
        """The job is completed."""

    def on_retry(self, ctx: JobContext, error: RecordedError) -> None:
        """The attempt failed and the job will run again."""

    def on_failure(self, ctx: JobContext, error: RecordedError) -> None:
        """The job has failed for good."""

    def on_cancel(self, ctx: JobContext) -> None:
        """The job was cancelled."""

    def backoff_delay(self, ctx: JobContext, error: BaseException) -> float | None:
        """Seconds to wait before the next attempt; None leaves it to the backoff of the job.

        A class attribute `backoff` that is a function of the attempt's number is asked here.
        """
        backoff = inspect.getattr_static(type(self), "backoff", None)
        if isinstance(backoff, staticmethod):
            backoff = backoff.__func__
        return float(backoff(ctx.attempt)) if callable(backoff) else None

    def fail_permanently(self, reason: str) -> NoReturn:
        """Fail the job at once, whatever attempts are left."""
        raise NonRetryableJobError(reason)

    @classmethod
    def define(cls, payload: Any = None) -> JobBuilder:
        """A builder for a job of this handler."""
        return port.jobs().define(registry.key_of(cls), payload)

    @classmethod
    def dispatch(cls, payload: Any = None, **options: Any) -> JobRef:
        """Enqueue a job of this handler: `SendMail.dispatch({...}, delay=60)`. Returns its reference."""
        return cls.define(payload).dispatch(**options)

    @classmethod
    def dispatch_many(cls, payloads: Iterable[Any], **options: Any) -> list[JobRef]:
        """Enqueue a job of this handler for each payload, in one statement or few (`Jobs.push_many`)."""
        return port.jobs().push_many(registry.key_of(cls), payloads, **options)

    @classmethod
    def dispatch_sync(cls, payload: Any = None, **options: Any) -> JobRef:
        """Run a job of this handler here and now, with its hooks, attempts and record."""
        return port.jobs().dispatch_sync(cls.define(payload).with_options(**options))
