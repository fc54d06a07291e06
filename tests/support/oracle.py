"""What a schedule should do, by brute force: every minute is asked, and nothing here is shared with what it judges.

The zones are those of the pinned tzdata, one for each distinct course of the clock from 2020 to 2037.
"""

from __future__ import annotations

import random
import zoneinfo
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from itertools import count as count_up
from itertools import islice
from zoneinfo import ZoneInfo

from django_jobs.scheduler import ticks, timing

FIRST, LAST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2038, 1, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FULL = (range(60), range(24), range(1, 32), range(1, 13), range(7))
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


# -- an expression, read the plain way --------------------------------------------------------------------------


@dataclass(frozen=True)
class Fields:
    """A cron expression of five fields, and whether a wall time is in it."""

    text: str
    day_or: bool = True

    def __post_init__(self) -> None:
        minute, hour, day, month, weekday = self.text.lower().split()
        values = object.__setattr__
        values(self, "minutes", _numbers(minute, 0))
        values(self, "hours", _numbers(hour, 1))
        values(self, "months", _numbers(month, 3))
        values(self, "day_text", day)
        values(self, "weekday_text", weekday)
        values(
            self, "recurs", any(c in minute + hour for c in "*/") or len(self.minutes) == 60 or len(self.hours) == 24
        )
        values(self, "either", self.day_or and day[0] != "*" and weekday[0] != "*")
        values(self, "_days", {})

    def has(self, wall: datetime) -> bool:
        return wall.minute in self.minutes and wall.hour in self.hours and self.has_day(wall)

    def has_day(self, wall: datetime) -> bool:
        key = (wall.year, wall.month, wall.day)
        if key not in self._days:
            by_day = any(self._is_day(part, wall) for part in self.day_text.split(","))
            by_weekday = any(self._is_weekday(part, wall) for part in self.weekday_text.split(","))
            both = (by_day or by_weekday) if self.either else (by_day and by_weekday)
            self._days[key] = wall.month in self.months and both
        return self._days[key]

    def _is_day(self, part: str, wall: datetime) -> bool:
        if part == "l":
            return (wall + DAY).month != wall.month
        return wall.day in _numbers(part, 2)

    def _is_weekday(self, part: str, wall: datetime) -> bool:
        today = (wall.weekday() + 1) % 7
        if part[0] == "l":  # the last of its kind in the month
            return today == int(part[1:]) and (wall + 7 * DAY).month != wall.month
        kind, _, nth = part.partition("#")
        if nth:
            return (
                today in _numbers(kind, 4)
                and (wall - (int(nth) - 1) * 7 * DAY).month == wall.month
                and ((wall - int(nth) * 7 * DAY).month != wall.month)
            )
        return today in _numbers(kind, 4)


def _numbers(text: str, index: int) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        part, _, step = part.partition("/")
        low, _, high = part.partition("-")
        if part == "*":
            values = list(FULL[index])
        elif high:
            values = list(range(_number(low, index), _number(high, index) + 1))
        elif step:
            values = list(range(_number(low, index), FULL[index][-1] + 1))
        else:
            values = [_number(low, index)]
        found.update(values[:: int(step or 1)])
    return frozenset(value % 7 if index == 4 else value for value in found)


def _number(text: str, index: int) -> int:
    if text.isdigit():
        return int(text)
    return MONTHS.index(text) + 1 if index == 3 else WEEKDAYS.index(text)


# -- a clock, minute by minute ------------------------------------------------------------------------------------


class Course:
    """What the wall clock of a zone shows at each minute from `start` up to `end` (UTC), found out minute by minute."""

    def __init__(self, zone: ZoneInfo, start: datetime, end: datetime) -> None:
        self.start, self.end = start, end
        self.shown: dict[datetime, list[datetime]] = {}
        """Wall times, and the instants at which the clock shows each, in order."""
        self.jumped: dict[datetime, datetime] = {}
        """Wall times that it jumped over, and the first instant after."""
        seen_before = (
            {_wall(start - n * MINUTE, zone) for n in range(1, 3 * 24 * 60)} if _changes(zone, start, end) else set()
        )
        self.again = set()
        """Instants whose wall time was shown before."""
        previous = _wall(start - MINUTE, zone)
        at = start
        while at < end:
            wall = _wall(at, zone)
            missing = previous + MINUTE
            while missing < wall:
                self.jumped[missing] = at
                missing += MINUTE
            if wall in self.shown or wall in seen_before:
                self.again.add(at)
            self.shown.setdefault(wall, []).append(at)
            previous, at = wall, at + MINUTE
        self.days = sorted({wall.replace(hour=0, minute=0) for wall in (*self.shown, *self.jumped)})

    def ticks(self, fields: Fields) -> list[datetime]:
        """The instants at which an expression is due."""
        found: set[datetime] = set()
        for day in self.days:
            if not fields.has_day(day):
                continue
            for hour in fields.hours:
                for minute in fields.minutes:
                    wall = day.replace(hour=hour, minute=minute)
                    if fields.recurs:
                        found.update(self.shown.get(wall, ()))
                    elif wall in self.shown:
                        found.update(at for at in self.shown[wall] if at not in self.again)
                    elif wall in self.jumped:
                        found.add(self.jumped[wall])
        return sorted(found)


def _wall(at: datetime, zone: ZoneInfo) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None, fold=0)


def _changes(zone: ZoneInfo, start: datetime, end: datetime) -> bool:
    """Whether the clock changes between three days before `start` and `end`."""
    asked = [end - MINUTE, *(start - n * HOUR for n in range(72))]
    return len({at.astimezone(zone).utcoffset() for at in asked}) > 1


# -- zones ------------------------------------------------------------------------------------------------------


@contextmanager
def pinned_zones() -> Iterator[None]:
    """Every zone comes from the pinned tzdata, and not from the system."""
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=[])
    _forget()
    try:
        yield
    finally:
        zoneinfo.reset_tzpath(to=before)
        _forget()


def _forget() -> None:
    ZoneInfo.clear_cache()
    timing.zone_of.cache_clear()
    ticks._shifts_of_year.cache_clear()


def changes(zone: ZoneInfo, first: datetime = FIRST, last: datetime = LAST) -> list[datetime]:
    """The minutes at which the clock changes, by asking every few hours and then each minute."""
    found = []
    at = first
    while at < last:
        if at.astimezone(zone).utcoffset() != (at + 4 * HOUR).astimezone(zone).utcoffset():
            minute = at
            while minute.astimezone(zone).utcoffset() == at.astimezone(zone).utcoffset():
                minute += MINUTE
            found.append(minute)
        at += 4 * HOUR
    return found


@cache
def distinct_zones() -> list[tuple[str, tuple[datetime, ...]]]:
    """A zone of each course of the clock in those years, with its changes."""
    database = resources.files("tzdata")
    names = database.joinpath("zones").read_text().split()
    files = {database.joinpath("zoneinfo", *name.split("/")).read_bytes(): name for name in reversed(names)}
    found: dict[tuple[object, ...], tuple[str, tuple[datetime, ...]]] = {}
    for name in sorted(files.values()):
        zone = ZoneInfo(name)
        points = changes(zone)
        offsets = [(at - MINUTE).astimezone(zone).utcoffset() for at in (*points, LAST)]
        found.setdefault((*points, *offsets), (name, tuple(points)))
    return list(found.values())


# -- judging ----------------------------------------------------------------------------------------------------


@dataclass
class Verdict:
    """What was compared, and where it differed."""

    windows: int = 0
    compared: int = 0
    expected: int = 0
    mismatches: list[str] = field(default_factory=list)

    def judge(self, name: str, start: datetime, end: datetime, given: Sequence[Fields]) -> None:
        """Compare the ticks of each expression from `start` up to `end`."""
        course = Course(ZoneInfo(name), start, end)
        self.windows += 1
        for fields in given:
            expected = course.ticks(fields)
            when = timing.Timing.of(fields.text, name, day_or=fields.day_or)
            found = [tick.at for tick in ticks.ticks(when, after=start - MINUTE, until=end - MINUTE)]
            self.compared += 1
            self.expected += len(expected)
            if found != expected:
                strange = sorted(set(found) ^ set(expected))
                self.mismatches.append(f"{fields.text!r} in {name} from {start}: {strange[:3]}")


# -- expressions ------------------------------------------------------------------------------------------------


@cache
def expressions(count: int, seed: int = 5) -> list[Fields]:
    """Expressions of every form, most of them about the hours in which clocks change, that match at all."""
    chance = random.Random(seed)
    made = (Fields(_expression(chance), day_or=chance.random() < 0.9) for _ in count_up())
    return list(islice(filter(is_possible, made), count))


def is_possible(fields: Fields) -> bool:
    """Whether any day within 28 years is in it."""
    return any(fields.has_day(datetime(2020, 1, 1) + n * DAY) for n in range(28 * 366))  # noqa: DTZ001 - a wall's


def _expression(chance: random.Random) -> str:
    hours = range(5) if chance.random() < 0.7 else range(24)
    day, weekday = _day(chance), _weekday(chance)
    month = "*" if chance.random() < 0.8 else _some(chance, range(1, 13), words=MONTHS)
    return " ".join((_some(chance, range(60)), _some(chance, hours, 0.25), day, month, weekday))


def _some(chance: random.Random, values: range, star: float = 0.1, words: Sequence[str] = ()) -> str:
    """A field of any of the forms, its values among these."""
    form = chance.random()
    low, high = sorted(chance.sample(values, 2))
    if form < star:
        return "*"
    if form < star + 0.1:
        return f"*/{chance.choice((2, 3, 5, 7, 15, 20, 30))}"
    if form < star + 0.2:
        return f"{low}-{high}/{chance.choice((1, 2, 3))}"
    if form < star + 0.3:
        return f"{low}-{high}"
    if form < star + 0.35:
        return f"{low}/{chance.choice((2, 7, 10))}"
    if form < star + 0.5:
        return ",".join(map(str, chance.sample(values, chance.randint(2, 4))))
    value = chance.choice((0, 15, 30, 45)) if len(values) == 60 and chance.random() < 0.5 else chance.choice(values)
    return words[value - values[0]] if words else str(value)


def _day(chance: random.Random) -> str:
    form = chance.random()
    if form < 0.6:
        return "*"
    if form < 0.7:
        return chance.choice(("L", "15,L", "*/2", "*/3"))
    return _some(chance, range(1, 29))


def _weekday(chance: random.Random) -> str:
    form = chance.random()
    if form < 0.6:
        return "*"
    if form < 0.75:
        return chance.choice(("sun", "mon-fri", "6,7", "SUN,SAT", "0", "7", "*/2", "1-5"))
    if form < 0.9:
        return chance.choice(("sun#5", "0#2", "L0", "L5", "sat#4", "0#1,0#3"))
    return _some(chance, range(7), star=0)
