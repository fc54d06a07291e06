"""How far the claims of a queue have got, so that the next one need not read again what lies before.

PostgreSQL keeps the index entries of claimed rows for as long as any transaction is open that could still see them.
Under one old snapshot every claim would walk over all of them. Before a mark lies what has been claimed, and now and
then a row that came late: its transaction was long, or another worker gave it back. The next full look finds those, and
full looks are as frequent as they are cheap: they take a twentieth of the time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from time import monotonic
from typing import NamedTuple

FULL_LOOK_SHARE = 20
LONGEST_SECONDS = 5.0  # between full looks: one that had to wait for something else must not put off the next for long
ROWS_WORTH_IT = 1000  # of a queue, claimed by this process: before that every look is a full one
MOST_RANKS = 8
LOWEST_RANK, HIGHEST_RANK = -32768, 32767
FIRST_MOMENT = -math.inf
FIRST_ID = "00000000-0000-0000-0000-000000000000"


class Stretch(NamedTuple):
    """A part of a queue in the order of claims: ranks `low` to `high`, in `low` only from (`since`, `after`) on.

    Moments are seconds since the epoch.
    """

    low: int
    since: float
    after: str
    high: int


class Marks:
    """The marks of one queue: per rank, where the last claim ended."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[float, str]] = {}
        self._rows = 0
        self._full_at = 0.0

    def stretches(self) -> list[Stretch]:
        """Where to look, in order. Empty: everywhere, as it is time for a full look."""
        if self._rows < ROWS_WORTH_IT or monotonic() >= self._full_at:
            return []
        return list(self._stretches())

    def _stretches(self) -> Iterator[Stretch]:
        low = LOWEST_RANK
        for rank in sorted(self._last):
            if low < rank:
                yield Stretch(low, FIRST_MOMENT, FIRST_ID, rank - 1)
            yield Stretch(rank, *self._last[rank], rank)
            low = rank + 1
        yield Stretch(low, FIRST_MOMENT, FIRST_ID, HIGHEST_RANK)

    def claimed(self, rows: Iterable[tuple[int, float, str]]) -> None:
        """Take in what was claimed, in order: (rank, due time, id)."""
        for rank, since, after in rows:
            self._last[rank] = since, after
            self._rows += 1
        while len(self._last) > MOST_RANKS:
            del self._last[next(iter(self._last))]

    def looked_everywhere(self, seconds: float) -> None:
        """A full look took so long: the next one is due when it will be a small part of the time."""
        self._full_at = monotonic() + min(FULL_LOOK_SHARE * seconds, LONGEST_SECONDS)

    def forget(self) -> None:
        """Rows have come before the marks: the next look is a full one."""
        self._full_at = 0.0
