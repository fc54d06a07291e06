"""A slice of the comparison with the oracle: clocks that change oddly, in a few years. The whole is in `torture`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.support import oracle

ODD = {
    "Europe/Berlin": 2026,
    "Europe/Dublin": 2026,  # its winter time is the daylight saving one
    "America/New_York": 2026,
    "America/Havana": 2026,  # at midnight
    "America/Scoresbysund": 2024,  # another offset and a change within a day
    "America/Nuuk": 2023,
    "Africa/Casablanca": 2026,  # back for Ramadan
    "Africa/Cairo": 2026,
    "Antarctica/Troll": 2026,  # by two hours
    "Antarctica/Casey": 2023,  # by three
    "Australia/Lord_Howe": 2026,  # by half an hour
    "Asia/Gaza": 2026,
    "Pacific/Chatham": 2026,  # at a quarter to
    "Pacific/Apia": 2020,
    "Asia/Kathmandu": 2026,  # never
}
AROUND = timedelta(hours=26)


@pytest.mark.parametrize(("name", "year"), ODD.items())
def test_no_mismatch_where_clocks_change(name: str, year: int) -> None:
    verdict = oracle.Verdict()
    with oracle.pinned_zones():
        start = datetime(year, 1, 1, tzinfo=UTC)
        points = oracle.changes(oracle.ZoneInfo(name), start, datetime(year + 1, 1, 1, tzinfo=UTC))
        assert bool(points) is (name != "Asia/Kathmandu")
        for at in [*points, start + timedelta(days=58)]:
            verdict.judge(name, at - AROUND, at + AROUND, oracle.expressions(60))
            for minutes in (-61, -1, 0, 1, 17, 59, 119):  # short ones, as a scheduler looks
                begin = at + timedelta(minutes=minutes)
                verdict.judge(name, begin, begin + timedelta(minutes=5), oracle.expressions(60))
    assert verdict.mismatches == []
    assert verdict.expected > 1000


def test_no_mismatch_where_a_day_is_skipped_or_comes_twice() -> None:
    verdict = oracle.Verdict()
    with oracle.pinned_zones():
        for name, at in (
            ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
            ("Pacific/Kwajalein", datetime(1969, 9, 30, 13, tzinfo=UTC)),
        ):
            assert oracle.changes(oracle.ZoneInfo(name), at - AROUND, at + AROUND) == [at]
            verdict.judge(name, at - 2 * AROUND, at + 2 * AROUND, oracle.expressions(60))
    assert verdict.mismatches == []
    assert verdict.expected > 1000
