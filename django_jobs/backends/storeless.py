"""What backends that keep no jobs for workers have in common."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..runtime import Claim
from ..settlement import Settlement
from .base import Backend, Promotion, QueueStats, Settled, WorkerInfo


class StorelessBackend(Backend):
    """What a backend that keeps no jobs for workers answers to a worker: nothing to do."""

    def register(self, worker: WorkerInfo, lease_seconds: float) -> None:
        return

    def renew(self, worker_id: str, lease_seconds: float, *, state: str, running: int, settled: int) -> bool:
        return True

    def deregister(self, worker_id: str) -> None:
        return

    def claim(self, queue: str, worker_id: str, limit: int, *, suspect: bool = False) -> list[Claim]:
        return []

    def claim_job(self, job_id: str, worker_id: str, *, force: bool = False) -> Claim | None:
        return None

    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        return [Settled.LOST] * len(settlements)

    def promote_due(self, limit: int = 1000) -> Promotion:
        return Promotion(0, None)

    def lost_claims(self, limit: int = 500, queues: Collection[str] | None = None) -> list[Claim]:
        return []

    def held(self, worker_id: str) -> dict[str, int]:
        return {}

    def stats(self, queues: Sequence[str] | None = None) -> list[QueueStats]:
        return [QueueStats(name, {}, None) for name in sorted(queues or ())]
