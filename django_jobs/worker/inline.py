"""The inline executor: runs jobs in the worker's own process. For `--once`, tests, and platforms without fork.

While a job runs, a thread renews the lease and asks for cancels, of which a signal tells the main thread.

It cannot end a handler that holds on: at the deadline `JobTimeout` is raised in it, at a cancel `JobCancelled`, and
after the grace the thread gives up the whole process, whose lease then brings the job back, or ends it as cancelled.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.db import connections

from ..backends import Backend, Note
from ..conf import conf
from ..logs import facts, get_logger
from ..retry import OutcomeKind
from ..runtime import Claim, Outcome, Store, run_attempt, run_hooks, timeline_note
from ..settlement import Settlement
from .console import Running
from .interrupts import CANCELLING, AlarmGuard
from .pace import Pace
from .pool import Finished, load_handlers

logger = get_logger("worker")

TURN_SECONDS = 0.02
EXIT_STUCK = 70


class Inline:
    """Runs what is submitted, one job after the other, a few milliseconds' worth in each `collect()`.

    Both are called from a thread while a job runs: `renew` prolongs the lease, and answers False where the worker is
    lost; `cancel_requests` answers the ids of the jobs whose cancel was asked for. `store` completes atomic jobs.
    """

    isolation = "inline"
    alone = True
    size = 1

    def __init__(
        self,
        renew: Callable[[], bool],
        cancel_requests: Callable[[], Collection[str]] = frozenset,
        store: Store | None = None,
    ) -> None:
        self.notes: list[Note] = []
        self.pace = Pace(1, 4 * conf.claim_batch)
        self._renew = renew
        self._cancel_requests = cancel_requests
        self._store = store
        self._cancelled: tuple[Claim, float] | None = None
        self._dropped: list[Finished] = []
        self._queue: deque[Claim] = deque()
        self._hooks: deque[Settlement] = deque()
        self._running: Claim | None = None
        self._deadline = math.inf
        self._lease_until = math.inf
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="django_jobs-lease", daemon=True)
        self._guard = AlarmGuard(self._set_deadline, self.cancelled)

    def start(self, before_fork: Callable[[], None]) -> None:
        """Load the site's handlers and start the thread that keeps the lease. Nothing forks here."""
        load_handlers()
        self._keeper.start()

    @property
    def in_hand(self) -> int:
        """How many claims are here."""
        return len(self._queue) + len(self._dropped)

    @property
    def busy(self) -> bool:
        """Whether anything is still to be done."""
        return bool(self._queue or self._hooks or self._dropped)

    def room(self) -> int:
        """How many claims more are wanted."""
        return 0 if self._queue else min(self.pace.target(), conf.claim_batch)

    def claims(self) -> list[Claim]:
        """The claims that are here."""
        return [*self._queue, *(finished.claim for finished in self._dropped)]

    def running(self) -> list[Running]:
        """What runs next: while it runs, nobody has the time to ask."""
        now = time.monotonic()
        return [Running(0, os.getpid(), c.id, c.queue, c.handler, c.attempt, now, math.inf) for c in self.claims()[:1]]

    def lease_until(self, when: float) -> None:
        """Until when jobs may be started."""
        self._lease_until = when

    @property
    def done(self) -> Sequence[Finished]:
        """What has come to something since the last `collect()`."""
        return self._dropped

    def submit(self, claims: Iterable[Claim]) -> None:
        """Put claims in line."""
        self._queue.extend(claims)

    def run_hooks(self, settlement: Settlement) -> None:
        """Put the hooks of a stored outcome in line."""
        self._hooks.append(settlement)

    def beside(self, store: Backend) -> AbstractContextManager[None]:
        """Nothing runs while the coordinator waits for the store."""
        return nullcontext()

    @property
    def tending(self) -> bool:
        """Whether it is within `tend()`."""
        return False

    def tend(self) -> None:
        """There is nobody to hear of."""

    def filenos(self) -> list[int]:
        """Nothing to watch."""
        return []

    def next_deadline(self) -> float:
        """When `collect()` should be called again."""
        return 0.0 if self.busy else math.inf  # at once: the present moment would be one to wait for

    def collect(self) -> list[Finished]:
        """Run jobs for a few milliseconds, at least one; a suspect one alone.

        Should the next job end this process, a suspect that was done and not yet settled would be charged for it.
        """
        done, self._dropped = self._dropped, []
        started = time.monotonic()
        self._guard.install()
        while self._hooks:
            s = self._hooks.popleft()
            run_hooks(s.claim, s.transition, s.result, s.error)
        while self._queue and (not done or time.monotonic() - started < TURN_SECONDS):
            if time.monotonic() > self._lease_until or (done and (done[-1].claim.suspect or self._queue[0].suspect)):
                break
            claim = self._queue.popleft()
            self._running = claim
            outcome = run_attempt(claim, self._guard, self, self._store)
            self._running, self._cancelled, self._deadline = None, None, math.inf
            self.pace.saw(claim.handler, outcome)
            done.append(Finished(claim, outcome))
        return done

    def take_back(self) -> list[Claim]:
        """The claims that were not started."""
        back = list(self._queue)
        self._queue.clear()
        return back

    def cancel(self, job_ids: Collection[str]) -> None:
        """Do not run these jobs. None of them runs while the coordinator has its turn."""
        waiting, self._queue = self._queue, deque()
        for claim in waiting:
            if claim.id in job_ids:
                self._dropped.append(Finished(claim, Outcome(OutcomeKind.CANCELLED)))
            else:
                self._queue.append(claim)

    def stale(self, seconds: float) -> bool:
        """Never: what waits here is run next."""
        return False

    def abandon(self) -> list[Claim]:
        """Drop everything that was not started."""
        return self.take_back()

    def kill_running(self) -> None:
        """Nothing runs while the coordinator has its turn."""

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        self._keeper.join(timeout=5.0)

    # -- controls of the running job ----------------------------------------------------------------------------

    def cancelled(self) -> bool:
        return self._cancelled is not None and self._cancelled[0] is self._running

    def note(self, kind: str, message: str, data: Mapping[str, Any]) -> None:
        if self._running is not None:
            self.notes.append((self._running.id, self._running.queue, kind, *timeline_note(kind, message, data)))

    def _set_deadline(self, deadline: float | None) -> None:
        self._deadline = math.inf if deadline is None else deadline

    # -- the thread ---------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        try:
            next_renewal = time.monotonic() + conf.heartbeat_interval
            last: Claim | None = None
            while not self._ended.wait(min(conf.heartbeat_interval, conf.cancel_interval)):
                now, running = time.monotonic(), self._running
                if running is None:
                    continue
                if now > min(self._deadline, self._cancelled_at(running)) + conf.kill_grace:
                    logger.critical(
                        "STUCK job %s does not stop; giving up this process", running.id, extra=facts(running)
                    )
                    os._exit(EXIT_STUCK)
                try:
                    if now >= next_renewal:
                        next_renewal = now + conf.heartbeat_interval
                        self._renew()
                    if running is last and not self.cancelled():
                        self._look_for_cancel(running)
                    last = running
                except Exception:
                    logger.warning("the lease could not be renewed, or cancels not be looked for", exc_info=True)
                    connections.close_all()
        finally:
            connections.close_all()

    def _look_for_cancel(self, running: Claim) -> None:
        if running.id in self._cancel_requests() and running is self._running:
            self._cancelled = running, time.monotonic()
            signal.pthread_kill(threading.main_thread().ident or 0, CANCELLING)

    def _cancelled_at(self, running: Claim) -> float:
        cancelled = self._cancelled
        return cancelled[1] if cancelled is not None and cancelled[0] is running else math.inf
