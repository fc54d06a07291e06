"""`JobHandler`, the base class of handlers, and `JobResult`, what they may return."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from .. import port, registry
from ..context import JobContext
from ..definition import UNSET, JobBuilder
from ..exceptions import NonRetryableJobError, RecordedError

if TYPE_CHECKING:
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
    retry_on_crash: bool = True
    """False: a job whose process died under it fails at once, as it may have had half of its effects."""

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
