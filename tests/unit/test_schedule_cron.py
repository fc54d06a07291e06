"""Cron expressions: what is taken, what is refused, and that the days are those of croniter."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from django_jobs.exceptions import InvalidSchedule
from django_jobs.scheduler.cron import ALIASES, parse
from django_jobs.scheduler.ticks import next_ticks
from django_jobs.scheduler.timing import Timing
from tests.support import oracle

START = datetime(2026, 1, 15, 12, 30, tzinfo=UTC)


def is_ours_alone(fields: oracle.Fields) -> bool:
    """Of a day of the month and an n-th weekday croniter takes both, where we take either as of any two days."""
    day, weekday = fields.text.split()[2::2]
    return "#" in weekday and day != "*" and fields.day_or


@pytest.mark.parametrize(
    "fields", [f for f in oracle.expressions(150, seed=11) if not is_ours_alone(f)], ids=lambda f: f.text
)
def test_the_same_as_croniter_where_no_clock_changes(fields: oracle.Fields) -> None:
    theirs = croniter(fields.text, START.replace(tzinfo=None), day_or=fields.day_or, implement_cron_bug=True)
    expected = list(islice(theirs.all_next(datetime), 25))
    found = next_ticks(Timing.of(fields.text, "UTC", day_or=fields.day_or), after=START, count=25)
    assert [tick.at.replace(tzinfo=None) for tick in found] == expected


@pytest.mark.parametrize("expression", ["* * * * * */7", "0 2 * * * 30", "*/5 * * * * 0,15-20", "59 23 31 12 * 59"])
def test_seconds(expression: str) -> None:
    theirs = croniter(expression, START.replace(tzinfo=None))
    found = next_ticks(Timing.of(expression, "UTC", seconds=True), after=START, count=25)
    assert [tick.at.replace(tzinfo=None) for tick in found] == list(islice(theirs.all_next(datetime), 25))


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases(alias: str) -> None:
    expected = [tick.at for tick in next_ticks(Timing.of(ALIASES[alias], "UTC"), after=START, count=3)]
    for written in (alias, alias.upper(), f" {alias} "):
        assert [tick.at for tick in next_ticks(Timing.of(written, "UTC"), after=START, count=3)] == expected
    assert [tick.at for tick in next_ticks(Timing.of(alias, "UTC", seconds=True), after=START, count=3)] == expected
    assert str(parse(alias)) == alias


def test_either_day_or_both() -> None:
    either = next_ticks(Timing.of("0 0 13 * 5", "UTC"), after=START, count=5)
    assert [tick.at.day for tick in either] == [16, 23, 30, 6, 13]
    both = next_ticks(Timing.of("0 0 13 * 5", "UTC", day_or=False), after=START, count=3)
    assert [tick.at.date().isoformat() for tick in both] == ["2026-02-13", "2026-03-13", "2026-11-13"]


def test_a_star_restricts_nothing_even_with_a_step() -> None:
    found = next_ticks(Timing.of("0 0 */2 * mon", "UTC"), after=START, count=3)
    assert [tick.at.date().isoformat() for tick in found] == ["2026-01-19", "2026-02-09", "2026-02-23"]


def test_either_of_a_day_and_an_nth_weekday() -> None:
    found = next_ticks(Timing.of("0 0 1 * fri#2", "UTC"), after=START, count=4)
    assert [tick.at.date().isoformat() for tick in found] == ["2026-02-01", "2026-02-13", "2026-03-01", "2026-03-13"]


@pytest.mark.parametrize(
    ("expression", "is_fixed"),
    [
        ("30 2 * * *", True),
        ("0,30 2,14 * * *", True),
        ("0-10 1-3 * * *", True),
        ("* 2 * * *", False),
        ("30 * * * *", False),
        ("*/30 2 * * *", False),
        ("30 2-6/2 * * *", False),
        ("0-59 2 * * *", False),
        ("0 0-23 * * *", False),
        ("@daily", True),
        ("@hourly", False),
    ],
)
def test_what_is_a_time_of_the_day(expression: str, is_fixed: bool) -> None:
    assert parse(expression).is_fixed is is_fixed


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", "has 0 fields. Give five"),
        ("* * * *", "has 4 fields. Give five"),
        ("* * * * * *", "has 6 fields. Give five.*For a sixth with seconds"),
        ("* * * * * * *", "has 7 fields"),
        ("@reboot", "'@reboot' names no time. What is to run at a start"),
        (" @Reboot", "names no time"),
        ("@every 5m", "is an interval, .*Give '\\*/5 \\* \\* \\* \\*', or a helper such as every_five_minutes"),
        ("@dayly", "'@dayly' is no alias. There are: @midnight, @hourly, @daily"),
        ("CRON_TZ=Europe/Berlin 0 2 * * *", "time zone in it, which belongs beside it: timezone"),
        ("TZ=UTC 0 2 * * *", "time zone in it"),
        ("60 * * * *", "'60' is no minute"),
        ("* 24 * * *", "'24' is no hour"),
        ("* * 32 * *", "'32' is no day of month"),
        ("* * * 13 *", "'13' is no month"),
        ("* * * * 8", "'8' is no day of week"),
        ("-5 * * * *", "'-5' is no minute"),
        ("*/0 * * * *", "is no minute"),
        ("a b c d e", "'a' is no minute"),
        ("5, * * * *", "'5,' is no minute"),
        ("0 0 * foo *", "'foo' is no month"),
        ("0 0 * * mon#6", "'mon#6' is no day of week"),
        ("R * * * *", "leaves the minute to chance"),
        ("0 R(1-5) * * *", "leaves the hour to chance"),
        ("h h * * *", "leaves the minute to chance or to a hash"),
        ("0 0 15W * *", "the nearest weekday"),
        ("0 9-9 * * *", "'9-9' comes to one value"),
        ("0 0 * Jan-jan *", "comes to one value"),
        ("59/15 * * * *", "'59/15' comes to one value"),
        ("0 5,23/2 * * *", "comes to one value"),
        ("0 0 31/2 * *", "comes to one value"),
        ("0 0 * DEC/3 *", "comes to one value"),
        ("0 0 * * sat/2", "comes to one value"),
        ("3/59 13/23 1/31 * 1/6", None),
        ("0 0 30 2 *", "never matches"),
        ("0 0 31 4,6,9,11 *", "never matches"),
        ("0 0 30-31 2 */2", "never matches"),
        ("0 0 * 2 mon#5,tue#5", None),
        ("0 0 29 2 *", None),
        ("0 0 30 2 mon", None),
        ("0 0 * * sun-mon", None),
        ("0 22-4 * nov-feb *", None),
    ],
)
def test_what_is_refused(expression: str, says: str | None) -> None:
    if says is None:
        assert next_ticks(Timing.of(expression, "UTC"), after=START, count=1)
        return
    with pytest.raises(InvalidSchedule, match=says) as caught:
        parse(expression)
    assert caught.value.rule == "E022"


WORDS = [
    "*",
    "*/",
    "1-5",
    "L",
    "L3",
    "#2",
    "59",
    "-1",
    "/",
    "-",
    ",",
    "?",
    "7",
    "W",
    "R",
    "h(1-3)",
    "mon",
    "dec",
    "\u0663",
    "9" * 25,
]
FIELD = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map("".join)


@given(st.lists(FIELD, min_size=4, max_size=7).map(" ".join), st.booleans())
@settings(max_examples=300, deadline=None)
def test_whatever_is_given_is_read_or_refused(expression: str, seconds: bool) -> None:
    try:
        cron = parse(expression, seconds=seconds)
    except InvalidSchedule:
        return
    assert next_ticks(Timing((cron,)), after=START, count=1)


@pytest.mark.parametrize("expression", ["*,1-5 * * * *", "1-5,* * * * *", "0-59 0-23 1-31 1-12 0-6", "* * ? * ?"])
def test_every_value_in_other_words(expression: str) -> None:
    found = next_ticks(Timing.of(expression, "UTC"), after=START, count=100)
    assert [tick.at for tick in found] == [
        tick.at for tick in next_ticks(Timing.of("* * * * *", "UTC"), after=START, count=100)
    ]


def test_a_long_one() -> None:
    every = ",".join(map(str, range(60)))
    assert parse(f"{every} {every[:61]} * * *").minutes == tuple(range(60))
    with pytest.raises(InvalidSchedule, match="at most 500 characters"):
        parse(f"{every},{every},{every} * * * *")


def test_both_days_that_never_meet() -> None:
    with pytest.raises(InvalidSchedule, match="never matches"):
        parse("0 0 1-7 * 1#5", day_or=False)
    assert parse("0 0 29 2 1#5", day_or=False)


def test_the_number_of_fields_with_seconds() -> None:
    with pytest.raises(InvalidSchedule, match="has 5 fields"):
        parse("* * * * *", seconds=True)
    with pytest.raises(InvalidSchedule, match="'60' is no second"):
        parse("* * * * * 60", seconds=True)


@pytest.mark.parametrize("month", ["2", "4", "2,6", "*"])
@pytest.mark.parametrize("weekday", ["L0", "mon#1", "mon#5", "1-5"])
@pytest.mark.parametrize("day", ["1", "8", "21", "28", "29", "30", "31", "L"])
def test_what_never_matches_is_refused_and_nothing_else(day: str, month: str, weekday: str) -> None:
    fields = oracle.Fields(f"0 0 {day} {month} {weekday}", day_or=False)
    try:
        parse(fields.text, day_or=False)
    except InvalidSchedule:
        assert not oracle.is_possible(fields)
    else:
        assert oracle.is_possible(fields)
