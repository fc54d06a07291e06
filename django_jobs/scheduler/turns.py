"""A turn of a scheduler, as it is told of."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from .plans import Plan, Report


@dataclass(slots=True)
class Turn:
    """What a turn came to."""

    now: datetime
    reports: list[Report] = field(default_factory=list)
    left: list[Plan] = field(default_factory=list)
    """What is to run inline, where this runner leaves that to others; each with those that come after it."""
    left_waiting: set[str] = field(default_factory=set)
    """Entries of which a tick has what it requires, and is to run inline."""
    was_in_the_way: bool = False
    """Somebody else had an entry in hand that is due."""

    @property
    def is_unfinished(self) -> bool:
        """Whether something that is due may still be undecided."""
        return self.was_in_the_way or bool(self.left or self.left_waiting)
