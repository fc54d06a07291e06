"""Runs one attempt of a claimed job in this process, and later the hooks that follow its outcome.

`run_attempt` never raises for what a job does: everything a handler can come to is an `Outcome`.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import os
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from django.core.signals import setting_changed

from . import connections, envelope, logs, registry, signals
from .awaiting import settled
from .conf import conf
from .context import Controls, JobContext, NoControls
from .defaults import with_defaults
from .definition import UNSET, JobDefinition, checked_options, moment, seconds
from .exceptions import (
    BadSignature,
    CorruptEnvelope,
    DeferTo,
    HandlerNotAllowed,
    InvalidDefinition,
    InvalidHandler,
    JobCancelled,
    JobSignal,
    JobTimeout,
    NonRetryableJobError,
    PayloadValidationError,
    RecordedError,
    RetryableJobError,
    RetryAfter,
    Snooze,
    UnknownHandler,
)
from .handlers import JobHandler, JobResult
from .ids import new_id
from .invocation import Invocation, instance_of, plan_of
from .logs import get_logger
from .names import check_queue, plain
from .redaction import clip, presentable, redact
from .retry import LONGEST_DELAY, OutcomeKind, Target, Transition

logger = get_logger("runtime")

NOTE_BYTES = 4000
OUTPUT_BYTES = 40_000  # a timeline's entry takes no more, whatever JOBS_MAX_OUTPUT_LENGTH says
MOST_SERVICE_CHARACTERS, KEY_BYTES = 50, 200  # of a service's name: it is a part of a key
_HEAD_CHARACTERS = 1000
CLASS_PATH_CHARACTERS = 240  # a mark of the cut comes on top, and the column takes 255


class Claim(NamedTuple):
    """A job that a worker has claimed: the fence (`id`, `worker_id`, `claim_no`), and what is needed to run it.

    `claimed_at` and `enqueued_at` are seconds since 1970 on the store's clock. `attempt` counts this run already.
    `timeout` overrides that of the job, where the worker was told so.
    """

    id: str
    queue: str
    handler: str
    worker_id: str
    claim_no: int
    attempt: int
    crashes: int
    suspect: bool
    body: str
    signature: str
    history: str
    enqueued_at: float
    claimed_at: float
    timeout: float | None = None


class ErrorRecord(NamedTuple):
    """An error in the form in which it is kept."""

    class_path: str = ""
    message: str = ""
    traceback: str = ""


class Outcome(NamedTuple):
    """What one attempt came to. `result` is JSON text; `keep_seconds` is how long a completed record stays (None: for
    ever).
    """

    kind: str
    result: str = ""
    error: ErrorRecord | None = None
    retry_after: float | None = None
    seconds: float = 0.0
    keep_seconds: int | None = None
    queue: str = ""
    """Where a deferred job goes."""
    service: str = ""
    """What is to be left alone for `retry_after` seconds."""
    stored: bool = False
    """It has been written already, in the job's own transaction."""


_COMPLETED = Outcome(OutcomeKind.COMPLETED)


class Guard(Protocol):
    """Ends an attempt at its deadline: a context manager made for each attempt's timeout."""

    def __call__(self, timeout: float | None) -> AbstractContextManager[Any]: ...


Complete = Callable[[Outcome], Outcome]


class Store(Protocol):
    """What the store of a job does for the attempts of atomic handlers."""

    @property
    def longest_transaction(self) -> float | None:
        """How many seconds a transaction may take before it is in the way of everybody else; None is no limit."""

    def completing(self, claim: Claim) -> AbstractContextManager[Complete]:
        """A transaction for the handler, and a function that writes the attempt's completion as the last part of it.

        The function answers the outcome as it was stored, and raises `RolledBack` where it could not be.
        """


class RolledBack(Exception):
    """The transaction of an atomic handler ends without a trace; what the attempt came to is `outcome`."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.kind)
        self.outcome = outcome


class Expired(Exception):
    """The job was not to be started so late."""


Prepared = tuple[JobDefinition, Invocation]
"""An attempt up to its start."""


def run_attempt(
    claim: Claim,
    guard: Guard,
    controls: Controls | None = None,
    store: Store | None = None,
) -> Outcome:
    """Run one attempt of `claim`; `guard` raises `JobTimeout` in it when its time is up. `store` is where the job is:
    an atomic handler is completed there, in its own transaction.
    """
    started = time.monotonic()
    outer = logs.running.set(claim)
    try:
        definition, invocation = prepare(claim, controls or NoControls())
    except BaseException as error:
        outcome = _not_started(claim, error)
        logs.running.reset(outer)
        return outcome
    handler = invocation.handler_class
    try:
        outcome = _attempted(claim, invocation, guard, store, started)
        after = None if outcome.retry_after is None else _delay_of(claim.id, outcome.retry_after)
    except BaseException as error:  # of what the handler has raised or returned, as it was asked what it means
        if _is_of_the_caller(error, claim):
            raise
        outcome, after = Outcome(OutcomeKind.RETRY, error=record_error(error)), None
    finally:
        logs.running.reset(outer)
        connections.tidy()
    kind, result, recorded, *_, queue, service, stored = outcome
    took = time.monotonic() - started
    return Outcome(kind, result, recorded, after, took, seconds_kept(definition, handler), queue, service, stored)


def _attempted(claim: Claim, invocation: Invocation, guard: Guard, store: Store | None, started: float) -> Outcome:
    """What the handler comes to. Raises what the methods of its errors raise, which may be anything."""
    try:
        if getattr(invocation.handler_class, "atomic", False):
            return _run_atomically(claim, invocation, guard, store, started)
        return _run(claim, invocation, guard, invocation.definition.timeout)
    except RolledBack as rolled_back:
        return rolled_back.outcome
    except JobCancelled as error:
        if claim.worker_id:  # elsewhere the connections are the caller's own
            connections.drop()
        return Outcome(OutcomeKind.CANCELLED, error=record_error(error))
    except JobTimeout as error:
        connections.drop()
        delay = _custom_delay(invocation, error)
        return Outcome(OutcomeKind.TIMED_OUT, error=record_error(error), retry_after=delay)
    except JobSignal as signal:
        return _outcome_of_signal(claim, signal)
    except (NonRetryableJobError, PayloadValidationError) as error:
        return Outcome(OutcomeKind.FAILED, error=record_error(error))
    except RetryableJobError as error:
        delay = error.retry_after if error.retry_after is not None else _custom_delay(invocation, error)
        service = _service_of(invocation.handler_class, error)
        return Outcome(OutcomeKind.RETRY, error=record_error(error), retry_after=delay, service=service)
    except BaseException as error:  # a handler's sys.exit() must not end the child
        if _is_of_the_caller(error, claim):
            raise
        return Outcome(OutcomeKind.RETRY, error=record_error(error), retry_after=_custom_delay(invocation, error))


def _is_of_the_caller(error: BaseException, claim: Claim) -> bool:
    """Whether it is an interrupt of whoever runs the job in a process of their own, without a worker."""
    return issubclass(type(error), KeyboardInterrupt) and not claim.worker_id  # isinstance() would ask the error


def _run(claim: Claim, invocation: Invocation, guard: Guard, timeout: float | None) -> Outcome:
    process = os.getpid()
    with guard(timeout):
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("START %s %s", claim.handler, claim.id, extra=logs.facts(claim))
        if signals.job_started.receivers:
            signals.job_started.send_robust(invocation.handler_class, ctx=invocation.ctx)
        try:
            value = invocation.run()
        finally:
            if claim.worker_id and os.getpid() != process:
                os._exit(0)  # a copy that the handler forked and let go on: nothing here is its own
    return _outcome_of(value)


def _run_atomically(claim: Claim, invocation: Invocation, guard: Guard, store: Store | None, started: float) -> Outcome:
    """Run a handler in a transaction which its completion is part of. Every other outcome rolls it back.

    The deadline is the handler's alone: nothing strikes between it and the commit, so that nobody need wonder whether
    that took place.
    """
    if store is None:
        raise NonRetryableJobError(f"{claim.handler!r} is atomic, and there is no store here that could complete it")
    definition, longest = invocation.definition, store.longest_transaction
    timeout = definition.timeout if longest is None else min(definition.timeout or longest, longest)
    with store.completing(claim) as complete:
        outcome = _run(claim, invocation, guard, timeout)
        if outcome.kind != OutcomeKind.COMPLETED:
            raise RolledBack(outcome)
        keep = seconds_kept(definition, invocation.handler_class)
        return complete(outcome._replace(seconds=time.monotonic() - started, keep_seconds=keep))


def prepare(claim: Claim, controls: Controls) -> Prepared:
    """Open the envelope of a claim and find its handler. Raises what keeps the job from its start.

    It calls nothing of the site but what importing does, and logs nothing: a site's log may go to a database.
    """
    definition = envelope.unseal(claim.body, claim.signature, id=claim.id, queue=claim.queue, handler=claim.handler)
    if claim.timeout is not None:
        definition = replace(definition, timeout=claim.timeout)
    if (end := _end_of(definition, claim)) is not None and end <= claim.claimed_at:
        raise Expired(f"not started before {datetime.fromtimestamp(end, UTC).isoformat()}")
    handler = registry.get(definition.handler)
    plan = plan_of(handler, claim.handler, claim.queue)
    if not plan.allowed:
        raise HandlerNotAllowed(f"JOBS_QUEUES[{claim.queue!r}]['handlers'] does not allow {claim.handler!r}")
    if definition.schema_version > plan.version:
        raise UnknownHandler(
            f"the payload is of version {definition.schema_version}, newer than {claim.handler!r} here: "
            "a worker with the newer code can run it"
        )
    return definition, Invocation(plan, handler, definition, context_of(claim, definition, controls))


def _not_started(claim: Claim, error: BaseException) -> Outcome:
    """What an attempt has come to of which `prepare` has raised `error`."""
    match error:
        case Expired():
            return Outcome(OutcomeKind.EXPIRED, error=ErrorRecord("", str(error)))
        case BadSignature() | HandlerNotAllowed():
            level = logging.CRITICAL if isinstance(error, BadSignature) else logging.ERROR
            logger.log(level, "job %s on queue %s is rejected: %s", claim.id, claim.queue, error)
            kind = OutcomeKind.REJECTED
        case CorruptEnvelope():
            kind = OutcomeKind.CORRUPT
        case UnknownHandler() | InvalidHandler():
            kind = OutcomeKind.HANDLER_MISSING
        case _:  # of the import of the handler's module
            kind = OutcomeKind.RETRY
    return Outcome(kind, error=record_error(error))


def rehearse() -> None:
    """Run an attempt of each handler as far as its start, so that processes which are forked now need not do that for
    the first time. No handler is called, and no middleware.
    """
    queues = conf.queue_names()
    for key in registry.handler_keys():
        with contextlib.suppress(Exception):  # what is wrong with a handler is told where its jobs run
            definition = with_defaults(JobDefinition(key, id=new_id()))
            run_attempt(_claim_of(definition), _let_nobody_in)
            for queue in queues:
                plan_of(registry.get(key), key, queue)


def blank() -> Claim | None:
    """A claim of a job that does nothing, to rehearse attempts. None where the site would see something of it."""
    key = "jobs_test.timeout"
    for queue in conf.queue_names():
        plan = plan_of(registry.get(key), key, queue)
        if plan.allowed and not (plan.middleware or conf.container or signals.job_started.receivers):
            return _claim_of(with_defaults(JobDefinition(key, {"seconds": 0}, id=new_id(), queue=queue, timeout=60)))
    return None


def _claim_of(definition: JobDefinition) -> Claim:
    now = time.time()
    body, signature = envelope.seal(definition)
    id_, queue, handler = str(definition.id), definition.queue, definition.handler
    return Claim(id_, queue, handler, "", 1, 1, 0, False, body, signature, "", now, now)


def _let_nobody_in(timeout: float | None) -> AbstractContextManager[Any]:
    raise JobCancelled


def _end_of(definition: JobDefinition, claim: Claim) -> float | None:
    """After which moment the job must not start, in seconds since 1970 on the store's clock."""
    if definition.expires_at is not None:
        return definition.expires_at.timestamp()
    return None if definition.expires_in is None else claim.enqueued_at + definition.expires_in


def context_of(claim: Claim, definition: JobDefinition, controls: Controls | None = None) -> JobContext:
    """The context of an attempt."""
    return JobContext(
        claim,
        definition,
        definition.payload,
        None if definition.timeout is None else time.time() + definition.timeout,
        controls or NoControls(),
    )


def _outcome_of(value: Any) -> Outcome:
    if value is None:
        return _COMPLETED
    if not isinstance(value, JobResult):
        return Outcome(OutcomeKind.COMPLETED, result=result_json(value))
    error = ErrorRecord("", presentable(_safe(str, value.error), conf.max_traceback_bytes))
    match value.kind:
        case "retry":
            return Outcome(OutcomeKind.RETRY, error=error, retry_after=value.after)
        case "fail":
            return Outcome(OutcomeKind.FAILED, error=error)
        case "snooze":
            return Outcome(OutcomeKind.SNOOZED, retry_after=value.after)
        case _:
            return Outcome(OutcomeKind.COMPLETED, result="" if value.value is None else result_json(value.value))


def _service_of(handler: type, error: RetryableJobError) -> str:
    """The service that an error says to leave alone."""
    if not isinstance(error, RetryAfter):
        return ""
    return service_name(error.service or getattr(handler, "service", ""))


def service_name(given: Any) -> str:
    """The name of a service as every store can keep it, as a part of a key."""
    return clip(str(given)[:MOST_SERVICE_CHARACTERS], KEY_BYTES)


def _outcome_of_signal(claim: Claim, signal: JobSignal) -> Outcome:
    """The outcome that a handler raised."""
    try:
        match signal:
            case Snooze():
                return Outcome(OutcomeKind.SNOOZED, error=record_error(signal), retry_after=_wait(signal.until))
            case DeferTo():
                after, queue = _wait(signal.after), check_queue(signal.queue)
                if not conf.queue(queue).allows(registry.canonical(claim.handler)):
                    raise HandlerNotAllowed(
                        f"DeferTo: JOBS_QUEUES[{queue!r}]['handlers'] does not allow {claim.handler!r}."
                    )
                return Outcome(OutcomeKind.DEFERRED, error=record_error(signal), retry_after=after, queue=queue)
    except InvalidDefinition as error:
        return Outcome(OutcomeKind.FAILED, error=record_error(error))
    return Outcome(OutcomeKind.DISCARDED, error=record_error(signal))


def _wait(until: Any) -> float:
    """The seconds to wait; what was reckoned to be over by now is 0."""
    if isinstance(until, datetime):
        return max(moment("until", until).timestamp() - time.time(), 0.0)
    if isinstance(until, timedelta):
        until = until.total_seconds()
    if isinstance(until, int | float) and until < 0:
        return 0.0
    return min(seconds("until", until), LONGEST_DELAY)


def result_json(value: Any) -> str:
    """A handler's output as JSON text of at most `JOBS_MAX_RESULT_BYTES`.

    What JSON can't carry is kept as its `repr`, and what is too long as its head, both marked: the work is done, so the
    job is completed.
    """
    limit = conf.max_result_bytes
    try:
        text = envelope.to_json("result", value)
    except Exception as error:  # PayloadNotSerializable, and what a strange object's own methods raise
        text = json.dumps({"not_json": _safe(repr, value)[:_HEAD_CHARACTERS], "error": clip(_safe(str, error), 300)})
    if len(text) * 4 > limit and (size := len(text.encode())) > limit:
        text = json.dumps({"truncated": True, "bytes": size, "head": text[:_HEAD_CHARACTERS]})
    return text


def seconds_kept(definition: JobDefinition, handler: type) -> int | None:
    """How long the completed record stays: by the job, its handler, its queue or the site, in this order."""
    if definition.ttl is not UNSET:
        return definition.ttl
    of_handler = _ttl_of(handler)
    if of_handler is not UNSET and of_handler is not None:
        return int(of_handler)
    return _keep_seconds_on(definition.queue)


@lru_cache(maxsize=1000)
def _keep_seconds_on(queue: str) -> int | None:
    of_queue = conf.queue(queue).keep_completed
    if of_queue is not None:
        return of_queue
    site = conf.default_option("ttl")
    return None if site is None else int(seconds("ttl", site))


def _forget(*, setting: str, **_: Any) -> None:
    if setting in ("JOBS_QUEUES", "JOBS_DEFAULTS"):
        _keep_seconds_on.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_jobs.runtime.settings")


def _ttl_of(handler: type) -> Any:
    """The `ttl` that a handler sets. Its own `get_<option>()` may fail, and the work is done."""
    try:
        return registry.defaults_of(handler).get("ttl", UNSET)
    except BaseException:
        logger.exception("the options of %s can't be read; its queue's ttl applies", handler.__qualname__)
        return UNSET


def _delay_of(job_id: str, given: Any) -> float | None:
    """A delay that a handler chose, in seconds; None, with a line in the log, where it is no delay."""
    if given is None:
        return None
    if isinstance(given, int | float) and given == given:
        return float(min(max(given, 0), LONGEST_DELAY))
    try:
        return min(seconds("retry_after", given), LONGEST_DELAY)
    except InvalidDefinition as error:
        logger.error("job %s: %s Its backoff applies.", job_id, error)
        return None


def keep_seconds(claim: Claim) -> int | None:
    """How long the completed record of a claim stays, where its outcome does not say."""
    return seconds_kept(envelope.decode(claim.body), registry.get(claim.handler))


def _custom_delay(invocation: Invocation, error: BaseException) -> float | None:
    try:
        ask = getattr(invocation.handler, "backoff_delay", None)
        delay: float | None = None if ask is None else ask(invocation.ctx, error)
    except BaseException:
        logger.exception("backoff_delay of job %s failed; its backoff applies", invocation.ctx.job_id)
        return None
    return delay


# -- errors, as they are kept -------------------------------------------------------------------------------


def record_error(error: BaseException) -> ErrorRecord:
    """`error` as it is kept: bounded, without secrets and control characters, whatever its own methods do."""
    limit = conf.max_traceback_bytes
    lines = _safe(lambda e: "".join(traceback.format_exception(e, limit=-50, chain=True)), error)
    return ErrorRecord(
        clip(_safe(_path_of, type(error)), CLASS_PATH_CHARACTERS),
        presentable(_safe(str, error), limit // 8),
        presentable(lines, limit, keep_end=True),
    )


_name_of, _module_of = (type.__dict__[name].__get__ for name in ("__qualname__", "__module__"))
"""What a class is called, whatever its metaclass says."""


def _path_of(kind: type) -> str:
    name, module = _name_of(kind), _module_of(kind)
    return name if module == "builtins" else f"{module}.{name}"


def _safe(render: Callable[[Any], str], value: Any) -> str:
    try:
        return plain(render(value))
    except BaseException as error:
        return f"<{_name_of(type(value))}, which could not be shown: {_name_of(type(error))}>"


def timeline_note(kind: str, message: Any, data: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """What a handler notes, as its timeline may have it: bounded, plain JSON, without secrets. Raises nothing.

    Of what was printed (`kind` is `output`) the end is kept, of a message its start.
    """
    try:
        text = json.dumps(redact(dict(data)), default=lambda value: presentable(_safe(str, value), NOTE_BYTES))
    except Exception:  # of JSON's own, or what the methods of an object raise
        text = json.dumps({"not_json": presentable(_safe(repr, data), _HEAD_CHARACTERS)})
    if len(text) > conf.max_result_bytes:
        text = json.dumps({"truncated": True, "head": text[:_HEAD_CHARACTERS]})
    plain: dict[str, Any] = json.loads(text)
    printed = kind == "output"
    return presentable(_safe(str, message), OUTPUT_BYTES if printed else NOTE_BYTES, keep_end=printed), plain


# -- hooks, after the outcome is stored ---------------------------------------------------------------------

_HOOKS = {
    Target.COMPLETED: ("on_success", signals.job_succeeded),
    Target.WAITING: ("on_retry", signals.job_retrying),
    Target.FAILED: ("on_failure", signals.job_failed),
    Target.CANCELLED: ("on_cancel", signals.job_cancelled),
}


def wants_hooks(handler_key: str, transition: Transition) -> bool:
    """Whether anybody listens to this transition of a job of this handler."""
    if transition.target is Target.WAITING and transition.attempt_refund:
        return False  # a release or a snooze is no retry
    name, signal = _HOOKS[transition.target]
    if signal.receivers:
        return True
    try:
        handler = registry.get(handler_key)
    except (UnknownHandler, InvalidHandler):
        return False
    return getattr(handler, name, None) is not getattr(JobHandler, name)


def run_hooks(claim: Claim, transition: Transition, result: str, error: ErrorRecord | None) -> None:
    """Call the hook and the signal that follow a stored outcome. Logs what they raise."""
    name, signal = _HOOKS[transition.target]
    try:
        definition = envelope.unseal(claim.body, claim.signature, id=claim.id, queue=claim.queue, handler=claim.handler)
        ctx = context_of(claim, definition)
        handler = instance_of(registry.get(claim.handler), ctx)
    except BaseException as problem:  # a rejected or unknown job has no hooks that could be trusted
        if _is_of_the_caller(problem, claim):
            raise
        logger.warning("no hooks for job %s: %s", claim.id, f"{type(problem).__name__}: {_safe(str, problem)}")
        handler, ctx = None, context_of(claim, JobDefinition(claim.handler, max_attempts=1, timeout=None))
    recorded = RecordedError(*(error or ErrorRecord()))
    value = json.loads(result) if result else None
    arguments: dict[Target, tuple[tuple[Any, ...], dict[str, Any]]] = {
        Target.COMPLETED: ((value,), {"result": value}),
        Target.WAITING: ((recorded,), {"error": recorded, "delay": transition.delay}),
        Target.FAILED: ((recorded,), {"error": recorded, "reason": transition.reason}),
        Target.CANCELLED: ((), {}),
    }
    for_hook, for_signal = arguments[transition.target]
    try:
        if (hook := getattr(handler, name, None)) is not None:
            settled(hook(ctx, *for_hook))
    except BaseException as problem:
        if _is_of_the_caller(problem, claim):
            raise
        logger.exception("%s of job %s failed", name, claim.id)
    try:
        signal.send_robust(None if handler is None else type(handler), ctx=ctx, **for_signal)
    except BaseException as problem:  # Django logs what is an Exception
        if _is_of_the_caller(problem, claim):
            raise
        logger.exception("a receiver of the signal that follows job %s failed", claim.id)
    if claim.worker_id:  # elsewhere the connections are the caller's own
        connections.tidy()


class Cancelled(logs.AboutJob, Protocol):
    """A cancelled job, as a cancel handler gets it: a `JobRecord`."""

    @property
    def body(self) -> str: ...
    @property
    def signature(self) -> str: ...


def run_cancel_handler(job: Cancelled, reason: str) -> ErrorRecord | None:
    """Call the cancel handler of a job, if it has one, in this process. Logs and answers what it raises.

    It gets the job and the reason, as far as its signature takes them.
    """
    try:
        definition = envelope.unseal(job.body, job.signature, id=job.id, queue=job.queue, handler=job.handler)
        if not definition.cancel_handler:
            return None
        checked_options({"cancel_handler": definition.cancel_handler})  # again, for where no signature is verified
        key, _, method = definition.cancel_handler.rpartition(":")
        call = getattr(registry.get(key or job.handler)(), method)
        takes = inspect.signature(call).parameters.values()
        most = 2 if any(p.kind is p.VAR_POSITIONAL for p in takes) else len(takes)
        settled(call(*(job, reason)[:most]))
    except (Exception, SystemExit) as error:
        logger.exception("the cancel handler of job %s failed", job.id)
        return record_error(error)
    return None
