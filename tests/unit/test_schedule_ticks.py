"""The ticks of a timing: what the clock did at each, windows, several expressions, one moment, the last, the next."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest

from django_jobs.scheduler import ticks as module
from django_jobs.scheduler.cron import parse
from django_jobs.scheduler.ticks import Edge, Tick, last_tick, next_ticks, ticks
from django_jobs.scheduler.timing import Timing, Window

SPRING, AUTUMN = datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def shown(found: list[Tick]) -> list[str]:
    return [f"{tick.local:%d. %H:%M%z} {tick.edge}".strip() for tick in found]


def of_day(expression: str, start: datetime, zone: str = "Europe/Berlin") -> list[str]:
    return shown(list(ticks(Timing.of(expression, zone), after=start, until=start + DAY)))


def test_a_gap() -> None:
    assert of_day("30 2 * * *", SPRING) == ["29. 03:00+0200 gap"]
    assert of_day("0,30 2 * * *", SPRING) == ["29. 03:00+0200 gap"]
    assert of_day("30 2,3 * * *", SPRING) == ["29. 03:00+0200 gap", "29. 03:30+0200"]
    assert of_day("0 2,3 * * *", SPRING) == ["29. 03:00+0200 gap"]
    assert of_day("*/30 1-3 * * *", SPRING) == ["29. 01:00+0100", "29. 01:30+0100", "29. 03:00+0200", "29. 03:30+0200"]
    assert of_day("*/30 2 * * *", SPRING) == []


def test_a_gap_tells_what_was_meant() -> None:
    (tick,) = ticks(Timing.of("15,30 2 * * *", "Europe/Berlin"), after=SPRING, until=SPRING + DAY)
    assert tick.meant is not None
    assert tick.meant.isoformat() == "2026-03-29T02:15:00"
    assert tick.at == datetime(2026, 3, 29, 1, tzinfo=UTC)


def test_an_overlap() -> None:
    assert of_day("30 2 * * *", AUTUMN) == ["25. 02:30+0200 first"]
    assert of_day("30 * * * *", AUTUMN)[11:16] == [
        "25. 01:30+0200",
        "25. 02:30+0200 first",
        "25. 02:30+0100 second",
        "25. 03:30+0100",
        "25. 04:30+0100",
    ]
    assert len(of_day("* * * * *", AUTUMN)) == 24 * 60


def test_a_short_look_sees_the_edge_too() -> None:
    half_past = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    minute = timedelta(minutes=1)
    for expression, hours, edge in (
        ("30 2 * * *", 0, "first"),
        ("30 * * * *", 0, "first"),
        ("30 * * * *", 1, "second"),
    ):
        at = half_past + timedelta(hours=hours)
        (tick,) = ticks(Timing.of(expression, "Europe/Berlin"), after=at - minute, until=at)
        assert tick.edge == edge


def test_half_an_hour() -> None:
    zone = "Australia/Lord_Howe"
    assert of_day("15 2 * * *", datetime(2026, 10, 3, 12, tzinfo=UTC), zone) == ["04. 02:30+1100 gap"]
    assert of_day("45 1 * * *", datetime(2026, 4, 4, 12, tzinfo=UTC), zone) == ["05. 01:45+1100 first"]


def test_seconds_in_a_gap_and_in_an_overlap() -> None:
    timing = Timing((parse("0 2 * * * */20", seconds=True),), zone_name="Europe/Berlin")
    assert len(list(ticks(timing, after=SPRING, until=SPRING + DAY))) == 1
    assert len(list(ticks(timing, after=AUTUMN, until=AUTUMN + DAY))) == 3


def test_after_is_not_in_it_and_until_is() -> None:
    timing = Timing.of("* * * * *", "UTC")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    minute = timedelta(minutes=1)
    assert [tick.at for tick in ticks(timing, after=start, until=start + minute)] == [start + minute]
    assert list(ticks(timing, after=start, until=start)) == []
    assert list(ticks(timing, after=start, until=start - minute)) == []
    part = timedelta(microseconds=1)
    assert [tick.at for tick in ticks(timing, after=start - part, until=start + part)] == [start]


def test_several_expressions_meet() -> None:
    timing = Timing((parse("*/20 * * * *"), parse("0 * * * *"), parse("30 * * * *")), zone_name="UTC")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    found = [tick.at.minute for tick in ticks(timing, after=start, until=start + timedelta(hours=1))]
    assert found == [20, 30, 40, 0]


def test_a_fixed_and_a_recurring_expression_in_an_overlap() -> None:
    timing = Timing((parse("30 2 * * *"), parse("0 * * * *")), zone_name="Europe/Berlin")
    found = shown(list(ticks(timing, after=AUTUMN, until=AUTUMN + DAY)))
    assert found[11:15] == ["25. 02:00+0200 first", "25. 02:30+0200 first", "25. 02:00+0100 second", "25. 03:00+0100"]


@pytest.mark.parametrize(
    ("window", "hours"),
    [
        (Window(time(9), time(12)), [9, 10, 11, 12]),
        (Window(time(22), time(2)), [0, 1, 2, 22, 23]),
        (Window(time(2), time(21, 59), inside=False), [0, 1, 22, 23]),
        (Window(time(22), time(21, 59)), list(range(24))),
    ],
)
def test_windows(window: Window, hours: list[int]) -> None:
    timing = Timing((parse("0 * * * *"),), windows=(window,), zone_name="UTC")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    found = ticks(timing, after=start - timedelta(minutes=1), until=start + timedelta(hours=23))
    assert [tick.local.hour for tick in found] == hours


def test_a_window_is_about_what_was_meant() -> None:
    inside = Timing((parse("30 2 * * *"),), windows=(Window(time(2), time(2, 45)),), zone_name="Europe/Berlin")
    assert shown(list(ticks(inside, after=SPRING, until=SPRING + DAY))) == ["29. 03:00+0200 gap"]
    outside = Timing((parse("30 2 * * *"),), windows=(Window(time(3), time(4)),), zone_name="Europe/Berlin")
    assert list(ticks(outside, after=SPRING, until=SPRING + DAY)) == []


def test_one_moment() -> None:
    at = datetime(2026, 6, 1, 7, tzinfo=UTC)
    timing = Timing(at=at, zone_name="Europe/Berlin")
    second = timedelta(seconds=1)
    assert shown(list(ticks(timing, after=at - second, until=at))) == ["01. 09:00+0200"]
    assert list(ticks(timing, after=at, until=at + DAY)) == []
    assert shown(next_ticks(timing, after=at - DAY, count=5)) == ["01. 09:00+0200"]
    assert last_tick(timing, at_or_before=at - second) is None
    assert last_tick(timing, at_or_before=at + 1000 * DAY).at == at


def test_next_ticks_far_away() -> None:
    def after(expression: str, day: datetime, **options) -> list[date]:
        return [tick.at.date() for tick in next_ticks(Timing.of(expression, "UTC", **options), after=day, count=2)]

    assert after("0 0 29 2 *", datetime(2026, 1, 1, tzinfo=UTC)) == [date(2028, 2, 29), date(2032, 2, 29)]
    sundays = after("0 0 29 2 0", datetime(2072, 3, 1, tzinfo=UTC), day_or=False)
    assert sundays == [date(2088, 2, 29), date(2128, 2, 29)]  # 2100 is no leap year
    assert next_ticks(Timing.of("0 0 1 1 *", "UTC"), after=datetime(9998, 6, 1, tzinfo=UTC), count=1) == []


@pytest.mark.parametrize("expression", ["* * * * *", "0 2 * * *", "0 0 * * mon", "0 0 31 * *", "0 0 29 2 *"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Australia/Lord_Howe"])
def test_the_last_tick_is_the_one_before_the_next(expression: str, zone: str) -> None:
    timing = Timing.of(expression, zone)
    start = datetime(2025, 3, 1, 4, 17, 9, tzinfo=UTC)
    first, second = next_ticks(timing, after=start, count=2)
    assert last_tick(timing, at_or_before=second.at) == second
    assert last_tick(timing, at_or_before=second.at - timedelta(seconds=1)) == first
    assert last_tick(timing, at_or_before=first.at - timedelta(seconds=1)).at <= start


def test_ticks_before_1970() -> None:
    start = datetime(1969, 12, 31, 22, 30, tzinfo=UTC)
    found = next_ticks(Timing.of("0 * * * *", "UTC"), after=start, count=2)
    assert [tick.at.isoformat() for tick in found] == ["1969-12-31T23:00:00+00:00", "1970-01-01T00:00:00+00:00"]


def test_a_look_at_one_minute_looks_at_one_day(monkeypatch) -> None:
    """Whatever the expression: a schedule of ten thousand entries is looked at each minute."""
    timings = [Timing.of(f"{n % 60} {n % 24} {n % 28 + 1} * *", "Europe/Berlin") for n in range(500)]
    asked = 0

    def counted(day: int) -> date:
        nonlocal asked
        asked += 1
        return date.fromordinal(day)

    monkeypatch.setattr(module, "date", type("Counted", (), {"fromordinal": staticmethod(counted)}))
    at = datetime(2026, 1, 15, 12, tzinfo=UTC)
    for timing in timings:
        list(ticks(timing, after=at, until=at + timedelta(minutes=1)))
    assert asked <= len(timings)


def test_edges_are_texts() -> None:
    assert [str(edge) for edge in Edge] == ["", "gap", "first", "second"]


def test_the_next_tick_asks_no_clock_about_the_next_decades(monkeypatch) -> None:
    asked = []
    of_year = module._shifts_of_year
    monkeypatch.setattr(module, "_shifts_of_year", lambda zone, year: asked.append(year) or of_year(zone, year))
    assert next_ticks(Timing.of("0 9 * * *", "Asia/Tokyo"), after=datetime(2026, 6, 1, tzinfo=UTC), count=1)
    assert set(asked) <= {2026, 2027}
