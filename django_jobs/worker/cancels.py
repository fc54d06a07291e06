"""Cancels of what a worker has in hand: how it hears of them, and that the executor is told."""

from __future__ import annotations

import math
import select
import time
from dataclasses import dataclass

from ..backends import Backend, Wakeup
from ..conf import conf
from .executor import Executor
from .lease import Lease

QUIET_SECONDS = 0.05
"""How long not to listen after something has come: the store tells of new jobs too, and a busy worker need not hear
of them one by one."""


@dataclass(slots=True)
class Cancels:
    """Asks the store every `JOBS_CANCEL_INTERVAL` while there is anything in hand, and at once where a wake-up tells of
    a cancel. Its moments are on the monotonic clock.
    """

    backend: Backend
    executor: Executor
    lease: Lease
    _ask_at: float = 0.0
    _listened_at: float = -math.inf

    def look(self, wakeup: Wakeup) -> None:
        """Tell the executor of cancels, if there may be any."""
        now = time.monotonic()
        if not self.executor.in_hand:
            self._ask_at = now + conf.cancel_interval
        elif now >= self._ask_at or self._is_told(wakeup, now):
            self._ask_at = now + conf.cancel_interval
            if asked := self.backend.cancel_requests(self.lease.worker_id):
                self.executor.cancel(asked)

    def _is_told(self, wakeup: Wakeup, now: float) -> bool:
        if now < self._listened_at + QUIET_SECONDS:
            return False
        fd = wakeup.fileno()
        if fd is None or _is_readable(fd):
            self._listened_at = now  # else nothing has come, and the descriptor stays watched
        return wakeup.cancels(self.lease.worker_id)

    @property
    def listens(self) -> bool:
        """Whether the wake-up's descriptor is to be watched for cancels."""
        return self.executor.in_hand > 0 and time.monotonic() >= self._listened_at + QUIET_SECONDS

    def due_at(self, wakeup: Wakeup) -> float:
        """When to look next."""
        if not self.executor.in_hand:
            return math.inf
        if wakeup.fileno() is None:
            return min(self._ask_at, self._listened_at + wakeup.watch_interval)
        return self._ask_at if self.listens else min(self._ask_at, self._listened_at + QUIET_SECONDS)


def _is_readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
