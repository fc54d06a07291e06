"""What is to be done about the entries that are to be looked at. Writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ..conf import conf
from ..logs import get_logger
from . import maintenance
from .decisions import decide
from .desk import Desk
from .entries import ERRORS, Entry
from .hooks import Occasion, describe, why_not
from .launch import backend_of, joins
from .ledger import Row, next_look
from .plans import Plan, Step, Way, steps_of

logger = get_logger("schedule")


@dataclass(frozen=True, slots=True)
class Planner:
    """Makes plans."""

    desk: Desk

    def plans(self, now: datetime, rows: Mapping[str, Row] | None = None) -> list[Plan]:
        """What is to be done about the entries that are to be looked at, or about those of which there are `rows`, in
        their order. Writes nothing.
        """
        rows = self.desk.ledger.rows(due_at=now) if rows is None else rows
        is_maintenance = bool(rows) and maintenance.is_on()
        found = []
        for entry in self.desk.schedule.entries.values():
            row = rows.get(entry.name)
            if row is None or row.seen_at is None or not self.desk.is_mine(entry.name):
                continue
            steps: tuple[Step, ...] = ()
            if row.enabled and entry.enabled:
                steps = self._steps(entry, row.seen_at, now, is_maintenance)
            look_at = next_look(entry.timing, now)
            found.append(Plan(entry, self.way(entry), row.seen_at, now, look_at, steps))
        return found

    def _steps(self, entry: Entry, after: datetime, now: datetime, is_maintenance: bool) -> tuple[Step, ...]:
        decision = decide(entry, after=after, now=now, grace=conf.schedule_grace)
        steps = steps_of(*decision)
        return tuple(self._judged(entry, step, is_maintenance) if step.runs else step for step in steps)

    def _judged(self, entry: Entry, step: Step, is_maintenance: bool) -> Step:
        try:
            return step._replace(reason=why_not(Occasion(entry.name, step.at, entry), maintenance=is_maintenance))
        except ERRORS as error:
            logger.exception("a condition of the entry %s failed", entry.name)
            return step._replace(error=f"a condition failed: {describe(error)}")

    def way(self, entry: Entry) -> Way:
        """How its ticks get to run."""
        if entry.requires:
            return Way.REQUIRES
        if self.desk.is_inline(entry):
            return Way.INLINE
        try:
            direct = not entry.before and joins(backend_of(entry), self.desk.ledger)
        except Exception:
            return Way.STAGED  # whatever is wrong with its backend is found when the job is to be stored
        return Way.JOB if direct else Way.STAGED
