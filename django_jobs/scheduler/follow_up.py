"""Following up what is open: jobs that have ended, processes that were lost, ticks that wait."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .. import registry
from ..api import Jobs
from ..backends import JobRecord, archive, get_backend
from ..conf import conf
from ..logs import get_logger
from ..models import ScheduleTick, TickState
from ..redaction import clip
from ..runtime import seconds_kept
from ..store import store_of
from .desk import Desk
from .entries import Entry
from .hooks import Occasion, describe, tell_ended
from .launch import job_of
from .ledger import ERROR_BYTES, NO_RECORD, ROWS, Ending, Ledger
from .requirements import WAIT, Verdict, verdict
from .runs import Runs
from .turns import Turn

logger = get_logger("schedule")

SHORTEST, LONGEST = timedelta(seconds=1), timedelta(seconds=30)
"""Between two looks at a tick that waits, or whose job another backend keeps."""
DELETED = Ending(TickState.FAILED, "deleted", "its job was deleted")
LOST = Ending(TickState.FAILED, "lost", "the process in which it ran was lost")


@dataclass(frozen=True, slots=True)
class FollowUp:
    """Looks after open ticks."""

    desk: Desk
    runs: Runs

    @property
    def ledger(self) -> Ledger:
        """Of the desk."""
        return self.desk.ledger

    def finish(self, turn: Turn) -> None:
        """Close the ticks whose jobs have ended, and those that a process was lost with."""
        here = _backends_in(self.ledger.database)
        closed = ROWS
        while closed == ROWS:
            ended = self.ledger.finished_here(turn.now, here)
            closed = self._close_all(ended, self._endings(ended, turn.now), turn)
        for tick in self.ledger.dispatched_elsewhere(turn.now, here):
            self._ask_backend(tick, turn)
        lost = list(self.ledger.open_ticks(TickState.RUNNING, turn.now)[:ROWS])
        self._close_all(lost, dict.fromkeys((t.job_id for t in lost), LOST), turn)

    def _endings(self, ended: Iterable[ScheduleTick], now: datetime) -> dict[Any, Ending]:
        """How the jobs of these ticks have ended."""
        ticks = {tick.job_id: tick for tick in ended}
        endings = self.ledger.endings(ticks)
        gone = [job_id for job_id, ending in endings.items() if ending is NO_RECORD]
        return endings | {job_id: DELETED for job_id in gone if self._would_be_kept(ticks[job_id], now)}

    def _would_be_kept(self, tick: ScheduleTick, now: datetime) -> bool:
        """Whether the record of the tick's job, had it completed, would be there still."""
        entry = self.desk.schedule.everything.get(tick.name)
        if entry is None:
            return False
        try:
            job = Jobs.prepare(job_of(entry, self._at(tick)))
            keep = seconds_kept(job, registry.get(job.handler))
        except Exception:  # the code has changed: nobody can tell
            return False
        age = now - archive.aware(tick.decided_at, self.ledger.database)
        return keep is None or age < timedelta(seconds=keep)

    def _close_all(self, some: list[ScheduleTick], endings: Mapping[Any, Ending], turn: Turn) -> int:
        """Close ticks, each as its job has ended; answers how many. What others close meanwhile is theirs."""

        def close() -> list[ScheduleTick]:
            with self.ledger.transaction():
                ours = [t for t in self.ledger.lock_as_seen(some) if t.job_id in endings]
                alike: dict[Ending, list[Any]] = {}
                for tick in ours:
                    alike.setdefault(endings[tick.job_id], []).append(tick.pk)
                for ending, ids in alike.items():
                    self.ledger.close(self.ledger.ticks.filter(pk__in=ids), ending, now=turn.now)
                return ours

        ours = self.ledger.store.retrying(close) if some else []
        for tick in ours:
            ending = endings[tick.job_id]
            tick.notes += f"{ending.error}\n" if ending.error else ""
            entry = self.desk.schedule.everything.get(tick.name)
            occasion = Occasion(tick.name, self._at(tick), entry, str(tick.job_id or ""))
            self.desk.note(tick, tell_ended(occasion, ending.state, ending.error or ending.reason))
        return len(ours)

    def _at(self, tick: ScheduleTick) -> datetime:
        return archive.aware(tick.instant, self.ledger.database)

    def _ask_backend(self, tick: ScheduleTick, turn: Turn) -> None:
        """Ask the backend that keeps the job of a tick."""
        try:
            job = get_backend(tick.backend).get(str(tick.job_id))
        except Exception as error:
            logger.warning("the backend %s can't be asked for job %s: %s", tick.backend, tick.job_id, describe(error))
        else:
            if job is None or job.is_finished:
                self._close_all([tick], {tick.job_id: _ending_of(job)}, turn)
                return
        self.ledger.put_off(tick, until=turn.now + _patience(self._at(tick), turn.now))

    def take_up(self, turn: Turn) -> None:
        """Start the ticks that wait, where what they require has come about, or whoever had them in hand was lost."""
        for tick in self.ledger.open_ticks(TickState.WAITING, self.ledger.now())[:ROWS]:
            if self.desk.is_mine(tick.name):
                self._take_up_one(tick, self._at(tick), self.desk.schedule.everything.get(tick.name), turn)

    def _take_up_one(self, tick: ScheduleTick, at: datetime, entry: Entry | None, turn: Turn) -> None:
        now = self.ledger.now()
        says = self._verdict(entry, at, now)
        if says.ready and entry is not None and self.desk.is_inline(entry) and not self.desk.inline:
            turn.left_waiting.add(entry.name)
        elif not (says.ready or says.refusal):
            self.ledger.put_off(tick, until=now + _patience(at, now))
        elif not self.ledger.take(tick, self.desk.holder, now=now, lease=self.desk.lease(entry)):
            return  # somebody else was quicker
        elif says.ready and entry is not None:
            turn.reports.append(self.runs.launch(tick, at, entry))
        else:
            turn.reports.append(self.runs.end(tick, at, entry, Ending(TickState.SKIPPED, says.refusal)))

    def _verdict(self, entry: Entry | None, at: datetime, now: datetime) -> Verdict:
        """Whether a waiting tick may start. An entry that this process does not know may be one of newer code."""
        if entry is None:
            is_new = now - at < timedelta(seconds=conf.missing_handler_grace)
            return WAIT if is_new else Verdict(refusal="the schedule does not have it any more")
        standings = self.ledger.standings(entry.requires, at) if entry.requires else {}
        everything = self.desk.schedule.everything
        for name in standings:
            if name in everything and not everything[name].enabled:
                standings[name] = standings[name]._replace(enabled=False)
        return verdict(entry.requires, at, standings, now)


def _patience(since: datetime, now: datetime) -> timedelta:
    """When to look again at what has not come about since then: the longer it takes, the less often."""
    return min(max((now - since) / 10, SHORTEST), LONGEST)


def _ending_of(job: JobRecord | None) -> Ending:
    if job is None:
        return NO_RECORD
    if job.state == "completed":
        return Ending(TickState.SUCCEEDED)
    says = f"{job.error_class}: {job.error_message}".strip(": ")
    return Ending(TickState.FAILED, job.reason or job.state, clip(says, ERROR_BYTES))


def _backends_in(database: str) -> list[str]:
    """The backends whose finished jobs are in this database."""
    return list(_kept_in(database))


def _kept_in(database: str) -> Iterator[str]:
    for alias in conf.backends:
        store = store_of(get_backend(alias))
        if store is not None and store.database == database:
            yield alias
