"""The whole schedule as a process has it: the entries of the code and those of the database, in their order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .entries import Entry, Problem, is_at_home
from .ledger import Ledger
from .mapping import builder_from_mapping
from .order import order
from .sources import load


@dataclass(slots=True)
class Schedule:
    """The entries of this environment by name, each after those that come before it in a run."""

    ledger: Ledger
    entries: dict[str, Entry] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    """What is wrong with the others, which are left out."""
    everything: dict[str, Entry] = field(default_factory=dict)
    """The entries of other environments too."""
    _made: list[tuple[str, Any]] | None = None

    def refresh(self) -> None:
        """Read the entries of the database anew, and put all in order."""
        made = self.ledger.made_here()
        if made == self._made:
            return
        here, problems = _entries_of(made)
        loaded = load().with_entries(here)
        ordered = order(loaded.entries)
        self.problems = (*loaded.problems, *problems, *ordered.problems)
        self.everything = {entry.name: entry for entry in ordered.entries}
        self.entries = {name: entry for name, entry in self.everything.items() if is_at_home(entry)}
        self._made = made


def _entries_of(made: Iterable[tuple[str, Any]]) -> tuple[list[Entry], list[Problem]]:
    """The entries of the database, and what is wrong with the others."""
    entries: list[Entry] = []
    problems: list[Problem] = []
    for name, definition in made:
        entry, wrong = builder_from_mapping(name, definition, origin="database").build()
        problems += wrong
        entries += [entry] if entry is not None else []
    return entries, problems
