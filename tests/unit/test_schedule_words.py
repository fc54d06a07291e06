"""A timing and a tick, in words."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, time, timedelta

import pytest
from django.utils import translation

from django_jobs.scheduler.cron import parse
from django_jobs.scheduler.ticks import next_ticks
from django_jobs.scheduler.timing import Timing, Window
from django_jobs.scheduler.words import edge_in_words, in_words


@pytest.fixture(autouse=True)
def _english():
    with translation.override("en"):
        yield


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("*/5 * * * *", "Every 5 minutes"),
        ("30 2 * * *", "At 02:30"),
        ("0 9 * * mon-fri", "At 09:00, Monday through Friday"),
        ("0 9 L * *", "At 09:00, on the last day of the month"),
        ("0 0 * * L5", "At 00:00, on the last Friday of the month"),
        ("0 0 13 * 5", "At 00:00, on day 13 of the month, or on Friday"),
        ("@daily", "At 00:00"),
        ("0 0 15,L * *", ""),  # it would be wrong, as the next ones
        ("0 0 * * 0#1,0#3", ""),
    ],
)
def test_expressions(expression: str, words: str) -> None:
    assert in_words(Timing.of(expression, "UTC")) == words


def test_both_days_are_not_said_to_be_either() -> None:
    assert in_words(Timing.of("0 0 13 * 5", "UTC", day_or=False)) == ""


def test_seconds_come_last_with_us() -> None:
    assert in_words(Timing.of("* * * * * */10", "UTC", seconds=True)) == "Every 10 seconds"
    assert in_words(Timing.of("30 2 * * * 15", "UTC", seconds=True)) == "At 02:30:15"


def test_several_expressions_and_windows() -> None:
    windows = (Window(time(9), time(17)), Window(time(12), time(13), inside=False))
    timing = Timing((parse("0 * * * *"), parse("30 * * * *")), windows=windows, zone_name="UTC")
    assert (
        in_words(timing)
        == "Every hour; At 30 minutes past the hour, between 09:00 and 17:00, not between 12:00 and 13:00"
    )


def test_one_moment() -> None:
    timing = Timing(at=datetime(2026, 6, 1, 7, tzinfo=UTC), zone_name="Europe/Berlin")
    assert in_words(timing) == "Once, at 2026-06-01 09:00:00"


def test_other_languages() -> None:
    with translation.override("de"):
        assert in_words(Timing.of("30 2 * * *", "UTC")) == "Um 02:30"
    with translation.override("pt-br"):
        assert in_words(Timing.of("30 2 * * *", "UTC"))


def test_without_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "cron_descriptor", None)
    assert in_words(Timing.of("30 2 * * *", "UTC")) == ""


def test_what_the_clock_did() -> None:
    def notes(expression: str, start: datetime, count: int) -> list[str]:
        found = next_ticks(Timing.of(expression, "Europe/Berlin"), after=start, count=count)
        return [edge_in_words(tick) for tick in found]

    spring, autumn = datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert notes("30 2 * * *", spring, 2) == ["the clock jumps over 02:30", ""]
    assert notes("30 2 * * *", autumn, 1) == ["shown twice: this is the first"]
    assert notes("30 * * * *", autumn + timedelta(hours=12), 2) == [
        "shown twice: this is the first",
        "shown twice: this is the second",
    ]
