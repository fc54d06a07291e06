"""pgqueuer: two processes that drain with batches of 100, over asyncpg and uvloop."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence

import asyncpg
import uvloop
from pgqueuer import AsyncpgDriver, Job, PgQueuer, Queries
from pgqueuer.types import QueueExecutionMode

from . import tally
from .peer import STORE, Peer


async def work() -> None:
    """What `pgq run --mode drain --batch-size 100` does; that command fails with the newest typer."""
    pgq = PgQueuer(AsyncpgDriver(await asyncpg.connect(STORE)))

    @pgq.entrypoint("tick")
    async def tick(job: Job) -> None:
        tally.tick()

    await pgq.run(batch_size=100, mode=QueueExecutionMode.drain)


class PgQueuerPeer(Peer):
    def __init__(self) -> None:
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.connection = self.runner.run(_connect())
        self.queries = Queries(AsyncpgDriver(self.connection))

    def install(self) -> None:
        self.runner.run(self.queries.install())

    def one_by_one(self, numbers: Sequence[int]) -> None:
        async def enqueue() -> None:
            for n in numbers:
                await self.queries.enqueue("tick", _payload(n))

        self.runner.run(enqueue())

    def in_bulk(self, numbers: Sequence[int]) -> None:
        count = len(numbers)
        self.runner.run(self.queries.enqueue(["tick"] * count, [_payload(n) for n in numbers], [0] * count))

    def workers(self) -> list[list[str]]:
        return [[sys.executable, "-m", "benchmarks.peers.pgqueuer"]] * 2

    def left(self) -> int:
        return int(self.runner.run(self.connection.fetchval("SELECT count(*) FROM pgqueuer")))


async def _connect() -> asyncpg.Connection:
    return await asyncpg.connect(STORE)


def _payload(n: int) -> bytes:
    return json.dumps({"user_id": n}).encode()


if __name__ == "__main__":
    uvloop.run(work())
