"""The rules of a scheduler that need no database: what was missed, what is required, how plans follow one another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_jobs.scheduler.children import MOST, Children, chains
from django_jobs.scheduler.decisions import MOST_COUNTED, Decision, judged, latest_ticks
from django_jobs.scheduler.entries import Entry
from django_jobs.scheduler.ledger import guard_of, mark_of, next_look
from django_jobs.scheduler.loop import next_boundary
from django_jobs.scheduler.plans import Plan, Step, Way, steps_of
from django_jobs.scheduler.requirements import READY, WAIT, Standing, verdict
from django_jobs.scheduler.ticks import Tick
from django_jobs.scheduler.timing import Timing

NOON = datetime(2026, 6, 3, 12, tzinfo=UTC)


def minutes(*numbers: int) -> list[Tick]:
    return [Tick(NOON + timedelta(minutes=n), NOON + timedelta(minutes=n)) for n in numbers]


def shown(decision: Decision) -> tuple[list[int], int | None, int]:
    def minute(tick: Tick) -> int:
        return int((tick.at - NOON).total_seconds() // 60)

    missed = None if decision.missed is None else minute(decision.missed)
    return [minute(tick) for tick in decision.run], missed, decision.passed_over


@pytest.mark.parametrize(
    ("policy", "limit", "found", "expected"),
    [
        # (run, the last one that is left out, how many before it); from minute 8 on it is on time
        ("skip", 10, [], ([], None, 0)),
        ("skip", 10, [8, 9], ([8, 9], None, 0)),
        ("skip", 10, [0, 1, 8, 9], ([8, 9], 1, 1)),
        ("skip", 10, [0], ([], 0, 0)),
        ("one", 10, [8, 9], ([8, 9], None, 0)),
        ("one", 10, [0, 1, 2], ([2], 1, 1)),
        ("one", 10, [0], ([0], None, 0)),
        ("one", 10, [0, 8, 9], ([9], 8, 1)),
        ("all", 10, [0, 1, 8, 9], ([0, 1, 8, 9], None, 0)),
        ("all", 2, [0, 1, 2, 3, 8], ([2, 3, 8], 1, 1)),
        ("all", 1, [0, 1], ([1], 0, 0)),
    ],
)
def test_what_becomes_of_ticks_that_were_found(policy: str, limit: int, found: list[int], expected: Any) -> None:
    decision = judged(minutes(*found), NOON + timedelta(minutes=8), policy, limit)
    assert shown(decision) == expected
    assert len(decision.run) + (decision.missed is not None) + decision.passed_over == len(found), "a tick is dropped"


def test_of_very_many_ticks_the_latest_are_found() -> None:
    timing = Timing.of("* * * * * *", "UTC", seconds=True)
    found = latest_ticks(timing, after=NOON - timedelta(days=400), until=NOON)
    assert found[-1].at == NOON
    assert MOST_COUNTED <= len(found) < 2 * MOST_COUNTED
    assert found[-1].at - found[0].at == timedelta(seconds=len(found) - 1)


def test_of_very_many_ticks_the_latest_are_found_wherever_they_are() -> None:
    """Each second of a working day, and nobody looks until the next morning."""
    timing = Timing.of("* 9-16 * * * *", "UTC", seconds=True)
    found = latest_ticks(timing, after=NOON.replace(hour=9), until=NOON.replace(day=4, hour=8))
    assert found[-1].at == datetime(2026, 6, 3, 16, 59, 59, tzinfo=UTC)
    assert len(found) >= MOST_COUNTED


AHEAD = NOON + timedelta(hours=1)


@pytest.mark.parametrize(
    ("standing", "expected"),
    [
        (Standing(True, AHEAD, "succeeded"), READY),
        (Standing(True, AHEAD, "dispatched"), WAIT),
        (Standing(True, AHEAD, "running"), WAIT),
        (Standing(True, AHEAD, "waiting"), WAIT),
        (Standing(True, NOON, "succeeded"), WAIT),  # its tick of this very moment is undecided: that was an earlier one
        (Standing(True, None), WAIT),
        (Standing(True, AHEAD, "failed"), "requires a, whose tick is failed"),
        (Standing(True, AHEAD, "skipped"), "requires a, whose tick is skipped"),
        (Standing(True, AHEAD), "requires a, which has not run yet"),
        (Standing(False, AHEAD, "succeeded"), "requires a, which is disabled"),
        (None, "requires a, which there is not"),
    ],
)
def test_whether_what_is_required_has_come_about(standing: Standing | None, expected: Any) -> None:
    seen = verdict(["a"], NOON, {} if standing is None else {"a": standing}, NOON)
    assert (seen.refusal or seen) == expected


def test_one_that_failed_refuses_before_others_are_over() -> None:
    standings = {"a": Standing(True, AHEAD, "running"), "b": Standing(True, AHEAD, "failed")}
    assert verdict(["a", "b"], NOON, standings, NOON).refusal == "requires b, whose tick is failed"
    assert verdict([], NOON, {}, NOON) == READY


def entry(name: str, **given: Any) -> Entry:
    return Entry(name, "unit.job", Timing.of("* * * * *", "UTC"), **given)


def plan(name: str, *steps: Step, **given: Any) -> Plan:
    return Plan(entry(name, **given), Way.INLINE, NOON, AHEAD, AHEAD, steps)


def test_plans_of_one_run_each_follow_one_another() -> None:
    ticks = minutes(1, 2)
    steps = steps_of(tuple(ticks), minutes(0)[0], 4)
    assert [step.reason for step in steps] == ["missed", "", ""]
    first, second = plan("a", *steps).one_by_one()
    assert [step.at for step in first.steps] == [NOON, ticks[0].at]
    assert (first.seen_at, first.until) == (NOON, ticks[0].at)
    assert (second.seen_at, second.until, second.look_at) == (ticks[0].at, AHEAD, AHEAD)


def test_a_plan_without_a_run_is_one() -> None:
    assert len(plan("a", Step(NOON, "skip")).one_by_one()) == 1
    (only,) = plan("a").one_by_one()
    assert (only.seen_at, only.until) == (NOON, AHEAD)


def test_a_refused_plan_keeps_what_would_not_have_run() -> None:
    steps = plan("a", Step(NOON, "missed", 3), Step(AHEAD)).refused("broken").steps
    assert [(step.reason, step.error) for step in steps] == [("missed", ""), ("", "broken")]
    assert plan("a", Step(NOON), Step(AHEAD)).without({NOON}).steps == (Step(AHEAD),)


def test_plans_that_depend_on_each_other_stay_together_in_order() -> None:
    plans = [plan("a"), plan("b"), plan("c", depends_on=("a",)), plan("d", depends_on=("c", "b")), plan("e")]
    assert [[p.name for p in chain] for chain in chains(plans)] == [["a", "b", "c", "d"], ["e"]]


def test_an_entry_that_takes_its_time_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Children, "reap", lambda self: None)
    started: list[int] = []
    children = Children(lambda act: started.append(1) or MOST + len(started), lambda names, now: None)
    children.alive |= {pid: {"slow": NOON - timedelta(seconds=pid)} for pid in range(1, MOST)}  # one place is left
    children.hand_out([plan("slow"), plan("other")], (), NOON)
    assert [*children.alive.values()][-1] == {"other": NOON}
    assert len(started) == 1


def test_a_mark_differs_where_a_timing_does_and_only_there() -> None:
    timings = [
        Timing.of("0 2 * * *", "UTC"),
        Timing.of("0 3 * * *", "UTC"),
        Timing.of("0 2 * * *", "Europe/Berlin"),
        Timing.of("0 2 1 * mon", "UTC"),
        Timing.of("0 2 1 * mon", "UTC", day_or=False),
        Timing.of("0 2 * * * 0", "UTC", seconds=True),
        Timing(at=NOON, zone_name="UTC"),
    ]
    marks = [mark_of(timing) for timing in timings]
    assert len(set(marks)) == len(marks)
    assert all(0 < len(mark) <= 40 for mark in marks)
    assert mark_of(Timing.of("0 2 * * *", "UTC")) == marks[0]
    assert len(guard_of("x" * 200)) <= 64


def test_an_entry_is_looked_at_once_a_day_at_least() -> None:
    assert next_look(Timing.of("0 13 * * *", "UTC"), NOON) == AHEAD
    assert next_look(Timing.of("0 12 * * *", "UTC"), NOON) == NOON + timedelta(days=1)
    assert next_look(Timing.of("0 0 1 1 *", "UTC"), NOON) == NOON + timedelta(days=1)


def test_the_loop_is_aligned_to_the_minute() -> None:
    assert next_boundary(NOON + timedelta(seconds=59.5), 60) == NOON + timedelta(minutes=1)
    assert next_boundary(NOON, 60) == NOON + timedelta(minutes=1)
    assert next_boundary(NOON + timedelta(seconds=7), 5) == NOON + timedelta(seconds=10)
