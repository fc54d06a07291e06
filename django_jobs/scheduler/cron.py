"""Cron expressions. croniter reads them; what it expands is kept as tuples and bits that answer in nanoseconds.

Five fields (minute, hour, day of month, month, day of week), and a sixth for seconds where it is asked for. Where both
days are restricted, either will do, as Vixie cron has it; a field that starts with `*` restricts nothing in that sense
(`*/2 * 1` needs both). `day_or=False` always needs both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache

from ..exceptions import InvalidSchedule

NAMES = ("minute", "hour", "day of month", "month", "day of week", "second")
ALIASES = {
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
MOST_CHARACTERS = 500
"""A list of every minute has 169."""
LAST = 0
"""Stands for the last: day of the month among days, weekday of its kind among the n-th ones."""
_FULL = (range(60), range(24), range(1, 32), range(1, 13), range(7), range(60))
_SAME = re.compile(r"\b(\w+)-\1\b", re.IGNORECASE)  # croniter takes 9-9 for the whole field
_LAST_WITH_STEP = [  # and some of its releases 59/15 too
    re.compile(rf"(^|,)({last})/", re.IGNORECASE) for last in ("59", "23", "31", "12|dec", "6|sat", "59")
]
_CHANCE = re.compile(r"(^|,)[hr](\(|/|,|$)", re.IGNORECASE)
_NEAREST = re.compile(r"(^|,)(w\d+|\d+w)(,|$)", re.IGNORECASE)  # only newer releases of croniter have it
_ELSEWHERE = {
    "@reboot": "names no time. What is to run at a start belongs to what starts the worker, such as a systemd unit.",
    "@every": "is an interval, which cron does not have. Give '*/5 * * * *', or a helper such as every_five_minutes().",
    "@": f"is no alias. There are: {', '.join(ALIASES)}.",
    "tz=": "has a time zone in it, which belongs beside it: timezone('Europe/Berlin'), as the key or the method.",
}
"""What starts so in other systems, and what to do about it here."""
_DAY = 2
_FIRST_DAY = date(2024, 1, 1).toordinal()
_CYCLE = timedelta(days=28 * 366).days
"""Within 28 years every kind of year occurs: each weekday that it may start with, leap or not."""


@dataclass(frozen=True, slots=True)
class Cron:
    """An expression that holds. `parse()` makes one."""

    expression: str
    fields: tuple[str, ...]
    """The parts of the expression, of what an alias stands for."""
    day_or: bool
    minutes: tuple[int, ...] = field(repr=False, compare=False)
    hours: tuple[int, ...] = field(repr=False, compare=False)
    seconds: tuple[int, ...] = field(repr=False, compare=False)
    days: DayRule = field(repr=False, compare=False)
    is_fixed: bool = field(repr=False, compare=False)
    """Minute and hour are values, with no wildcard and no step: it names times of the day."""

    def __str__(self) -> str:
        return self.expression

    @property
    def has_seconds(self) -> bool:
        """Whether it has a sixth field."""
        return len(self.fields) == 6


@dataclass(frozen=True, slots=True)
class DayRule:
    """Which days an expression has. Bits stand for values; bit 0 of `days` is the month's last one."""

    months: int
    days: int
    weekdays: int
    nths: tuple[tuple[int, int], ...]
    """Of some weekdays (the first number) only the n-th in the month (the second), or the `LAST`."""
    either: bool
    """A day of the month or a day of the week will do."""

    def has(self, day: date) -> bool:
        """Whether the expression has this day."""
        if not self.months >> day.month & 1:
            return False
        # One side decides where it has the day and either will do, or has it not and both must.
        of_month = bool(self.days >> day.day & 1 or (self.days & 1 and (day + timedelta(days=1)).day == 1))
        if of_month is self.either:
            return of_month
        weekday = day.isoweekday() % 7
        if not self.weekdays >> weekday & 1:
            return False
        if not self.nths:
            return True
        wanted = [n for kind, n in self.nths if kind == weekday]
        return (day.day + 6) // 7 in wanted or (LAST in wanted and (day + timedelta(days=7)).month != day.month)


@lru_cache(maxsize=20_000)
def parse(expression: str, *, seconds: bool = False, day_or: bool = True) -> Cron:
    """The expression, read. `seconds` says whether it has a sixth field, for them.

    Raises `InvalidSchedule` for what is no expression, has another number of fields, is random (`R`, `H`), or never
    matches.
    """
    if len(expression) > MOST_CHARACTERS:
        raise InvalidSchedule(f"cron: an expression has at most {MOST_CHARACTERS} characters.", rule="E022")
    text = ALIASES.get(expression.strip().lower(), expression)
    if seconds and text is not expression:
        text += " 0"
    _refuse_what_is_elsewhere(text)
    fields = text.split()
    wanted = 6 if seconds else 5
    if len(fields) != wanted:
        raise InvalidSchedule(_miscounted(expression, len(fields), seconds), rule="E022")
    minute, hour, day, month, weekday = (_expand(index, fields[index]) for index in range(5))
    second = _expand(5, fields[5]) if seconds else _Field((0,), ())
    days = _day_rule(day, month, weekday, day_or and not any(f[0] in "*?" for f in (fields[2], fields[4])))
    if not _ever(days):
        raise InvalidSchedule(
            f"cron: {expression!r:.80} never matches: there is no such day. Mend its day or month.", rule="E022"
        )
    return Cron(
        expression=" ".join(fields) if text is expression else expression.strip(),
        fields=tuple(fields),
        day_or=day_or,
        minutes=minute.values,
        hours=hour.values,
        seconds=second.values,
        days=days,
        is_fixed=not any(
            "*" in text or "/" in text or len(expanded.values) == len(full)
            for text, expanded, full in zip(fields[:2], (minute, hour), _FULL[:2], strict=True)
        ),
    )


@dataclass(frozen=True, slots=True)
class _Field:
    values: tuple[int, ...]
    nths: tuple[tuple[int, int], ...]


@lru_cache(maxsize=10_000)
def _expand(index: int, text: str) -> _Field:
    """One field as croniter has it. Field by field, as a schedule of thousands has few different fields."""
    from croniter import croniter  # here, as it takes a megabyte that workers without a schedule need not have
    from croniter.croniter import CroniterError

    if _CHANCE.search(text):
        raise InvalidSchedule(
            f"cron: {text!r:.80} leaves the {NAMES[index]} to chance or to a hash. Give values.", rule="E022"
        )
    if index == _DAY and _NEAREST.search(text):
        raise InvalidSchedule(
            f"cron: the nearest weekday ({text!r:.80}) is not known. Give days, or a `when`.", rule="E022"
        )
    if _SAME.search(text) or _LAST_WITH_STEP[index].search(text):
        raise InvalidSchedule(f"cron: {text!r:.80} comes to one value of a range. Give just that value.", rule="E022")
    fields = ["*"] * max(5, index + 1)
    fields[index] = text
    try:
        expanded, nths = croniter.expand(" ".join(fields))
    except CroniterError as error:
        raise InvalidSchedule(f"cron: {text!r:.80} is no {NAMES[index]}.", rule="E022") from error
    found = expanded[index]
    values = _FULL[index] if "*" in found else [LAST if value == "l" else int(value) for value in found]
    pairs = ((day, LAST if n == "l" else int(n)) for day, some in nths.items() for n in some)
    return _Field(tuple(sorted(values)), tuple(sorted(pairs)))


def _day_rule(day: _Field, month: _Field, weekday: _Field, either: bool) -> DayRule:
    return DayRule(_bits(month.values), _bits(day.values), _bits(weekday.values), weekday.nths, either)


def _bits(values: tuple[int, ...]) -> int:
    return sum(1 << value for value in values)


@lru_cache(maxsize=10_000)
def _ever(days: DayRule) -> bool:
    return any(days.has(date.fromordinal(day)) for day in range(_FIRST_DAY, _FIRST_DAY + _CYCLE))


def _refuse_what_is_elsewhere(expression: str) -> None:
    start = expression.strip().lower().removeprefix("cron_")
    for known, says in _ELSEWHERE.items():
        if start.startswith(known):
            raise InvalidSchedule(f"cron: {expression!r:.80} {says}", rule="E022")


def _miscounted(expression: str, count: int, seconds: bool) -> str:
    what = f"cron: {expression!r:.80} has {count} fields"
    if seconds:
        return f"{what}. With seconds, give six: minute, hour, day of month, month, day of week, second."
    hint = " For a sixth with seconds, ask for seconds." if count == 6 else ""
    return f"{what}. Give five: minute, hour, day of month, month, day of week.{hint}"
