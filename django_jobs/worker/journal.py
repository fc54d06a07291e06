"""What is told of settled jobs: a line in the log for each, and an entry in the timeline of most (`JOBS_EVENTS`)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from ..backends.base import Note
from ..conf import conf
from ..logs import facts, get_logger
from ..retry import Target, Transition
from ..runtime import Claim
from ..settlement import Settlement

logger = get_logger("worker")

_TYPES = {"requeued": "retried", "timed-out": "timed_out", "dead-lettered": "failed", "acked": "success"}
_VERBS = {
    Target.COMPLETED: ("FINISHED", logging.INFO),
    Target.CANCELLED: ("CANCELLED", logging.INFO),
    Target.FAILED: ("DEAD", logging.ERROR),
}


def log_settled(settled: Iterable[Settlement]) -> None:
    """A line for each job; where the log takes no INFO, only for those that failed or timed out."""
    everything = logger.isEnabledFor(logging.INFO)
    for s in settled:
        if not everything and s.transition.target is not Target.FAILED and s.transition.word != "timed-out":
            continue
        claim, error = s.claim, s.error
        verb, level = _verb(s.transition)
        text = "" if error is None else f": {s.transition.reason} {error.class_path} {error.message[:500]}"
        logger.log(
            level,
            "%s %s %s on %s (attempt %d) after %.3f s%s",
            *(verb, claim.handler, claim.id, claim.queue, claim.attempt, s.seconds, text),
            extra={**facts(claim), "event": verb, "seconds": round(s.seconds, 6)},
        )


def _verb(transition: Transition) -> tuple[str, int]:
    if transition.word == "timed-out":
        return "TIMEOUT", logging.WARNING
    return _VERBS.get(transition.target) or (transition.word.upper(), logging.INFO)


def notes_of_settled(settled: Iterable[Settlement]) -> list[Note]:
    """The timeline's entries. A plain completion has one only where `JOBS_EVENTS` is `"all"`."""
    wanted = conf.events
    if wanted == "none":
        return []
    return [
        (
            *(s.claim.id, s.claim.queue, _type_of(s)),
            *("" if s.error is None else s.error.message[:1000], {"attempt": s.claim.attempt}),
        )
        for s in settled
        if s.transition.target is not Target.COMPLETED or wanted == "all"
    ]


def _type_of(s: Settlement) -> str:
    if s.transition.crash:
        return "incomplete_handled"  # its process died under it
    if s.transition.reason in ("rejected", "expired", "corrupt"):
        return s.transition.reason
    return _TYPES.get(s.transition.word, s.transition.word)


def notes_of_claimed(claims: Sequence[Claim]) -> list[Note]:
    """The timeline's entries of jobs that were claimed, where `JOBS_EVENTS` is `"all"`."""
    if conf.events != "all":
        return []
    return [(claim.id, claim.queue, "fetched", "", {"attempt": claim.attempt}) for claim in claims]
