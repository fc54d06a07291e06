"""The terms on which the children of a worker work."""

from __future__ import annotations

from dataclasses import dataclass

from .memory import resident_mb


@dataclass(frozen=True, slots=True)
class Terms:
    """When a child is replaced by a fresh one: after so many jobs, or when it has grown beyond a size. None: never."""

    max_jobs: int | None = None
    max_memory_mb: int | None = None

    def are_over(self, jobs: int) -> bool:
        """Whether this process, which has done so many jobs, has to go."""
        if self.max_jobs is not None and jobs >= self.max_jobs:
            return True
        return self.max_memory_mb is not None and resident_mb() > self.max_memory_mb
