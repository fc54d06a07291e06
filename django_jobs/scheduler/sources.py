"""Where the entries of the code come from: `JOBS_SCHEDULE`, and `schedule(scheduler)` in each app's `jobs.py`."""

from __future__ import annotations

from typing import NamedTuple

from .entries import Entry, Problem


class Loaded(NamedTuple):
    """The entries that hold, and what is wrong with the others."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]


def load() -> Loaded:
    """All entries of the code, in the order of their declaration. Never raises for what an entry has wrong."""
    return Loaded((), ())
