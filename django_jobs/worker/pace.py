"""How many jobs to have in hand: enough that no child waits, few enough that none waits behind a slow neighbour."""

from __future__ import annotations

from ..runtime import Outcome

HORIZON_SECONDS = 0.05
QUICK_SECONDS = 0.001
WEIGHT = 0.1


class Pace:
    """What recent runs took, over all and by handler. A job costs `overhead` seconds beside its run."""

    def __init__(self, children: int, most: int, overhead: float = 0.0) -> None:
        self.children = children
        self.most = most
        self.overhead = overhead
        self._mean: float | None = None
        self._by_handler: dict[str, float] = {}

    def saw(self, handler: str, outcome: Outcome) -> None:
        """Take in one run."""
        seconds = outcome.seconds
        self._mean = seconds if self._mean is None else self._mean + WEIGHT * (seconds - self._mean)
        before = self._by_handler.get(handler, seconds)
        # One slow run counts at once, quick ones have to show that they stay so.
        self._by_handler[handler] = (
            max(seconds, before) if seconds > QUICK_SECONDS else before + WEIGHT * (seconds - before)
        )

    def target(self) -> int:
        """How many jobs to have in hand: one a child, and what the children do within 50 ms."""
        if self._mean is None:
            return self.children
        ahead = HORIZON_SECONDS / max(self._mean + self.overhead, 1e-6)
        return min(int(self.children * (1 + ahead)), max(self.most, self.children))

    def is_quick(self, handler: str) -> bool:
        """Whether recent runs of this handler took under a millisecond."""
        return self._by_handler.get(handler, 1.0) < QUICK_SECONDS
