"""What the benchmarks make of their measurements."""

from __future__ import annotations

from itertools import cycle

from benchmarks.harness import measure


def test_contenders_take_turns() -> None:
    order: list[str] = []
    measure(
        "turns",
        {"bare": lambda: order.append("bare") or {"jobs/s": 1.0}, "ours": lambda: order.append("ours") or {}},
        rounds=2,
    )
    assert order == ["bare", "ours", "bare", "ours"]


def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    bare, ours = cycle([100.0, 10.0, 50.0]), cycle([50.0, 8.0, 25.0])
    results = measure(
        "slow in turns", {"bare": lambda: {"jobs/s": next(bare)}, "ours": lambda: {"jobs/s": next(ours)}}, 3
    )
    assert results.ratio("ours", "bare", "jobs/s") == 0.5
    assert results.median("bare", "jobs/s") == 50.0
    assert "25" in results.table()
    assert "0.50 x" in results.table()


def test_what_one_contender_does_not_measure_has_no_ratio() -> None:
    results = measure("gaps", {"bare": lambda: {"a": 0.0}, "ours": lambda: {"a": 1.0, "b": 2.0}}, 1)
    assert results.ratio("ours", "bare", "a") is None
    assert results.ratio("ours", "bare", "b") is None
