"""The instants at which a timing is due: wall time turned into UTC, with one rule for the days when clocks change.

An expression with a fixed minute and hour names times of the day, and each comes once: where the clock jumps over it,
at the first instant after the gap; where the clock shows it twice, at the first. One with a wildcard or a step in
minute or hour is due whenever the wall clock matches: never in a gap, twice in an overlap.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from .cron import Cron
from .timing import Timing

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall time has no zone
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
DAY = 86_400
YEAR = 366 * DAY
NEAR = 2 * DAY
"""No clock has changed by more."""
HORIZON = timedelta(days=366 * 45)
"""What is due at all is due within this: the longest wait, for a 29 February on a given weekday, is 40 years."""
_LAST_YEAR = 9998


class Edge(StrEnum):
    """What the clock did at a tick."""

    NONE = ""
    GAP = "gap"
    """The clock jumped over the time that was meant; the tick is the first instant after."""
    FIRST = "first"
    """The clock shows this time twice; this is the first."""
    SECOND = "second"


class Tick(NamedTuple):
    """One instant at which something is due."""

    at: datetime
    """The instant, in UTC."""
    local: datetime
    """The same in the time zone of the entry: what a clock on its wall shows."""
    edge: Edge = Edge.NONE
    meant: datetime | None = None
    """Where the edge is a gap: the wall time that was jumped over, naive."""


class Shift(NamedTuple):
    """A change of the clock. Seconds: an instant since 1970 in UTC, and the offsets before and after it."""

    at: int
    before: int
    after: int


class Span(NamedTuple):
    """From `start` up to `end` the offset is the same. `since` and `until` are the changes round it, where near."""

    start: int
    end: int
    offset: int
    since: Shift | None
    until: Shift | None


def ticks(timing: Timing, *, after: datetime, until: datetime) -> Iterator[Tick]:
    """The ticks after `after`, up to and at `until`; both aware. In order, each once, found as they are asked for."""
    start, end = _seconds(after) + 1, _seconds(until) + 1
    return _ticks(timing, spans(timing.zone, start, end), start, end)


def next_ticks(timing: Timing, *, after: datetime, count: int) -> list[Tick]:
    """The next `count` ticks after `after`; fewer where there are no more."""
    found: list[Tick] = []
    while len(found) < count:
        start = found[-1].at if found else after
        more = list(islice(ticks(timing, after=start, until=_later(start, HORIZON)), count - len(found)))
        if not more:
            break
        found += more
    return found


def last_tick(timing: Timing, *, at_or_before: datetime) -> Tick | None:
    """The last tick up to and at a moment; None where there is none within 45 years."""
    until = at_or_before
    for back in (timedelta(hours=1), timedelta(days=2), timedelta(days=62), timedelta(days=800), HORIZON):
        after = at_or_before - back
        found = None
        for found in ticks(timing, after=after, until=until):  # noqa: B007 - the last one is wanted
            pass
        if found is not None:
            return found
        until = after
    return None


def instant(wall: datetime, zone: tzinfo) -> datetime:
    """The instant of a naive wall time: of two the first, and for one that was jumped over the first after the gap."""
    at = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if at.astimezone(zone).replace(tzinfo=None) == wall:
        return at
    passed = (wall - NAIVE_EPOCH) // timedelta(seconds=1)
    jumps = _shifts(zone, passed - NEAR, passed + NEAR)
    return EPOCH + timedelta(seconds=next(s.at for s in jumps if s.at + s.before <= passed < s.at + s.after))


def spans(zone: tzinfo, start: int, end: int) -> Iterator[Span]:
    """The time from `start` up to `end`, in spans of one offset each, none longer than a year: whoever wants just the
    next tick has not asked a clock about the next decades.
    """
    while start < end:
        limit = min(end, start + YEAR)
        since: Shift | None = None
        for shift in _shifts(zone, start - NEAR, limit + NEAR):
            if shift.at <= start:
                since = shift
                continue
            yield Span(start, min(limit, shift.at), shift.before, since, shift)
            start = min(limit, shift.at)
            if start == limit:
                break
            since = shift
        if start < limit:
            yield Span(start, limit, _offset(zone, start), since, None)
            start = limit


def _ticks(timing: Timing, found: Iterable[Span], start: int, end: int) -> Iterator[Tick]:
    if timing.at is not None:
        if start <= _seconds(timing.at) < end:
            yield Tick(timing.at, timing.at.astimezone(timing.zone))
        return
    if len(timing.crons) == 1:
        streams = (tick for span in found for tick in _within(span, timing.crons[0], timing))
    else:
        streams = (
            tick
            for span in found
            for tick in heapq.merge(*(_within(span, cron, timing) for cron in timing.crons), key=_instant)
        )
    last = None
    for at, edge, wall in streams:
        if at != last:
            last = at
            moment = EPOCH + timedelta(seconds=at)
            meant = _naive(wall) if edge is Edge.GAP else None
            yield Tick(moment, moment.astimezone(timing.zone), edge, meant)


Found = tuple[int, Edge, int]
"""An instant, its edge, and the wall time that matched."""


def _instant(found: Found) -> int:
    return found[0]


def _within(span: Span, cron: Cron, timing: Timing) -> Iterator[Found]:
    """The ticks of an expression within a span. Where it starts after a gap, the first may stand for what fell in."""
    since, until, offset = span.since, span.until, span.offset
    walls = _walls(cron, span.start + offset, span.end + offset)
    if since is None and until is None:
        for wall in walls:
            if _admitted(timing, wall):
                yield wall - offset, Edge.NONE, wall
        return
    if since is not None and cron.is_fixed and since.at == span.start and since.after > since.before:
        jumped = _walls(cron, since.at + since.before, since.at + since.after)
        moved = next((wall for wall in jumped if _admitted(timing, wall)), None)
        if moved is not None:
            yield since.at, Edge.GAP, moved
    again_until = since.at + since.before if since is not None else None
    twice_from = until.at + until.after if until is not None else None
    for wall in walls:
        if not _admitted(timing, wall):
            continue
        edge = Edge.NONE
        if again_until is not None and wall < again_until:
            if cron.is_fixed:
                continue
            edge = Edge.SECOND
        elif twice_from is not None and wall >= twice_from:
            edge = Edge.FIRST
        yield wall - offset, edge, wall


def _walls(cron: Cron, start: int, end: int) -> Iterator[int]:
    """The wall times from `start` up to `end` that an expression has, in seconds since 1970."""
    for day in range(start // DAY, (end - 1) // DAY + 1):
        if not cron.days.has(date.fromordinal(day + EPOCH_ORDINAL)):
            continue
        for hour in cron.hours:
            hour_start = day * DAY + hour * 3600
            if hour_start + 3600 <= start:
                continue
            if hour_start >= end:
                return
            for minute in cron.minutes:
                minute_start = hour_start + minute * 60
                if minute_start + 60 <= start:
                    continue
                if minute_start >= end:
                    return
                for second in cron.seconds:
                    if start <= minute_start + second < end:
                        yield minute_start + second


def _admitted(timing: Timing, wall: int) -> bool:
    return not timing.windows or all(window.admits(_naive(wall).time()) for window in timing.windows)


# -- the clock ------------------------------------------------------------------------------------------------


def _shifts(zone: tzinfo, start: int, end: int) -> Iterator[Shift]:
    """The changes of a zone's clock from `start` on, up to `end`, in order."""
    last = min((EPOCH + timedelta(seconds=end)).year, _LAST_YEAR)
    for year in range((EPOCH + timedelta(seconds=start)).year, last + 1):
        for shift in _shifts_of_year(zone, year):
            if start <= shift.at < end:
                yield shift


@lru_cache(maxsize=5000)
def _shifts_of_year(zone: tzinfo, year: int) -> tuple[Shift, ...]:
    """The changes within a year of UTC. zoneinfo does not tell: each day is asked, and its change narrowed down."""
    start, end = _seconds(datetime(year, 1, 1, tzinfo=UTC)), _seconds(datetime(year + 1, 1, 1, tzinfo=UTC))
    found = []
    before = _offset(zone, start - 1)
    for day in range(start - 1, end - 1, DAY):
        after = _offset(zone, day + DAY)
        if after != before:
            low, high = day, day + DAY
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(zone, middle) == before else (low, middle)
            found.append(Shift(high, before, after))
            before = after
    return tuple(found)


def _offset(zone: tzinfo, instant: int) -> int:
    offset = (EPOCH + timedelta(seconds=instant)).astimezone(zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def _seconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(seconds=1)


def _naive(wall: int) -> datetime:
    return NAIVE_EPOCH + timedelta(seconds=wall)


def _later(moment: datetime, by: timedelta) -> datetime:
    furthest = datetime(_LAST_YEAR, 1, 1, tzinfo=UTC)
    return furthest if moment > furthest - by else moment + by
