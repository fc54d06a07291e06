"""Which stretches of a queue a claim looks at."""

from __future__ import annotations

import math

import pytest

from django_jobs.backends.database import marks
from django_jobs.backends.database.marks import FIRST_ID, HIGHEST_RANK, LOWEST_RANK, Marks, Stretch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(marks, "monotonic", lambda: now[0])
    return now


def claimed(rows: int, *, rank: int = 0) -> list[tuple[int, float, str]]:
    return [(rank, float(n), f"id {n}") for n in range(rows)]


def test_a_queue_that_is_not_busy_is_always_looked_at_as_a_whole(clock: list[float]) -> None:
    some = Marks()
    some.claimed(claimed(999))
    some.looked_everywhere(0.1)
    assert some.stretches() == []
    some.claimed(claimed(1))
    assert some.stretches() != []


def test_full_looks_take_a_twentieth_of_the_time(clock: list[float]) -> None:
    some = Marks()
    some.claimed(claimed(1000))
    some.looked_everywhere(0.1)
    clock[0] += 1.9
    assert some.stretches() != []
    clock[0] += 0.2
    assert some.stretches() == []
    some.looked_everywhere(0.5)
    assert some.stretches() != []
    some.forget()
    assert some.stretches() == []


def test_a_look_that_was_held_up_does_not_put_off_the_next_for_long(clock: list[float]) -> None:
    some = Marks()
    some.claimed(claimed(1000))
    some.looked_everywhere(60.0)
    clock[0] += 4.9
    assert some.stretches() != []
    clock[0] += 0.2
    assert some.stretches() == []


def test_the_stretches_leave_out_what_lies_before_a_mark_and_nothing_else(clock: list[float]) -> None:
    some = Marks()
    some.claimed([*claimed(500, rank=-5), *claimed(500, rank=-4), *claimed(500, rank=0)])
    some.looked_everywhere(0.5)
    assert some.stretches() == [
        Stretch(LOWEST_RANK, -math.inf, FIRST_ID, -6),
        Stretch(-5, 499.0, "id 499", -5),
        Stretch(-4, 499.0, "id 499", -4),
        Stretch(-3, -math.inf, FIRST_ID, -1),
        Stretch(0, 499.0, "id 499", 0),
        Stretch(1, -math.inf, FIRST_ID, HIGHEST_RANK),
    ]


def test_only_a_few_ranks_have_marks(clock: list[float]) -> None:
    some = Marks()
    for rank in range(-100, 101):
        some.claimed(claimed(10, rank=rank))
    some.looked_everywhere(0.5)
    assert len(some.stretches()) <= 2 * marks.MOST_RANKS + 1
