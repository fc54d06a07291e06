"""Every distinct course of a clock from 2020 to 2037, each of its changes, 500 expressions: no tick differs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.support import oracle

pytestmark = pytest.mark.torture

EXPRESSIONS = 500
SAMPLES = 20
PARTS = 20
AROUND = timedelta(hours=26)


class Total:
    def __init__(self) -> None:
        self.zones = 0
        self.changes = 0
        self.round_changes, self.close_by, self.between = oracle.Verdict(), oracle.Verdict(), oracle.Verdict()


@pytest.fixture(scope="module")
def total() -> Iterator[Total]:
    total = Total()
    with oracle.pinned_zones():
        yield total


@pytest.mark.parametrize("part", range(PARTS))
def test_no_mismatch_anywhere(total: Total, part: int) -> None:
    given = oracle.expressions(EXPRESSIONS)
    chance = random.Random(part)
    days = (oracle.LAST - oracle.FIRST).days
    for name, points in oracle.distinct_zones()[part::PARTS]:
        total.zones += 1
        total.changes += len(points)
        for at in points:
            total.round_changes.judge(name, at - AROUND, at + AROUND, given)
            begin = at + timedelta(minutes=chance.randrange(-120, 120))  # a short one, as a scheduler looks
            total.close_by.judge(name, begin, begin + timedelta(minutes=5), given)
        for _ in range(SAMPLES):
            at = oracle.FIRST + timedelta(days=chance.randrange(1, days - 1), hours=chance.randrange(24))
            total.between.judge(name, at, at + AROUND, given)
    assert total.round_changes.mismatches[:20] == []
    assert total.close_by.mismatches[:20] == []
    assert total.between.mismatches[:20] == []


def test_that_it_was_everywhere(total: Total, capsys) -> None:
    with capsys.disabled():
        print(f"\n{total.zones} courses of the clock with {total.changes:,} changes, {EXPRESSIONS} expressions")
        for where in ("round_changes", "close_by", "between"):
            verdict = getattr(total, where)
            counts = f"{verdict.windows:,} windows, {verdict.compared:,} comparisons, {verdict.expected:,} ticks"
            print(f"{where}: {counts}, {len(verdict.mismatches)} mismatches")
    assert total.zones > 80
    assert total.changes > 1000
    assert total.round_changes.expected > 1_000_000
