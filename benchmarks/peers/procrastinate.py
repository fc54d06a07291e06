"""procrastinate: two workers that run ten asynchronous jobs at a time."""

from __future__ import annotations

from collections.abc import Sequence

from procrastinate import App, PsycopgConnector

from . import tally
from .peer import BIN, STORE, Peer

app = App(connector=PsycopgConnector(conninfo=STORE))


@app.task(name="tick")
async def tick(user_id: int) -> None:
    tally.tick()


class Procrastinate(Peer):
    def __init__(self) -> None:
        app.open()

    def install(self) -> None:
        app.schema_manager.apply_schema()

    def one_by_one(self, numbers: Sequence[int]) -> None:
        for n in numbers:
            tick.defer(user_id=n)

    def in_bulk(self, numbers: Sequence[int]) -> None:
        tick.batch_defer(*[{"user_id": n} for n in numbers])

    def workers(self) -> list[list[str]]:
        return [[str(BIN / "procrastinate"), "--app=benchmarks.peers.procrastinate.app", "worker", "-c", "10"]] * 2

    def left(self) -> int:
        query = "SELECT count(*) AS count FROM procrastinate_jobs WHERE status <> 'succeeded'"
        return int(app.connector.get_sync_connector().execute_query_one(query)["count"])
