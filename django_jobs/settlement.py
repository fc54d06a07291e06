"""From an outcome to what is written: `conclude()` puts the facts of a job before `decide()`.

The worker, the reaper and the sync backend all settle through here, so that there is one rule for all of them.
"""

from __future__ import annotations

import contextlib
import json
import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from . import envelope, registry
from .conf import conf
from .defaults import with_defaults
from .definition import JobDefinition
from .exceptions import EnvelopeError, InvalidDefinition, InvalidHandler, PayloadTooLarge, UnknownHandler
from .logs import get_logger
from .redaction import clip, presentable
from .retry import COMPLETE, GIVE_BACK, Facts, OutcomeKind, Target, Transition, decide, parse_backoff
from .runtime import Claim, ErrorRecord, Outcome

logger = get_logger("worker")
HISTORY_TRACEBACK_BYTES = 4096
HISTORY_ENTRY_BYTES = HISTORY_TRACEBACK_BYTES + 1400
"""Of one entry of a history: its traceback, its message of 1,000, and the rest."""


class Settlement(NamedTuple):
    """What is to be written for a claim. `keep_seconds`: 0 keeps no completed record, None keeps it for ever."""

    claim: Claim
    transition: Transition
    result: str = ""
    error: ErrorRecord | None = None
    history: str = ""
    seconds: float = 0.0
    keep_seconds: int | None = None
    moved: Moved | None = None
    pause: tuple[str, float] | None = None
    """A service, and for how many seconds none of its jobs is to be started."""
    dead_letter: JobDefinition | None = None
    stored: bool = False
    """It has been written already, in the job's own transaction."""


class Moved(NamedTuple):
    """Where a job goes that was deferred to another queue: its envelope names the queue, and so is sealed anew."""

    queue: str
    body: str
    signature: str


def conclude(claim: Claim, outcome: Outcome, *, rng: Callable[[], float] = random.random) -> Settlement:
    """The settlement of `claim` after `outcome`."""
    if outcome.kind == OutcomeKind.COMPLETED:
        done = Settlement(claim, COMPLETE, outcome.result, None, claim.history, outcome.seconds, outcome.keep_seconds)
        return done._replace(stored=True) if outcome.stored else done
    try:
        return _concluded(claim, outcome, rng)
    except Exception as error:  # the row, or its history, holds what no job of ours can: it must not stop the others
        logger.exception("job %s can't be settled by the rules", claim.id)
        return Settlement(
            claim,
            Transition(Target.FAILED, "dead-lettered", reason="corrupt"),
            error=ErrorRecord(type(error).__name__, presentable(f"the stored job can't be judged: {error}", 500)),
        )


def _concluded(claim: Claim, outcome: Outcome, rng: Callable[[], float]) -> Settlement:
    kind = OutcomeKind(outcome.kind)
    transition = decide(_facts(claim), kind, retry_after=outcome.retry_after, rng=rng)
    history = claim.history if kind is OutcomeKind.INTERRUPTED else _with_entry(claim, outcome, transition)
    failed = transition.target is Target.FAILED
    moves = kind is OutcomeKind.DEFERRED and not failed
    return Settlement(
        *(claim, transition, outcome.result, outcome.error, history, outcome.seconds, outcome.keep_seconds),
        moved=_moved(claim, outcome) if moves else None,
        pause=(outcome.service, outcome.retry_after) if outcome.service and outcome.retry_after else None,
        dead_letter=_dead_letter(claim, outcome, transition) if failed else None,
    )


def _moved(claim: Claim, outcome: Outcome) -> Moved:
    definition = envelope.unseal(claim.body, claim.signature, id=claim.id, queue=claim.queue, handler=claim.handler)
    return Moved(outcome.queue, *envelope.seal(definition.changed({"queue": outcome.queue})))


def _dead_letter(claim: Claim, outcome: Outcome, transition: Transition) -> JobDefinition | None:
    """The job that tells of a failed one on the dead-letter queue, where its queue or the site has one.

    Its id derives from the claim, so that it can't be there twice; a failed dead letter makes no other.
    """
    options = conf.queue(claim.queue)
    queue = options.dead_letter_queue or conf.dead_letter_queue
    if not queue or queue == claim.queue:
        return None
    try:
        job = envelope.unseal(claim.body, claim.signature, id=claim.id, queue=claim.queue, handler=claim.handler)
        if "dead_letter" in job.meta:
            return None
        return _letter(claim, job, outcome, transition, queue)
    except EnvelopeError:
        return None  # nobody knows who wrote it
    except Exception:
        logger.exception("no dead letter for job %s", claim.id)
        return None


def _letter(claim: Claim, job: JobDefinition, outcome: Outcome, transition: Transition, queue: str) -> JobDefinition:
    """The dead letter of a job. Of what would make it too large, `left_out` among its facts tells."""
    error = outcome.error or ErrorRecord()
    facts = {
        "job_id": claim.id,
        "handler": claim.handler,
        "queue": claim.queue,
        "reason": transition.reason,
        "attempts": claim.attempt,
        "failed_at": datetime.fromtimestamp(claim.claimed_at + outcome.seconds, UTC).isoformat(),
        "error_class": error.class_path,
        "error_message": clip(error.message, min(1000, conf.max_payload_bytes // 4)),
    }
    handler = conf.queue(claim.queue).dead_letter_handler or conf.dead_letter_handler
    letter = with_defaults(
        JobDefinition(
            handler=handler or claim.handler,
            id=str(uuid.uuid5(uuid.UUID(claim.id), f"dead letter {claim.claim_no}")),
            queue=queue,
            source="callback",
            **{name: getattr(job, name) for name in ("name", "reference", "group", "tags")},
        )
    )
    version = letter.schema_version if handler else job.schema_version
    for payload, meta in _told(job, facts) if handler else _copied(job, facts):
        letter = letter.changed({"payload": payload, "meta": meta, "schema_version": version, "unique": None})
        with contextlib.suppress(PayloadTooLarge):
            envelope.seal(letter)  # what can't be stored must fail here, where it harms nobody
            return letter
    raise PayloadTooLarge("the facts of its failure do not fit into JOBS_MAX_PAYLOAD_BYTES")


Form = tuple[Any, Mapping[str, Any]]
"""The payload and the meta of a dead letter."""


def _told(job: JobDefinition, facts: dict[str, Any]) -> Iterator[Form]:
    """What the site's own handler gets, from the longest form to the shortest."""
    meta = {"dead_letter": facts}
    yield {**facts, "payload": job.payload, "meta": dict(job.meta)}, meta
    yield {**facts, "payload": job.payload, "meta": {}, "left_out": "meta"}, meta
    yield {**facts, "payload": None, "meta": {}, "left_out": "payload and meta"}, meta


def _copied(job: JobDefinition, facts: dict[str, Any]) -> Iterator[Form]:
    """What the job's own handler gets, which must not run with less than the job had."""
    yield job.payload, {**job.meta, "dead_letter": facts}
    short = {name: facts[name] for name in ("job_id", "reason")}
    yield job.payload, {**job.meta, "dead_letter": {**short, "left_out": "error"}}


def give_back(claim: Claim) -> Settlement:
    """The settlement that releases a claim without charging it."""
    return Settlement(claim, GIVE_BACK, history=claim.history)


def _facts(claim: Claim) -> Facts:
    """What `decide()` needs. Budgets come from the envelope, and only from one whose signature holds."""
    facts = Facts(
        attempt=claim.attempt,
        crashes=claim.crashes,
        max_crashes=conf.max_crashes,
        suspect=claim.suspect,
        snoozes=_snoozes(claim.history),
        max_snoozes=conf.max_snoozes,
        missing_seconds=_missing_seconds(claim),
        missing_grace=conf.missing_handler_grace,
    )
    try:
        definition = envelope.unseal(claim.body, claim.signature, id=claim.id, queue=claim.queue, handler=claim.handler)
    except EnvelopeError:
        return facts
    facts = facts._replace(max_attempts=int(definition.max_attempts or 1), backoff=_usable(definition.backoff))
    try:
        handler = registry.get(claim.handler)
    except (UnknownHandler, InvalidHandler):
        return facts
    most = getattr(handler, "max_snoozes", None)
    return facts._replace(
        retry_on_crash=getattr(handler, "retry_on_crash", True), max_snoozes=facts.max_snoozes if most is None else most
    )


def _usable(backoff: Any) -> Mapping[str, Any] | None:
    """The backoff of an envelope, which nobody has checked where signatures are not verified."""
    try:
        return parse_backoff(backoff)
    except InvalidDefinition:
        return None


def _missing_seconds(claim: Claim) -> float:
    """How long this job's handler has been missing, by the first entry of its history that says so."""
    for entry in history_entries(claim.history):
        if entry.get("outcome") == OutcomeKind.HANDLER_MISSING:
            since = entry.get("at_epoch")
            return claim.claimed_at - since if isinstance(since, int | float) else 0.0
    return 0.0


def _snoozes(history: str) -> int:
    """How often the job has snoozed or moved on: its newest entry of that kind counts them all."""
    return max((n for e in history_entries(history) if type(n := e.get("snoozes")) is int), default=0)


def history_entries(history: str) -> list[dict[str, Any]]:
    """The entries of a stored history; none where it can't be read."""
    try:
        entries = json.loads(history) if history else []
    except (ValueError, RecursionError):
        return []
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _with_entry(claim: Claim, outcome: Outcome, transition: Transition) -> str:
    """The history with this attempt at its end: the newest `JOBS_MAX_HISTORY`, and the first without a handler."""
    entries = history_entries(claim.history)
    error = outcome.error or ErrorRecord()
    entries.append(
        {
            "attempt": claim.attempt,
            "worker": claim.worker_id,
            "outcome": str(outcome.kind),
            "started_at": datetime.fromtimestamp(claim.claimed_at, UTC).isoformat(),
            "at_epoch": claim.claimed_at,
            "seconds": round(outcome.seconds, 6),
            "error": error.class_path,
            "message": clip(error.message, 1000),
            "traceback": clip(error.traceback, HISTORY_TRACEBACK_BYTES, keep_end=True),
            "then": transition.reason
            or (transition.word if transition.target is Target.WAITING else str(transition.target)),
        }
    )
    if outcome.kind in (OutcomeKind.SNOOZED, OutcomeKind.DEFERRED):
        entries[-1]["snoozes"] = _snoozes(claim.history) + 1
        if len(entries) > 1 and entries[-2].get("outcome") == outcome.kind:
            del entries[-2]  # one entry for a row of them: a job may wait for long in short naps
    if len(entries) > conf.max_history:
        first_missing = [e for e in entries if e.get("outcome") == OutcomeKind.HANDLER_MISSING][:1]
        entries = entries[-max(conf.max_history - 1, 1) :]
        entries = [e for e in first_missing if e not in entries] + entries
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace").decode()
