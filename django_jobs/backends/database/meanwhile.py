"""What else a process does while it waits for a PostgreSQL server."""

from __future__ import annotations

import select
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL


@contextmanager
def acting(raw: Any, fileno: int, act: Callable[[], object]) -> Iterator[None]:
    """While it is open, the connection `raw` of psycopg calls `act` each time that `fileno` can be read, and its server
    has not answered yet.
    """
    wait = raw.wait
    raw.wait = lambda dialogue, *args, **kwargs: wait(_acting(dialogue, raw, fileno, act), *args, **kwargs)
    try:
        yield
    finally:
        del raw.wait


def _acting(
    dialogue: Generator[Any, Any, Any], raw: Any, fileno: int, act: Callable[[], object]
) -> Generator[Any, Any, Any]:
    """A dialogue with the server that says what it waits for only when that is there."""
    from psycopg.waiting import WAIT_R

    server = raw.pgconn.socket
    poll = select.poll()
    poll.register(server, select.POLLIN)
    poll.register(fileno, select.POLLIN)
    try:
        wanted = next(dialogue)
        while True:
            while wanted == WAIT_R:
                events = dict(poll.poll())
                if events.get(fileno, 0) & GONE:
                    poll.unregister(fileno)  # it could be read for ever
                elif fileno in events:
                    act()
                if server in events:
                    break
            wanted = dialogue.send((yield wanted))
    except StopIteration as end:
        return end.value
