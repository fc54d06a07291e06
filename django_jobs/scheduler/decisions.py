"""What becomes of the ticks that have come since the last look: which are run, and which were missed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import chain, islice
from typing import NamedTuple

from ..conf import MOST_MADE_UP_FOR
from .entries import Entry
from .ticks import Tick, ticks
from .timing import Timing

MOST_COUNTED = 2 * MOST_MADE_UP_FOR
"""Of missed ticks, those are counted for sure: an outage of a month has millions of seconds."""
STRIDE = timedelta(hours=1)


class Decision(NamedTuple):
    """Which ticks are run, in order; and the last of those that are not made up for, with how many came before it."""

    run: tuple[Tick, ...]
    missed: Tick | None = None
    passed_over: int = 0


def decide(entry: Entry, *, after: datetime, now: datetime, grace: float) -> Decision:
    """What to do about the ticks after `after`, up to and at `now`.

    A tick is on time for `grace` seconds. What is later was missed: the entry's `catch_up` says what becomes of it.
    """
    found = latest_ticks(entry.timing, after=after, until=now)
    return judged(found, now - timedelta(seconds=grace), entry.catch_up, entry.catch_up_limit)


def judged(found: Sequence[Tick], on_time_from: datetime, catch_up: str, limit: int) -> Decision:
    """`decide`, of ticks that were found. With `one`, an outage ends in one run, whether or not its tick was late."""
    late = [tick for tick in found if tick.at < on_time_from]
    if not late:
        return Decision(tuple(found))
    if catch_up == "all":
        first = max(len(late) - limit, 0)
    elif catch_up == "one":
        first = len(found) - 1
    else:
        first = len(late)
    return Decision(tuple(found[first:]), found[first - 1] if first else None, max(first - 1, 0))


@lru_cache(maxsize=16)  # thousands of entries may have the same timing; and an answer may be long
def latest_ticks(timing: Timing, *, after: datetime, until: datetime) -> tuple[Tick, ...]:
    """The ticks after `after`, up to and at `until`; of very many, some thousands of the latest."""
    found = tuple(islice(ticks(timing, after=after, until=until), MOST_COUNTED + 1))
    if len(found) <= MOST_COUNTED:
        return found
    backwards: list[tuple[Tick, ...]] = []  # stride by stride, as nothing tells where in the time they are
    count = 0
    while count < MOST_COUNTED:
        start = max(after, until - STRIDE)
        backwards.append(tuple(ticks(timing, after=start, until=until)))
        count += len(backwards[-1])
        until = start
    return tuple(chain.from_iterable(reversed(backwards)))
