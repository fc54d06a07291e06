"""The fluent helpers that say when: `daily_at("02:00")`, `.weekdays().every_ten_minutes().between("9:00", "17:00")`.

Some say on which days (`daily`, `mondays`, `monthly_on`), some at what times (`hourly`, `every_minute`, `at`). They
combine in any order, and the later one of a kind replaces the earlier. Days without a time are at midnight.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import MAXYEAR, MINYEAR, UTC, datetime, time
from functools import wraps
from typing import Any, Self, TypeVar

from django.utils.dateparse import parse_datetime

from ..definition import whole
from ..exceptions import InvalidDefinition, InvalidHandler, InvalidSchedule, UnknownHandler
from ..names import shown
from .cron import Cron, parse
from .ticks import instant
from .timing import Timing, Window, default_zone_name, zone_of

M = TypeVar("M", bound=Callable[..., Any])
Time = str | int | time
"""A time of the day: `"9:30"`, a `datetime.time`, or the hour alone."""

WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_TIME = re.compile(r"(\d{1,2})(?::(\d{2}))?", re.ASCII)
_FIELDS = ("minute", "hour", "day", "month", "weekday")


def step(method: M) -> M:
    """A method that changes its builder and returns it. What is wrong is kept for `to_entry`, so that one bad entry
    does not end a function that declares twenty.
    """

    @wraps(method)
    def run(self: Frequency, *args: Any, **kwargs: Any) -> Frequency:
        try:
            method(self, *args, **kwargs)
        except (InvalidDefinition, UnknownHandler, InvalidHandler) as error:
            self.errors.append(error)
        return self

    return run  # type: ignore[return-value]  # the same, as seen from outside


class Frequency:
    """When something is due, put together step by step."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self._fields: dict[str, str] = {}
        self._times: list[tuple[int, int]] = []
        self._crons: list[tuple[str, bool]] = []
        self._at: datetime | None = None
        self._windows: list[Window] = []
        self._zone_name = ""
        self._day_or = True

    # -- times ------------------------------------------------------------------------------------------------

    @step
    def every_minute(self, n: int = 1) -> Self:
        """Every minute, or every n-th of each hour: with 7 at :00, :07 … :56, and at :00 again."""
        return self._set(minute=_every("every_minute", n, 59), hour="*")

    def every_x_minutes(self, n: int) -> Self:
        """Every n-th minute of each hour."""
        return self.every_minute(n)

    def every_two_minutes(self) -> Self:
        """At even minutes."""
        return self.every_minute(2)

    def every_three_minutes(self) -> Self:
        """At :00, :03 and so on."""
        return self.every_minute(3)

    def every_four_minutes(self) -> Self:
        """At :00, :04 and so on."""
        return self.every_minute(4)

    def every_five_minutes(self) -> Self:
        """At :00, :05 and so on."""
        return self.every_minute(5)

    def every_ten_minutes(self) -> Self:
        """At :00, :10 and so on."""
        return self.every_minute(10)

    def every_fifteen_minutes(self) -> Self:
        """At :00, :15, :30 and :45."""
        return self.every_minute(15)

    def every_twenty_minutes(self) -> Self:
        """At :00, :20 and :40."""
        return self.every_minute(20)

    def every_thirty_minutes(self) -> Self:
        """At :00 and :30."""
        return self.every_minute(30)

    @step
    def minutes(self, *minutes: int | Iterable[int]) -> Self:
        """At these minutes, of every hour unless hours are named."""
        return self._set(minute=_values("minutes", minutes, 0, 59))

    @step
    def between_minutes(self, first: int, last: int) -> Self:
        """At each minute from the first to the last, both included, of every hour unless hours are named."""
        return self._set(minute=_span("between_minutes", first, last, 59))

    @step
    def hourly(self) -> Self:
        """At the start of each hour."""
        return self._set(minute="0", hour="*")

    @step
    def hourly_at(self, *minutes: int | Iterable[int]) -> Self:
        """At these minutes of each hour."""
        return self._set(minute=_values("hourly_at", minutes, 0, 59), hour="*")

    @step
    def every_hour(self, n: int = 1, minute: int | Iterable[int] = 0) -> Self:
        """Every n-th hour of the day, at a minute or several."""
        return self._set(hour=_every("every_hour", n, 23), minute=_values("every_hour", (minute,), 0, 59))

    def every_2_hours(self, minute: int | Iterable[int] = 0) -> Self:
        """At even hours."""
        return self.every_hour(2, minute)

    def every_3_hours(self, minute: int | Iterable[int] = 0) -> Self:
        """At 0, 3, 6 o'clock and so on."""
        return self.every_hour(3, minute)

    def every_4_hours(self, minute: int | Iterable[int] = 0) -> Self:
        """At 0, 4, 8 o'clock and so on."""
        return self.every_hour(4, minute)

    def every_6_hours(self, minute: int | Iterable[int] = 0) -> Self:
        """At 0, 6, 12 and 18 o'clock."""
        return self.every_hour(6, minute)

    every_two_hours, every_three_hours, every_four_hours, every_six_hours = (
        every_2_hours,
        every_3_hours,
        every_4_hours,
        every_6_hours,
    )

    @step
    def hours(self, *hours: int | Iterable[int]) -> Self:
        """At these hours, on the hour unless minutes are named."""
        return self._set(hour=_values("hours", hours, 0, 23))

    @step
    def between_hours(self, first: int, last: int) -> Self:
        """At each hour from the first to the last, both included, on the hour unless minutes are named."""
        return self._set(hour=_span("between_hours", first, last, 23))

    @step
    def at(self, *when: Time | datetime | Iterable[Time]) -> Self:
        """At these times of the day. A datetime instead (or its ISO form): just once; a naive one is wall time in the
        entry's zone.
        """
        moments = [found for item in when if (found := _moment(item)) is not None]
        if moments:
            if len(when) > 1:
                raise InvalidSchedule("at: give one moment, or times of the day.")
            if not MINYEAR < moments[0].year < MAXYEAR:
                raise InvalidSchedule(f"at: no time zone has {shown(when[0])}.", rule="E022")
            self._at = moments[0]
        else:
            self._at_times("at", _flat("at", when))
        return self

    # -- days -------------------------------------------------------------------------------------------------

    @step
    def daily(self) -> Self:
        """Every day."""
        return self._set(day="*", weekday="*")

    @step
    def daily_at(self, *times: Time | Iterable[Time]) -> Self:
        """Every day, at these times."""
        self._set(day="*", weekday="*")
        return self._at_times("daily_at", _flat("daily_at", times))

    @step
    def twice_daily(self, first: int = 1, second: int = 13) -> Self:
        """Every day, at two hours."""
        return self._set(day="*", weekday="*", minute="0", hour=_values("twice_daily", (first, second), 0, 23))

    @step
    def twice_daily_at(self, first: int = 1, second: int = 13, minute: int = 0) -> Self:
        """Every day, at two hours and this minute."""
        hours, at = _values("twice_daily_at", (first, second), 0, 23), _values("twice_daily_at", (minute,), 0, 59)
        return self._set(day="*", weekday="*", minute=at, hour=hours)

    @step
    def weekly(self) -> Self:
        """On Sundays."""
        return self._set(day="*", weekday="0")

    @step
    def weekly_on(self, day: int | str | Iterable[int | str], at: Time | Iterable[Time] | None = None) -> Self:
        """On a day of the week or several: 0 (or 7) to 6 from Sunday, or their names."""
        self._set(day="*", weekday=_named("weekly_on", (day,), WEEKDAYS, 0))
        return self._at_times("weekly_on", (at,))

    @step
    def days(self, *days: int | str | Iterable[int | str]) -> Self:
        """On these days of the week: 0 (or 7) to 6 from Sunday, or their names."""
        return self._set(weekday=_named("days", days, WEEKDAYS, 0))

    @step
    def _on(self, weekday: str, at: Time | Iterable[Time] | None) -> Self:
        self._set(weekday=weekday)
        return self._at_times("at", (at,))

    def sundays(self, at: Time | Iterable[Time] | None = None) -> Self:
        """On Sundays."""
        return self._on("0", at)

    def mondays(self, at: Time | Iterable[Time] | None = None) -> Self:
        """On Mondays."""
        return self._on("1", at)

    def tuesdays(self, at: Time | Iterable[Time] | None = None) -> Self:
        """On Tuesdays."""
        return self._on("2", at)

    def wednesdays(self, at: Time | Iterable[Time] | None = None) -> Self:
        """On Wednesdays."""
        return self._on("3", at)

    def thursdays(self, at: Time | Iterable[Time] | None = None) -> Self:
        """On Thursdays."""
        return self._on("4", at)

    def fridays(self, at: Time | Iterable[Time] | None = None) -> Self:
        """On Fridays."""
        return self._on("5", at)

    def saturdays(self, at: Time | Iterable[Time] | None = None) -> Self:
        """On Saturdays."""
        return self._on("6", at)

    def weekdays(self, at: Time | Iterable[Time] | None = None) -> Self:
        """From Monday to Friday."""
        return self._on("1-5", at)

    def weekends(self, at: Time | Iterable[Time] | None = None) -> Self:
        """On Saturdays and Sundays."""
        return self._on("0,6", at)

    @step
    def monthly(self) -> Self:
        """On the first of each month."""
        return self._set(day="1", weekday="*")

    @step
    def monthly_on(self, day: int = 1, at: Time | Iterable[Time] | None = None) -> Self:
        """On a day of each month that has it."""
        self._set(day=_values("monthly_on", (day,), 1, 31), weekday="*")
        return self._at_times("monthly_on", (at,))

    @step
    def twice_monthly(self, first: int = 1, second: int = 16, at: Time | Iterable[Time] | None = None) -> Self:
        """On two days of each month."""
        self._set(day=_values("twice_monthly", (first, second), 1, 31), weekday="*")
        return self._at_times("twice_monthly", (at,))

    @step
    def last_day_of_month(self, at: Time | Iterable[Time] | None = None) -> Self:
        """On the last day of each month."""
        self._set(day="L", weekday="*")
        return self._at_times("last_day_of_month", (at,))

    @step
    def days_of_month(self, *days: int | Iterable[int]) -> Self:
        """On these days of the month."""
        return self._set(day=_values("days_of_month", days, 1, 31))

    @step
    def quarterly(self) -> Self:
        """On the first of January, April, July and October."""
        return self._set(day="1", month="1,4,7,10", weekday="*")

    @step
    def quarterly_on(self, day: int = 1, at: Time | Iterable[Time] | None = None) -> Self:
        """On a day of January, April, July and October."""
        self._set(day=_values("quarterly_on", (day,), 1, 31), month="1,4,7,10", weekday="*")
        return self._at_times("quarterly_on", (at,))

    @step
    def yearly(self) -> Self:
        """On the first of January."""
        return self._set(day="1", month="1", weekday="*")

    @step
    def yearly_on(self, month: int | str = 1, day: int = 1, at: Time | Iterable[Time] | None = None) -> Self:
        """On a day of the year."""
        months, days = _named("yearly_on", (month,), MONTHS, 1), _values("yearly_on", (day,), 1, 31)
        self._set(day=days, month=months, weekday="*")
        return self._at_times("yearly_on", (at,))

    @step
    def months(self, *months: int | str | Iterable[int | str]) -> Self:
        """In these months only: 1 to 12, or their names."""
        return self._set(month=_named("months", months, MONTHS, 1))

    # -- the rest ---------------------------------------------------------------------------------------------

    @step
    def cron(self, *expressions: str | Iterable[str], seconds: bool = False, day_or: bool | None = None) -> Self:
        """By cron expressions of five fields, or of six where `seconds`, the last one being for them.

        Where both a day of the month and one of the week are named, either will do; with `day_or=False` both must be.
        """
        given = _flat("cron", expressions)
        if not all(isinstance(item, str) for item in given):
            raise InvalidSchedule("cron: give expressions as texts.", rule="E022")
        self._crons += [(item, flag("seconds", seconds)) for item in given]
        return self if day_or is None else self.day_or(day_or)

    @step
    def day_or(self, either: bool = True) -> Self:
        """Whether either will do where both days of the month and days of the week are named; False: both must be."""
        self._day_or = flag("day_or", either)
        return self

    @step
    def between(self, start: Time, end: Time) -> Self:
        """Only within these hours of the day, both ends included; from 22:00 to 6:00 is over midnight."""
        self._windows.append(Window(time(*_time("between", start)), time(*_time("between", end))))
        return self

    @step
    def unless_between(self, start: Time, end: Time) -> Self:
        """Not within these hours of the day, both ends included."""
        window = Window(time(*_time("unless_between", start)), time(*_time("unless_between", end)), inside=False)
        self._windows.append(window)
        return self

    @step
    def timezone(self, name: str) -> Self:
        """The time zone that the times are meant in. Default: `JOBS_SCHEDULE_TIMEZONE`."""
        if not isinstance(name, str):
            raise InvalidSchedule(f"timezone: give a name such as 'Europe/Berlin', not {shown(name)}.", rule="E024")
        zone_of(name)
        self._zone_name = name
        return self

    def to_timing(self) -> Timing:
        """The timing so far. Raises `InvalidSchedule`."""
        name = self._zone_name or default_zone_name()
        ways = [bool(self._crons), bool(self._fields or self._times), self._at is not None]
        if not any(ways) and self.errors:
            raise self.errors[0]  # the helper that would have said when
        if sum(ways) != 1:
            what = "it is never due. Say when"
            if any(ways):
                what = "a frequency, a cron expression and a moment don't go together. Give one of them"
            raise InvalidSchedule(f'{what}, such as daily_at("02:00").', rule="E022")
        if self._at is not None:
            if self._windows:
                raise InvalidSchedule(
                    "between: a single moment has no hours of the day. Leave one of them out.", rule="E022"
                )
            at = self._at.astimezone(UTC) if self._at.tzinfo is not None else instant(self._at, zone_of(name))
            return Timing(at=at, zone_name=name)
        zone_of(name)
        asked = [parse(text, seconds=seconds, day_or=self._day_or) for text, seconds in self._crons]
        timing = Timing(tuple(asked or self._compiled()), None, tuple(self._windows), name)
        if not timing.is_possible:
            raise InvalidSchedule(
                "between: no time of the day is left. Mend between() or unless_between().", rule="E022"
            )
        return timing

    def _compiled(self) -> list[Cron]:
        fields = {"day": "*", "month": "*", "weekday": "*", **self._fields}
        if not self._times:
            named = "minute" in fields or "hour" in fields
            fields.setdefault("hour", "*" if named else "0")
            fields.setdefault("minute", "0")
            return [self._parsed(fields)]
        by_minute: dict[int, set[int]] = {}
        for hour, minute in self._times:
            by_minute.setdefault(minute, set()).add(hour)
        return [
            self._parsed({**fields, "minute": str(minute), "hour": _joined(hours)})
            for minute, hours in sorted(by_minute.items())
        ]

    def _parsed(self, fields: dict[str, str]) -> Cron:
        return parse(" ".join(fields[name] for name in _FIELDS), day_or=self._day_or)

    def _set(self, **fields: str) -> Self:
        self._fields |= fields
        if "minute" in fields or "hour" in fields:
            self._times = []
        return self

    def _at_times(self, helper: str, times: Iterable[Any]) -> Self:
        given = [item for item in _flat(helper, times, empty=True) if item is not None]
        if given:
            self._times = [_time(helper, item) for item in given]
            self._fields.pop("minute", None)
            self._fields.pop("hour", None)
        return self


# -- arguments ------------------------------------------------------------------------------------------------


def _flat(helper: str, values: Iterable[Any], *, empty: bool = False) -> list[Any]:
    """One list of what may have been given as arguments or as lists."""
    flat: list[Any] = []
    for value in values:
        flat += [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
    if not flat and not empty:
        raise InvalidSchedule(f"{helper}: give at least one value.")
    return flat


def _values(helper: str, values: Iterable[Any], low: int, high: int) -> str:
    return _joined(whole(helper, value, low, high) for value in _flat(helper, values))


def _joined(values: Iterable[int]) -> str:
    return ",".join(map(str, sorted(set(values))))


def _every(helper: str, n: int, most: int) -> str:
    return "*" if whole(helper, n, 1, most) == 1 else f"*/{n}"


def _span(helper: str, first: int, last: int, most: int) -> str:
    first, last = whole(helper, first, 0, most), whole(helper, last, 0, most)
    return str(first) if first == last else f"{first}-{last}"


def _named(helper: str, values: Iterable[Any], words: tuple[str, ...], first: int) -> str:
    """Numbers from `first`, or words of at least three letters of their names."""
    numbers = []
    for value in _flat(helper, values):
        if isinstance(value, str) and len(value) >= 3:
            found = [i for i, word in enumerate(words, first) if word.startswith(value.lower())]
            if len(found) != 1:
                raise InvalidSchedule(f"{helper}: {shown(value)} is not one of {', '.join(words)}.")
            numbers += found
        elif words is WEEKDAYS and value == 7:
            numbers.append(0)
        else:
            numbers.append(whole(helper, value, first, first + len(words) - 1))
    return _joined(numbers)


def flag(name: str, value: Any) -> bool:
    """The value, if it is True or False."""
    if not isinstance(value, bool):
        raise InvalidSchedule(f"{name}: give True or False, not {shown(value)}.")
    return value


def _moment(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            return parse_datetime(value)
        except ValueError:
            return None
    return value if isinstance(value, datetime) else None


def _time(helper: str, value: Any) -> tuple[int, int]:
    """Hour and minute."""
    if isinstance(value, time) and not (value.second or value.microsecond or value.tzinfo):
        return value.hour, value.minute
    match = _TIME.fullmatch(str(value).strip()) if isinstance(value, str | int) and value is not True else None
    if match and int(match[1]) < 24 and int(match[2] or 0) < 60:
        return int(match[1]), int(match[2] or 0)
    raise InvalidSchedule(f"{helper}: {shown(value)} is not a time of the day. Give one such as '9:30'.", rule="E022")
