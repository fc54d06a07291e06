"""The lease of a worker, as its own process knows it."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from ..backends import Backend, WorkerInfo
from ..conf import conf
from .executor import Executor


@dataclass(slots=True)
class Lease:
    """The right to what the worker `worker_id` has claimed (empty: it is not registered).

    Its moments are on the monotonic clock, and counted from before the store was asked, as the store may have written
    the lease any time after that. So it ends here a little before it ends there.
    """

    backend: Backend
    executor: Executor
    worker_id: str = ""
    renew_at: float = 0.0
    until: float = 0.0

    def take(self, queues: Sequence[str]) -> None:
        """Register as a new worker of `queues`."""
        worker_id, asked = str(uuid.uuid4()), time.monotonic()
        info = WorkerInfo(worker_id, socket.gethostname(), os.getpid(), queues, self.executor.size)
        self.backend.register(info, conf.lease_seconds)
        self.worker_id = worker_id
        self._runs_from(asked)

    def renew(self, *, state: str, running: int, settled: int) -> bool:
        """Prolong it in the store. False: the worker was taken for lost, and holds nothing any more."""
        asked = time.monotonic()
        if not self.backend.renew(self.worker_id, conf.lease_seconds, state=state, running=running, settled=settled):
            return False
        self._runs_from(asked)
        return True

    def _runs_from(self, asked: float) -> None:
        self.renew_at = asked + conf.heartbeat_interval
        self.until = asked + conf.lease_seconds
        self.executor.lease_until(self.until)

    @property
    def is_due(self) -> bool:
        """Whether it is time to renew it."""
        return time.monotonic() >= self.renew_at

    @property
    def is_firm(self) -> bool:
        """Whether enough of it is left to rely on it."""
        return time.monotonic() < self.until - 0.1 * conf.lease_seconds
