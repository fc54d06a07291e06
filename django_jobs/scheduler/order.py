"""The order of the entries in a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .entries import Entry, Problem


class Ordered(NamedTuple):
    """Entries, each after those that it depends on or requires, and those that can't be placed."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]
    """Entries of a cycle, with an unknown dependency, or that depend on one of these: they are not among `entries`."""


def order(entries: Iterable[Entry]) -> Ordered:
    """The entries in an order in which they can run; where nothing says otherwise, that in which they came."""
    raise NotImplementedError
