"""Ticks that this scheduler has in hand: their jobs are dispatched, or run here to their end."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ..api import Jobs
from ..backends import archive
from ..backends.sync import follow
from ..conf import conf
from ..ids import new_id
from ..logs import get_logger
from ..models import ScheduleTick, TickState
from ..redaction import clip
from ..retry import Target
from .desk import Desk
from .entries import Entry
from .hooks import Occasion, describe, run_hooks, tell_ended, tell_skipped, tell_started
from .launch import backend_of, derived_id, job_of, joins, run_here
from .ledger import ERROR_BYTES, Ending, Ledger
from .plans import NOT_STARTED, STORE_AWAY, Report

logger = get_logger("schedule")

NOT_OURS = "lost"
"""In a report: the tick is in other hands."""


@dataclass(frozen=True, slots=True)
class Runs:
    """Starts ticks and brings them to their end. Each write names the holder: what was lost to others stays theirs."""

    desk: Desk

    @property
    def ledger(self) -> Ledger:
        """Of the desk."""
        return self.desk.ledger

    def launch(self, tick: ScheduleTick, at: datetime, entry: Entry) -> Report:
        """Dispatch or run a waiting tick that is in our hands."""
        self.desk.note(tick, run_hooks("before", Occasion(entry.name, at, entry)))
        try:
            if self.desk.is_inline(entry):
                tick.job_id = uuid.UUID(new_id())
                if not self.ledger.mark_running(tick, self.desk.holder, str(tick.job_id)):
                    return _not_ours(entry.name, at)
                return self.run(tick, at, entry)
            return self._dispatch(tick, at, entry)
        except Exception as error:
            if self.ledger.store.is_outage(error):
                logger.warning("the entry %s can't be dispatched now: %s", entry.name, describe(error))
                return Report(entry.name, at, TickState.WAITING, STORE_AWAY, error=describe(error))
            logger.exception("the entry %s could not be started", entry.name)
            return self.end(tick, at, entry, Ending(TickState.FAILED, NOT_STARTED, error=describe(error)))

    def _dispatch(self, tick: ScheduleTick, at: datetime, entry: Entry) -> Report:
        backend = backend_of(entry)
        job = job_of(entry, at, job_id=derived_id(entry.name, at))
        job_id = str(job.to_definition().id)

        def stored() -> bool:
            return self.ledger.mark_dispatched(tick, self.desk.holder, job_id, backend.alias)

        def both() -> bool:
            with self.ledger.transaction():
                return stored() and bool(Jobs.dispatch(job))

        if joins(backend, self.ledger):
            dispatched = self.ledger.store.retrying(both)
        else:  # the job first, for its id follows from the tick: should we die here, it is dispatched again, in vain
            Jobs.dispatch(job)
            dispatched = stored()
        if not dispatched:
            return _not_ours(entry.name, at)
        tell_started(Occasion(entry.name, at, entry, job_id))
        return Report(entry.name, at, TickState.DISPATCHED, job_id=job_id)

    def run(self, tick: ScheduleTick, at: datetime, entry: Entry) -> Report:
        """Run a tick in this process to its end, with its lease renewed, and record the outcome."""
        job_id, lease = str(tick.job_id), self.desk.lease(entry)
        tell_started(Occasion(entry.name, at, entry, job_id))
        renew: Callable[[], bool] = lambda: self.ledger.renew(tick, self.desk.holder, lease)  # noqa: E731
        try:
            ran = run_here(entry, at, job_id, self.desk.execute, renew)
        except Exception as error:
            logger.exception("the entry %s could not be started", entry.name)
            return self.end(tick, at, entry, Ending(TickState.FAILED, NOT_STARTED, error=describe(error)))
        except BaseException:  # Ctrl-C: the tick is over, whatever the handler had done
            self.end(tick, at, entry, Ending(TickState.FAILED, "interrupted", error="interrupted"))
            raise
        s = ran.settlement
        if s.transition.target is Target.COMPLETED:
            ending = Ending(TickState.SUCCEEDED)
        else:
            says = "" if s.error is None else f"{s.error.class_path}: {s.error.message}".strip(": ")
            ending = Ending(TickState.FAILED, s.transition.reason or str(s.transition.target), clip(says, ERROR_BYTES))

        def record() -> None:
            archive.write(self.ledger.database, s, ran.definition)
            if ran.notes and conf.events != "none":
                self.ledger.store.record_events(ran.notes)

        report = self.end(tick, at, entry, ending, record=record)
        if report.state != NOT_OURS:
            follow(s)
        return report

    def end(
        self,
        tick: ScheduleTick,
        at: datetime,
        entry: Entry | None,
        ending: Ending,
        record: Callable[[], None] = lambda: None,
    ) -> Report:
        """Close a tick that is in our hands, with the record of its job."""

        def both() -> bool:
            with self.ledger.transaction():
                rows = self.ledger.in_hand(tick, self.desk.holder)
                closed = self.ledger.close(rows, ending, now=self.ledger.now())
                if closed:
                    record()
                return bool(closed)

        if not self.ledger.store.retrying(both):
            return _not_ours(tick.name, at)
        tick.notes += f"{ending.error}\n" if ending.error else ""
        occasion = Occasion(tick.name, at, entry, str(tick.job_id or ""))
        if ending.state == TickState.SKIPPED:
            tell_skipped(occasion, ending.reason)
            return Report(tick.name, at, ending.state, ending.reason)
        self.desk.note(tick, tell_ended(occasion, ending.state, ending.error or ending.reason))
        return Report(tick.name, at, ending.state, ending.reason, job_id=occasion.job_id, error=ending.error)


def _not_ours(name: str, at: datetime) -> Report:
    logger.warning("the tick of %s due %s is not ours any more", name, at.isoformat())
    return Report(name, at, NOT_OURS, "not ours any more")
