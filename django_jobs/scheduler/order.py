"""The order of the entries in a run."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .entries import Entry, Problem


class Ordered(NamedTuple):
    """Entries, each after those that it depends on or requires, and what keeps others from having a place."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]
    """One for each entry of a cycle, with an unknown dependency, or that depends on such a one."""


def order(entries: Iterable[Entry]) -> Ordered:
    """All entries in an order in which they can run; where nothing says otherwise, that in which they came.

    Give it the whole schedule, not just what is due: what an entry depends on must be known.
    """
    by_name = {entry.name: entry for entry in entries}
    ranks = {name: rank for rank, name in enumerate(by_name)}
    needs = {name: dict.fromkeys((*entry.depends_on, *entry.requires)) for name, entry in by_name.items()}
    dependents: dict[str, list[str]] = {}
    for name, needed in needs.items():
        for other in needed:
            dependents.setdefault(other, []).append(name)
    open_needs = {name: len(needed) for name, needed in needs.items()}
    ready = [rank for name, rank in ranks.items() if not open_needs[name]]
    names = list(by_name)
    placed: list[str] = []
    while ready:
        name = names[heapq.heappop(ready)]
        placed.append(name)
        for dependent in dependents.get(name, ()):
            open_needs[dependent] -= 1
            if not open_needs[dependent]:
                heapq.heappush(ready, ranks[dependent])
    left = {name: needs[name] for name in names if open_needs[name]}
    problems = tuple(_problem(by_name[name], left, by_name) for name in left)
    return Ordered(tuple(by_name[name] for name in placed), problems)


def _problem(entry: Entry, left: Mapping[str, Iterable[str]], known: Mapping[str, Entry]) -> Problem:
    unknown = [other for other in left[entry.name] if other not in known]
    if unknown:
        return Problem(entry.name, f"it depends on {unknown[0]!r:.80}, which is no entry.", "W022", entry.origin)
    if cycle := _cycle(entry.name, left):
        return Problem(entry.name, f"it depends on itself: {' -> '.join(cycle)}.", "E026", entry.origin)
    blocked = next(other for other in left[entry.name] if other in left)
    return Problem(entry.name, f"it depends on {blocked!r}, which has no place in the order.", "W022", entry.origin)


def _cycle(name: str, left: Mapping[str, Iterable[str]]) -> list[str]:
    """A shortest way from an entry back to itself; empty where there is none."""
    came_from: dict[str, str] = {}
    edge = [name]
    while edge:
        ahead = []
        for one in edge:
            for other in left[one]:
                if other == name:
                    way = [name, one]
                    while way[-1] != name:
                        way.append(came_from[way[-1]])
                    return way[::-1]
                if other in left and other not in came_from:
                    came_from[other] = one
                    ahead.append(other)
        edge = ahead
    return []
