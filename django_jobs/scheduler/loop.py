"""The loop of `jobs_cronjob_work`: a turn whenever an entry is due, and one at least at each minute's start."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from .. import connections
from ..conf import conf
from ..logs import get_logger
from ..waits import doubled
from .children import Children
from .plans import Report
from .runner import Runner

logger = get_logger("schedule")

FOLLOW_SECONDS = 1.0
LONGEST_OUTAGE_WAIT = 5.0


class Stop(Protocol):
    """Tells that the loop is to end: `count` rises, and the descriptor becomes readable."""

    @property
    def count(self) -> int: ...
    def fileno(self) -> int: ...
    def clear(self) -> None: ...


@dataclass(slots=True)
class Loop:
    """One scheduler that goes on until it is told to stop. Inline entries run in processes of their own."""

    runner: Runner
    children: Children
    stop: Stop
    tell: Callable[[Iterable[Report]], None]
    interval: float = 60.0
    """It looks at the whole schedule so often, in seconds, aligned to the store's clock."""
    _now: datetime | None = None  # what the store's clock said at `_read_at`, by the monotonic clock
    _read_at: float = 0.0
    _register_at: datetime | None = None
    _look_at: datetime | None = None
    _soon: bool = False
    _failures: int = 0
    _told: set[str] = field(default_factory=set)

    def run(self) -> None:
        """Go on until the stop signal; then let what runs inline come to its end."""
        self.runner.ledger.store.bound_waits(conf.lease_seconds)
        logger.info("STARTED the schedule's loop")
        try:
            while not self.stop.count:
                self._turn()
                self._wait()
        finally:
            seen = self.stop.count
            self.children.drain(conf.shutdown_timeout, lambda: self.stop.count > max(seen, 1))
            logger.info("STOPPED the schedule's loop")

    def _turn(self) -> None:
        """Look at what is due; an error waits for the next turn."""
        connections.open_afresh()
        try:
            now = self._read_clock()
            if self._register_at is None or now >= self._register_at:
                self._register(now)
            turn = self.runner.turn(now) if self._look_at is None or now >= self._look_at else self.runner.follow_up()
            self.tell(turn.reports)
            self.children.hand_out(turn.left, turn.left_waiting, turn.now)
            self._look_at = self.runner.ledger.next_look(now)  # not after a later moment: nobody has looked at that
            if turn.is_unfinished:
                again = now + timedelta(seconds=FOLLOW_SECONDS)
                self._look_at = again if self._look_at is None else min(self._look_at, again)
            self._soon = bool(self.children.alive) or self.runner.ledger.has_open()
            self._failures = 0
        except Exception as error:
            self._failed(error)
        finally:
            connections.tidy()  # those that conditions and hooks have left broken

    def _read_clock(self) -> datetime:
        self._read_at, before = time.monotonic(), self._now
        self._now = self.runner.ledger.now()
        if before is not None and self._now < before:  # the clock was set back: what is ahead of it says nothing
            self._register_at = None
        return self._now

    def _register(self, now: datetime) -> None:
        """Read the schedule anew, and look at all of it."""
        self.runner.register()
        for problem in self.runner.desk.schedule.problems:
            text = str(problem)
            if text not in self._told:
                self._told.add(text)
                logger.error("%s", text)
        self._register_at = next_boundary(now, self.interval)
        self._look_at = None

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if not self.runner.ledger.store.is_outage(error):
            logger.error("a turn of the schedule failed; trying again", exc_info=error)
        elif self._failures == 1:
            logger.error("the store is away (%s); trying again until it is back", str(error).strip())
        self.runner.ledger.store.close()

    def _wait(self) -> None:
        """Sleep until something is due, or a signal comes."""
        poll = select.poll()
        poll.register(self.stop.fileno(), select.POLLIN)
        if poll.poll(self._idle_seconds() * 1000):
            self.stop.clear()

    def _idle_seconds(self) -> float:
        if self._failures or self._now is None:
            return doubled(0.1, self._failures, LONGEST_OUTAGE_WAIT)
        moments = [at for at in (self._register_at, self._look_at) if at is not None]
        wait = min((at - self._now).total_seconds() for at in moments) - (time.monotonic() - self._read_at)
        return min(max(wait, 0.002), FOLLOW_SECONDS if self._soon else self.interval)


def next_boundary(now: datetime, seconds: float) -> datetime:
    """The next moment after `now` that is a whole number of so many seconds since 1970."""
    return now + timedelta(seconds=seconds - now.timestamp() % seconds)
