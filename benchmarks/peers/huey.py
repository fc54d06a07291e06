"""huey on SQLite or Redis: a consumer with two worker processes."""

from __future__ import annotations

from collections.abc import Sequence

from huey import RedisHuey, SqliteHuey

from . import tally
from .peer import BIN, KIND, PATH, STORE, Peer

queue = RedisHuey("bench", url=STORE) if KIND == "redis" else SqliteHuey("bench", filename=PATH)


@queue.task()
def tick(user_id: int) -> None:
    tally.tick()


class Huey(Peer):
    def install(self) -> None:
        pass

    def one_by_one(self, numbers: Sequence[int]) -> None:
        for n in numbers:
            tick(n)

    def workers(self) -> list[list[str]]:
        return [[str(BIN / "huey_consumer"), "benchmarks.peers.huey.queue", "-w", "2", "-k", "process", "-q"]]

    def left(self) -> int:
        return queue.pending_count()
