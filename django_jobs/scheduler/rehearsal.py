"""What the schedule would do at another time: for people who try an entry out. It leaves no tick behind."""

from __future__ import annotations

from datetime import datetime, timedelta

from ..api import Jobs
from ..backends import archive
from ..backends.sync import follow
from ..ids import new_id
from ..logs import get_logger
from ..models import TickState
from ..retry import Target
from . import maintenance
from .desk import Desk
from .entries import ERRORS, Entry
from .hooks import Occasion, describe, why_not
from .launch import job_of, run_here
from .plans import NOT_STARTED, Report
from .ticks import ticks

logger = get_logger("schedule")


def rehearse(desk: Desk, moment: datetime, *, dry_run: bool) -> list[Report]:
    """Run what is due in the minute of `moment`, once, as if it were now; with `dry_run`, only tell of it.

    Conditions, environments and maintenance mode count; guards, requirements and hooks of entries do not. The real tick
    of that minute is not touched.
    """
    start = moment.replace(second=0, microsecond=0)
    rows, is_maintenance = desk.ledger.rows(), maintenance.is_on()
    reports = []
    for entry in desk.schedule.entries.values():
        span = ticks(entry.timing, after=start - timedelta(seconds=1), until=start + timedelta(seconds=59))
        tick = next(span, None) if desk.is_mine(entry.name) else None
        if tick is not None:
            row = rows.get(entry.name)
            enabled = entry.enabled and (row is None or row.enabled)
            reports.append(_rehearsed(desk, entry, tick.at, enabled, is_maintenance, dry_run))
    return reports


def _rehearsed(desk: Desk, entry: Entry, at: datetime, enabled: bool, is_maintenance: bool, dry_run: bool) -> Report:
    if not enabled:
        return Report(entry.name, at, TickState.SKIPPED, "disabled")
    try:
        if reason := why_not(Occasion(entry.name, at, entry), maintenance=is_maintenance):
            return Report(entry.name, at, TickState.SKIPPED, reason)
        if dry_run:
            Jobs.prepare(job_of(entry, at))
            return Report(entry.name, at, "due")
        if not desk.is_inline(entry):
            return Report(entry.name, at, TickState.DISPATCHED, job_id=str(Jobs.dispatch(job_of(entry, at))))
        job_id = new_id()
        ran = run_here(entry, at, job_id, desk.execute, lambda: True)
    except ERRORS as error:
        logger.exception("the entry %s could not be started", entry.name)
        return Report(entry.name, at, TickState.FAILED, NOT_STARTED, error=describe(error))
    archive.write(desk.ledger.database, ran.settlement, ran.definition)
    follow(ran.settlement)
    if ran.settlement.transition.target is Target.COMPLETED:
        return Report(entry.name, at, TickState.SUCCEEDED, job_id=job_id)
    says = "" if ran.settlement.error is None else ran.settlement.error.message
    return Report(entry.name, at, TickState.FAILED, ran.settlement.transition.reason, job_id=job_id, error=says)
