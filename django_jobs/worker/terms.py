"""The terms on which the children of a worker work."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..backends import Backend
from ..logs import get_logger
from .descriptors import is_short_of_descriptors
from .memory import resident_mb

logger = get_logger("worker")

OVERHEAD_SECONDS = {"pool": 0.0, "fork": 0.004, "spawn": 0.5}


@dataclass(frozen=True, slots=True)
class Terms:
    """How many jobs a child runs at once, and when it is replaced by a fresh one: after so many jobs, or when it is
    beyond a size after one. None: never. One whose jobs have left so much open that it could open nothing more, always.

    With `isolation` `fork` and `spawn`, each child runs one job; with `spawn` in an interpreter that it starts anew.

    `store` is where a child completes the jobs of atomic handlers. It has no other use for one.
    """

    isolation: str = "pool"
    concurrency: int = 1
    max_jobs: int | None = None
    max_memory_mb: int | None = None
    store: Backend | None = None

    @property
    def are_for_one(self) -> bool:
        """Whether each job has a child of its own."""
        return self.isolation != "pool"

    @property
    def one_by_one(self) -> bool:
        """Whether jobs never travel several in a message."""
        return self.are_for_one or self.concurrency > 1

    @property
    def overhead_seconds(self) -> float:
        """About what a job costs beside its run."""
        return OVERHEAD_SECONDS[self.isolation]

    def are_over(self, jobs: int) -> bool:
        """Whether this process, which has done so many jobs, has to go. Never before the first: where each is too big
        from its start, none would do any.
        """
        if not jobs:
            return False
        if self.max_jobs is not None and jobs >= self.max_jobs:
            return True
        if is_short_of_descriptors():
            logger.warning("process %d is replaced: its jobs have left hardly any descriptor free", os.getpid())
            return True
        return self.max_memory_mb is not None and resident_mb() > self.max_memory_mb
