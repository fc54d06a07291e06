"""From an outcome to what is written: `conclude()` puts the facts of a job before `decide()`.

The worker, the reaper and the sync backend all settle through here, so that there is one rule for all of them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from . import envelope, registry
from .conf import conf
from .exceptions import EnvelopeError, InvalidDefinition, InvalidHandler, UnknownHandler
from .logs import get_logger
from .redaction import clip, presentable
from .retry import COMPLETE, GIVE_BACK, Facts, OutcomeKind, Target, Transition, decide, parse_backoff
from .runtime import Claim, ErrorRecord, Outcome

logger = get_logger("worker")
HISTORY_TRACEBACK_BYTES = 4096


class Settlement(NamedTuple):
    """What is to be written for a claim. `keep_seconds`: 0 keeps no completed record, None keeps it for ever."""

    claim: Claim
    transition: Transition
    result: str = ""
    error: ErrorRecord | None = None
    history: str = ""
    seconds: float = 0.0
    keep_seconds: int | None = None


def conclude(claim: Claim, outcome: Outcome, *, rng: Callable[[], float] = random.random) -> Settlement:
    """The settlement of `claim` after `outcome`."""
    if outcome.kind == OutcomeKind.COMPLETED:
        return Settlement(claim, COMPLETE, outcome.result, None, claim.history, outcome.seconds, outcome.keep_seconds)
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
    return Settlement(claim, transition, outcome.result, outcome.error, history, outcome.seconds, outcome.keep_seconds)


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
        missing_seconds=_missing_seconds(claim),
        missing_grace=conf.missing_handler_grace,
    )
    try:
        definition = envelope.unseal(claim.body, claim.signature, id=claim.id, queue=claim.queue, handler=claim.handler)
    except EnvelopeError:
        return facts
    facts = facts._replace(max_attempts=int(definition.max_attempts or 1), backoff=_usable(definition.backoff))
    try:
        return facts._replace(retry_on_crash=getattr(registry.get(claim.handler), "retry_on_crash", True))
    except (UnknownHandler, InvalidHandler):
        return facts


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
    if len(entries) > conf.max_history:
        first_missing = [e for e in entries if e.get("outcome") == OutcomeKind.HANDLER_MISSING][:1]
        entries = entries[-max(conf.max_history - 1, 1) :]
        entries = [e for e in first_missing if e not in entries] + entries
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace").decode()
