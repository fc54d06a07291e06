"""rq: a pool of two workers. `PEER_VARIANT` is "fork a job" (the default) or "in the worker" (SimpleWorker)."""

from __future__ import annotations

import os
from collections.abc import Sequence

from redis import Redis
from rq import Queue
from rq.registry import StartedJobRegistry

from . import tally
from .peer import BIN, STORE, Peer

TICK = "benchmarks.peers.rq.tick"


def tick(user_id: int) -> None:
    tally.tick()


class RQ(Peer):
    def __init__(self) -> None:
        self.queue = Queue("default", connection=Redis.from_url(STORE))
        self.started = StartedJobRegistry(queue=self.queue)

    def install(self) -> None:
        pass

    def one_by_one(self, numbers: Sequence[int]) -> None:
        for n in numbers:
            self.queue.enqueue(TICK, user_id=n)

    def in_bulk(self, numbers: Sequence[int]) -> None:
        self.queue.enqueue_many([Queue.prepare_data(TICK, kwargs={"user_id": n}) for n in numbers])

    def workers(self) -> list[list[str]]:
        simple = ["--worker-class", "rq.worker.SimpleWorker"] if os.environ["PEER_VARIANT"] == "in the worker" else []
        return [[str(BIN / "rq"), "worker-pool", "default", "-n", "2", "--url", STORE, "--quiet", *simple]]

    def left(self) -> int:
        return self.queue.count + self.started.count
