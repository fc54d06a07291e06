"""Reaping: gives back what lost workers held."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable

from django.db import DatabaseError
from django.db.models import Count, Exists, OuterRef

from ..backends import Backend, Settled
from ..conf import conf
from ..exceptions import JobsError
from ..logs import facts, get_logger
from ..models import Job, Worker
from ..retry import CANCEL, OutcomeKind
from ..runtime import Claim, ErrorRecord, Outcome, run_hooks, wants_hooks
from ..settlement import Settlement, conclude
from ..store import ago, now, store_of
from .states import RUNNING

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


def reap(backend: Backend, queues: Collection[str] | None = None, *, visibility: float = 0.0) -> list[Settlement]:
    """Settle every claim of a worker that is lost, on `queues` or on all; answers what was settled.

    A job is charged nothing the first time: it becomes suspect. A suspect one that is lost again is charged a crash.
    A job whose cancel was asked for becomes cancelled. What was claimed less than `visibility` seconds ago is left for
    another time. Safe on any number of hosts at once: the claim is the fence.
    """
    done: list[Settlement] = []
    young: set[str] = set()
    while True:
        limit = BATCH + len(young)  # the young ones are answered again
        claims = backend.lost_claims(limit, queues)
        known = len(young)
        if visibility:
            young |= {c.id for c in claims if c.id not in young and _held_seconds(backend, c) < visibility}
        settlements = [conclude(claim, LOST) for claim in claims if claim.id not in young]
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
            if settled and conf.events != "none":
                backend.record_events([(s.claim.id, s.claim.queue, "reaped", s.transition.word, {}) for s in settled])
        except (JobsError, DatabaseError):
            logger.exception("the timeline could not be written")
        if len(claims) < limit or not (settled or len(young) > known):
            return done


def _held_seconds(backend: Backend, claim: Claim) -> float:
    """How long ago a lost claim was made; `claimed_at` of one is the store's present time."""
    job = backend.get(claim.id)
    started_at = None if job is None else job.started_at
    return math.inf if started_at is None else claim.claimed_at - started_at.timestamp()


def count_lost(backend: Backend, queues: Collection[str] | None = None, *, visibility: float = 0.0) -> Counter[str]:
    """How many jobs `reap` would settle, by queue. Changes nothing; a backend without a database answers none."""
    store = store_of(backend) if backend.supports.claim else None
    if store is None:
        return Counter()
    alive = Worker.objects.filter(
        pk=OuterRef("worker_id"), state__in=("running", "draining"), lease_expires_at__gte=now(store)
    )
    rows = Job.objects.using(store.database).filter(~Exists(alive), state__in=RUNNING)
    if queues:
        rows = rows.filter(queue__in=list(queues))
    if visibility:
        rows = rows.filter(started_at__lte=ago(store, visibility))
    return Counter(dict(rows.values_list("queue").annotate(n=Count("*"))))
