"""Queues that are paused while a worker has jobs of theirs in hand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..backends import Backend
from ..settlement import Settlement, give_back
from .executor import Executor

LOOK_SECONDS = 0.5


@dataclass(slots=True)
class Pauses:
    """Takes back what is in hand of a queue that was paused, and has not started."""

    backend: Backend
    executor: Executor
    _look_at: float = 0.0
    _running: set[str] = field(default_factory=set)  # of paused queues: these were past taking back

    def taken_back(self, queues: Sequence[str]) -> list[Settlement]:
        """What is to go back to the store. Asks it twice a second, while there is something in hand."""
        now = time.monotonic()
        if now < self._look_at or not self.executor.in_hand:
            return []
        self._look_at = now + LOOK_SECONDS
        paused = self.backend.paused_queues(queues)
        ours = {claim.id for claim in self.executor.claims() if claim.queue in paused} if paused else set()
        if ours <= self._running:
            return []
        unread = self.executor.take_back()
        self.executor.submit([claim for claim in unread if claim.queue not in paused])
        self._running = ours - {claim.id for claim in unread}
        return [give_back(claim) for claim in unread if claim.queue in paused]
