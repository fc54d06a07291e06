"""What a worker does for the store now and then: promote, reap, compare what it holds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..backends import Backend
from ..conf import conf
from ..logs import get_logger
from ..runtime import Claim
from ..settlement import Settlement
from .executor import Executor
from .lease import Lease

logger = get_logger("worker")

SOON_SECONDS = 10.0


@dataclass(slots=True)
class Chore:
    """Something that the coordinator does now and then, such as reaping.

    `act` answers what it has settled, whose hooks are run then, or just a number.
    """

    name: str
    interval: float
    act: Callable[[], Iterable[Settlement] | int]
    due_at: float = 0.0
    end: Callable[[], None] | None = None
    """Called when the worker begins to drain."""
    leave: Callable[[], None] | None = None
    """Called when the worker is about to end."""


@dataclass(slots=True)
class Housekeeping:
    """When what is due next (monotonic clock). `follow` is told of each outcome that a chore has stored."""

    backend: Backend
    executor: Executor
    lease: Lease
    chores: list[Chore]
    follow: Callable[[Settlement], None]
    _promote_at: float = 0.0
    _next_due: float = math.inf
    _reconcile_at: float = 0.0
    _strangers: dict[str, int] = field(default_factory=dict)

    def begin(self) -> None:
        """For a worker that has just registered."""
        self._strangers.clear()
        self._reconcile_at = time.monotonic() + conf.lease_seconds / 3

    def keep(self, unsettled: Iterable[Settlement], *, draining: bool) -> bool:
        """Do what is due; answers whether jobs have become pending. `unsettled` is held, but in no child's hands."""
        now = time.monotonic()
        promoted = self._promote(now) if now >= self._promote_at else False
        for chore in self.chores:
            if now >= chore.due_at and not draining:
                chore.due_at = now + chore.interval
                self._do(chore)
        if now >= self._reconcile_at:
            self._reconcile_at = now + conf.lease_seconds / 3
            self._reconcile({s.claim.id for s in unsettled})
        return promoted

    def due_at(self, *, draining: bool) -> float:
        """When something is due next."""
        chores = [] if draining else [chore.due_at for chore in self.chores]
        return min(self._promote_at, self._reconcile_at, *chores)

    def end(self) -> None:
        """The worker drains from now on."""
        for chore in self.chores:
            if chore.end is not None:
                chore.end()

    def leave(self) -> None:
        """The worker is about to end."""
        for chore in self.chores:
            if chore.leave is not None:
                chore.leave()

    def expect(self, seconds: float) -> None:
        """A job of ours is due in so long."""
        due = time.monotonic() + seconds
        self._promote_at = min(self._promote_at, due)
        self._next_due = min(self._next_due, due)

    @property
    def expects_soon(self) -> bool:
        """Whether a scheduled job is due within seconds."""
        return self._next_due - time.monotonic() < SOON_SECONDS

    def _promote(self, now: float) -> bool:
        promoted, next_in = self.backend.promote_due()
        wait = conf.poll_interval if next_in is None else min(max(next_in, 0.001), conf.poll_interval)
        self._promote_at = now + wait
        self._next_due = math.inf if next_in is None else now + max(next_in, 0.0)
        return bool(promoted)

    def _do(self, chore: Chore) -> None:
        try:
            done = chore.act()
            if not isinstance(done, int):
                for settlement in done:
                    self.follow(settlement)
        except Exception as error:
            if self.backend.is_outage(error):
                raise
            logger.exception("%s failed; the work goes on", chore.name)

    def _reconcile(self, unsettled: set[str]) -> None:
        """Give back what the store says we hold and we know nothing of, as when the answer to a claim was lost.

        Only what was seen twice: a claim of this very moment is no stranger.
        """
        worker_id = self.lease.worker_id
        ours = {claim.id for claim in self.executor.claims()} | unsettled
        held = self.backend.held(worker_id)
        strangers = {job_id: claim_no for job_id, claim_no in held.items() if job_id not in ours}
        again = [(j, n) for j, n in strangers.items() if self._strangers.get(j) == n]
        self._strangers = strangers
        if again:
            logger.warning("giving back %d jobs that the store says are here and are not", len(again))
            self.backend.release([bare_claim(job_id, worker_id, claim_no) for job_id, claim_no in again])


def bare_claim(job_id: str, worker_id: str, claim_no: int) -> Claim:
    """A claim of which nothing is known but the fence."""
    return Claim(job_id, "", "", worker_id, claim_no, 1, 0, False, "", "", "", 0.0, 0.0)
