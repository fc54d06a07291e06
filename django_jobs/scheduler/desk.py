"""What a scheduler works with: its schedule and ledger, whom it is, and what it takes upon itself."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field

from ..backends import get_backend
from ..conf import conf
from ..models import ScheduleTick
from .entries import Entry
from .launch import Execute, execute_plainly
from .ledger import Ledger, ledger_of
from .schedule import Schedule


@dataclass(frozen=True, slots=True)
class Desk:
    """One scheduler's. `only` narrows it to some entries."""

    ledger: Ledger
    schedule: Schedule
    execute: Execute
    only: frozenset[str] | None = None
    force_inline: bool = False
    """Nothing is queued: everything runs in this process."""
    inline: bool = True
    """False: what is to run in this process is left to the caller."""
    holder: uuid.UUID = field(default_factory=uuid.uuid4)

    def is_mine(self, name: str) -> bool:
        """Whether this scheduler has an eye on the entry."""
        return self.only is None or name in self.only

    def is_inline(self, entry: Entry) -> bool:
        """Whether its ticks run in a scheduler's process."""
        return self.force_inline or entry.queue is None

    def lease(self, entry: Entry | None) -> float:
        """For how many seconds a tick that this process has in hand is not taken up by others."""
        seconds = conf.lease_seconds if entry is None or entry.single_instance is None else entry.overlap_seconds
        return max(seconds, 3 * conf.heartbeat_interval)

    def note(self, tick: ScheduleTick, notes: str) -> None:
        """Keep with a tick what its hooks raised."""
        if notes:
            tick.notes += notes
            self.ledger.ticks.filter(pk=tick.pk).update(notes=tick.notes)


def make_desk(
    *,
    only: Collection[str] | None = None,
    force_inline: bool = False,
    inline: bool = True,
    execute: Execute = execute_plainly,
) -> Desk:
    """A desk beside the default backend, with a schedule that is still to be read."""
    ledger = ledger_of(get_backend(), conf.database_alias)
    chosen = None if only is None else frozenset(only)
    return Desk(ledger, Schedule(ledger), execute, chosen, force_inline, inline)
