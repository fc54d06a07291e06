"""celery on Redis: a worker with two processes; results ignored, and short tasks prefetched, as its guide advises."""

from __future__ import annotations

from collections.abc import Sequence

from celery import Celery

from . import tally
from .peer import BIN, STORE, Peer

app = Celery("benchmarks.peers.celery", broker=STORE)
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=64, broker_connection_retry_on_startup=True)


@app.task(name="tick")
def tick(user_id: int) -> None:
    tally.tick()


class CeleryPeer(Peer):
    def install(self) -> None:
        pass

    def one_by_one(self, numbers: Sequence[int]) -> None:
        for n in numbers:
            tick.delay(user_id=n)

    def workers(self) -> list[list[str]]:
        return [[str(BIN / "celery"), "-A", "benchmarks.peers.celery", "worker", "-c", "2", "-l", "WARNING"]]

    def left(self) -> int:
        with app.connection_for_read() as connection:
            client = connection.channel().client
            return int(client.llen("celery") + client.hlen("unacked"))
