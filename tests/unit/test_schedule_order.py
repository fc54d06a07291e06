"""The order of the entries in a run."""

from __future__ import annotations

import time
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from django_jobs.scheduler.entries import Entry
from django_jobs.scheduler.order import order
from django_jobs.scheduler.timing import Timing


def entry(name: str, *depends_on: str, requires: tuple[str, ...] = ()) -> Entry:
    return Entry(name=name, handler="report", timing=Timing(), depends_on=depends_on, requires=requires)


def placed(*entries: Entry) -> list[str]:
    return [found.name for found in order(entries).entries]


def test_the_order_of_the_declaration_stays_where_nothing_is_said() -> None:
    assert placed(entry("c"), entry("a"), entry("b")) == ["c", "a", "b"]


def test_what_is_depended_on_comes_first() -> None:
    assert placed(entry("a", "b"), entry("b", requires=("c",)), entry("x"), entry("c")) == ["x", "c", "b", "a"]
    assert placed(entry("a", "b", requires=("b",)), entry("b")) == ["b", "a"]


def test_an_unknown_dependency_blocks_what_depends_on_it_alone() -> None:
    entries, problems = order([entry("a", "nobody"), entry("b", "a"), entry("c")])
    assert [found.name for found in entries] == ["c"]
    assert [(p.entry, p.rule) for p in problems] == [("a", "W022"), ("b", "W022")]
    assert "depends on 'nobody', which is no entry" in problems[0].message
    assert "depends on 'a', which has no place" in problems[1].message


def test_a_cycle_blocks_what_depends_on_it_alone() -> None:
    entries, problems = order([entry("a", "b"), entry("b", "c"), entry("c", "a"), entry("d", "c"), entry("e")])
    assert [found.name for found in entries] == ["e"]
    assert [(p.entry, p.rule) for p in problems] == [("a", "E026"), ("b", "E026"), ("c", "E026"), ("d", "W022")]
    assert "it depends on itself: a -> b -> c -> a" in problems[0].message
    assert "depends on 'c', which has no place" in problems[3].message


def test_an_entry_that_depends_on_itself() -> None:
    entries, problems = order([entry("a", "a"), entry("b")])
    assert [found.name for found in entries] == ["b"]
    assert "it depends on itself: a -> a" in problems[0].message


@given(st.dictionaries(st.integers(0, 8), st.lists(st.integers(0, 10), max_size=3), max_size=9))
def test_any_graph(graph: dict[int, list[int]]) -> None:
    entries, problems = order([entry(str(name), *map(str, needs)) for name, needs in graph.items()])
    seen: set[str] = set()
    for found in entries:
        assert set(found.depends_on) <= seen
        seen.add(found.name)
    assert seen.isdisjoint(p.entry for p in problems)
    assert seen | {p.entry for p in problems} == {str(name) for name in graph}
    for problem in problems:  # nobody is left out who could have been placed
        assert not set(map(str, graph[int(problem.entry)])) <= seen


def test_long_chains_need_no_stack() -> None:
    started = time.process_time()
    names = [str(n) for n in range(10_000)]
    entries, problems = order([entry(a, b) for a, b in pairwise(names)] + [entry(names[-1])])
    assert [found.name for found in entries] == names[::-1]
    assert not problems
    assert time.process_time() - started < 10
