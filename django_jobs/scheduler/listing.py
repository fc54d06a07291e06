"""The schedule as people look at it: each entry with its next run and its last."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from ..models import ScheduleTick
from .desk import Desk
from .entries import Entry, is_at_home
from .ticks import Tick, next_ticks


class Listed(NamedTuple):
    """An entry as it stands."""

    entry: Entry
    enabled: bool
    """It is, in the code and at run time."""
    at_home: bool
    """It is one of this environment."""
    next: Tick | None
    """None: it will not run again, or is not enabled here."""
    last: ScheduleTick | None


def listed(desk: Desk, now: datetime) -> list[Listed]:
    """Every entry, those that run next first."""
    rows, lasts = desk.ledger.rows(), desk.ledger.last_ticks()
    found = []
    for name, entry in desk.schedule.everything.items():
        row, at_home = rows.get(name), is_at_home(entry)
        enabled = entry.enabled and (row is None or row.enabled)
        ahead = next_ticks(entry.timing, after=now, count=1) if enabled and at_home else []
        found.append(Listed(entry, enabled, at_home, ahead[0] if ahead else None, lasts.get(name)))
    return sorted(found, key=lambda item: (item.next is None, item.next.at if item.next else now))
