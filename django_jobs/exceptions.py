"""Every error of django_jobs, under one root.

Errors of the caller say which field is wrong and what to do. `JobTimeout` and `JobCancelled` derive from
`BaseException`, so that a handler's `except Exception` cannot swallow them.
"""

from __future__ import annotations

from typing import Any


class JobsError(Exception):
    """The root of what django_jobs raises on its own account."""


# -- at the edge: what a caller can get wrong ---------------------------------------------------------------


class InvalidDefinition(JobsError, ValueError):
    """A field of a job definition has a value that cannot be accepted."""


class InvalidPriority(InvalidDefinition):
    """The priority is not a whole number from -100 to 100."""


class PayloadNotSerializable(InvalidDefinition, TypeError):
    """The payload holds something that JSON cannot carry unchanged."""


class PayloadTooLarge(InvalidDefinition):
    """The payload's JSON is longer than JOBS_MAX_PAYLOAD_BYTES."""


class PayloadValidationError(InvalidDefinition):
    """The payload does not fit the handler's `payload_type`. An attempt that meets it is not retried."""


class HandlerNotAllowed(InvalidDefinition):
    """The queue takes no jobs of this handler (`JOBS_QUEUES[...]["handlers"]`)."""


class InvalidSchedule(InvalidDefinition):
    """An entry of the schedule, its cron expression or its time zone can't be used. `rule` is the system check's id."""

    def __init__(self, message: str, *, rule: str = "E021") -> None:
        super().__init__(message)
        self.rule = rule


class UnknownHandler(JobsError, LookupError):
    """No handler is registered under this key."""


class InvalidHandler(JobsError, TypeError):
    """What a handler key names cannot be used as a handler."""


class JobNotFound(JobsError, LookupError):
    """No job with this id is stored."""


class JobConflict(JobsError):
    """The job's present state does not allow this."""


class DuplicateJob(JobConflict):
    """The job's unique key is taken. `existing` is the id of the job that has it."""

    def __init__(self, message: str, *, existing: str = "") -> None:
        super().__init__(message)
        self.existing = existing


class JobNotFinished(JobsError):
    """The result was asked for before there is one."""


class JobFailed(JobsError):
    """The result was asked for, but the job failed or was cancelled. `reason` says how."""

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class StoreUnavailable(JobsError):
    """The store could not take the job. The database's own error is the cause (`__cause__`)."""


class StoreBusy(StoreUnavailable):
    """Somebody else's lock was in the way, within a transaction of the caller's: roll it back and try again."""


class LockTaken(JobsError):
    """Somebody else has the lock (`django_jobs.locks.mutex`), and had it as long as we would wait."""


class LockLost(JobsError):
    """The lock is not ours any more: its time was over before it was renewed. Somebody else may have it."""


class CircuitOpen(StoreUnavailable):
    """The store has failed several times in a row, and is not asked again for JOBS_CIRCUIT_COOLDOWN seconds."""


# -- inside: what can be wrong with a stored job -------------------------------------------------------------


class EnvelopeError(JobsError):
    """A stored envelope cannot be used."""


class BadSignature(EnvelopeError):
    """The envelope's signature does not match it, or is of a key that is not known here."""


class CorruptEnvelope(EnvelopeError):
    """The envelope cannot be decoded, or is not the envelope of this job."""


# -- for handlers -------------------------------------------------------------------------------------------


class RetryableJobError(Exception):
    """Raise in a handler to try again later.

    `retry_after` is in seconds: 0 means now, None leaves it to the job's backoff.

        raise RetryableJobError("the gateway is busy", retry_after=300)
    """

    retry_after: float | None = None  # also of a subclass that does not call the constructor

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NonRetryableJobError(Exception):
    """Raise in a handler when trying again can't help: the job fails at once, whatever attempts are left."""


class RetryAfter(RetryableJobError):
    """Raise in a handler to try again after so many seconds. Counts as an attempt.

    Where the handler names a `service`, or `service` is given here, no job of that service is started meanwhile, on any
    host: what one of them has learned spares the others.

        raise RetryAfter(float(response.headers["Retry-After"]))
    """

    service: str = ""

    def __init__(self, seconds: float, message: str = "", *, service: str = "") -> None:
        super().__init__(message or f"the handler asked to be tried again in {seconds} s", retry_after=seconds)
        self.service = service


class Fail(NonRetryableJobError):
    """Raise in a handler to fail the job at once: `raise Fail("no such customer")`."""


class ProgramFailed(Exception):
    """Raised by the built-in handler `shell`: the program could not be run, or exited with an error.

    `exit_code` is what it exited with; negative is the signal that ended it; None: it was not run.
    """

    def __init__(self, message: str, *, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class JobSignal(Exception):
    """The root of what a handler raises to say what is to become of its job, where nothing went wrong."""


class Snooze(JobSignal):
    """Raise in a handler: not now. The job waits and runs again, which costs no attempt.

    `until` is seconds, a timedelta, a text such as `"10m"`, or an aware datetime (by this host's clock). A handler's
    `max_snoozes` bounds how often.

        raise Snooze("10m")
    """

    until: Any = 0

    def __init__(self, until: Any = 0, message: str = "") -> None:
        super().__init__(message)
        self.until = until


class Discard(JobSignal):
    """Raise in a handler whose job has become pointless: it ends as cancelled, with the reason in its history."""


class DeferTo(JobSignal):
    """Raise in a handler to move the job to another queue, at once or after so many seconds. Costs no attempt.

    raise DeferTo("slow")
    """

    after: float = 0.0

    def __init__(self, queue: str, after: float = 0.0, message: str = "") -> None:
        super().__init__(message)
        self.queue = queue
        self.after = after


class JobCancelled(BaseException):
    """Raised in a handler whose cancel was asked for, between two steps of the interpreter, and by
    `ctx.raise_if_cancelled()`. Clean up, then let it pass: a kill follows after JOBS_KILL_GRACE.
    """


class JobTimeout(BaseException):
    """Raised in a handler whose time is up. Clean up, then let it pass: a kill follows after JOBS_KILL_GRACE."""


class RecordedError(Exception):
    """An error as it was recorded: what the hooks after an outcome get, as the original stayed in its process."""

    def __init__(self, class_path: str, message: str, traceback: str) -> None:
        super().__init__(message)
        self.class_path = class_path
        self.message = message
        self.traceback = traceback
