"""Reaping: gives back what lost workers held."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.db import DatabaseError

from ..backends import Backend, Settled
from ..conf import conf
from ..exceptions import JobsError
from ..logs import facts, get_logger
from ..retry import CANCEL, OutcomeKind
from ..runtime import ErrorRecord, Outcome, run_hooks, wants_hooks
from ..settlement import Settlement, conclude

logger = get_logger("reap")

BATCH = 500
LOST = Outcome(
    OutcomeKind.LOST, error=ErrorRecord("", "the worker was lost: its lease ran out, or it stopped without settling")
)


def run_hooks_of(settlements: Iterable[Settlement]) -> None:
    """Run the hooks and signals of what was reaped, in this process: where no worker follows it up."""
    for s in settlements:
        if wants_hooks(s.claim.handler, s.transition):
            run_hooks(s.claim, s.transition, s.result, s.error)


def reap(backend: Backend, queues: Collection[str] | None = None) -> list[Settlement]:
    """Settle every claim of a worker that is lost, on `queues` or on all; answers what was settled.

    A job is charged nothing the first time: it becomes suspect. A suspect one that is lost again is charged a crash.
    A job whose cancel was asked for becomes cancelled. Safe on any number of hosts at once: the claim is the fence.
    """
    done: list[Settlement] = []
    while True:
        claims = backend.lost_claims(BATCH, queues)
        settlements = [conclude(claim, LOST) for claim in claims]
        answers = backend.settle_anyway(settlements)
        settled = [
            s if answer is Settled.WRITTEN else s._replace(transition=CANCEL)
            for s, answer in zip(settlements, answers, strict=True)
            if answer
        ]
        done += settled
        for s in settled:
            text = "REAPED %s %s, lost with worker %s: %s"
            logger.warning(
                text, s.claim.handler, s.claim.id, s.claim.worker_id, s.transition.word, extra=facts(s.claim)
            )
        try:
            if conf.events != "none":
                backend.record_events([(s.claim.id, s.claim.queue, "reaped", s.transition.word, {}) for s in settled])
        except (JobsError, DatabaseError):
            logger.exception("the timeline could not be written")
        if len(claims) < BATCH or not settled:
            return done
