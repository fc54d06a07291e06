"""One turn of a scheduler: decide the ticks that have come, dispatch or run them, and follow up those that are open.

Any number of schedulers may do so at once, in any number of processes and on any number of hosts: what one has decided
is a row, and the row is there once.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from django.db import IntegrityError

from ..api import Jobs
from ..conf import conf
from ..definition import JobBuilder
from ..exceptions import StoreBusy
from ..ids import new_id
from ..logs import get_logger
from ..models import ScheduleTick, TickState
from .desk import Desk
from .entries import Entry
from .follow_up import FollowUp
from .hooks import Occasion, describe, run_hooks, tell_ended, tell_skipped, tell_started
from .launch import job_of
from .ledger import Ledger, batched, next_look
from .planner import Planner
from .plans import NOT_STARTED, Plan, Report, Step, Way
from .runs import Runs
from .turns import Turn

logger = get_logger("schedule")

PLANS_PER_TRANSACTION = 250
Written = tuple[Plan, Step, ScheduleTick]
"""A step of a plan, and the row that it has now."""


@dataclass(slots=True)
class Runner:
    """Runs the schedule, turn by turn."""

    desk: Desk
    planner: Planner = field(init=False)
    runs: Runs = field(init=False)
    open: FollowUp = field(init=False)

    def __post_init__(self) -> None:
        self.planner = Planner(self.desk)
        self.runs = Runs(self.desk)
        self.open = FollowUp(self.desk, self.runs)

    @property
    def ledger(self) -> Ledger:
        """Of the desk."""
        return self.desk.ledger

    # -- a turn -----------------------------------------------------------------------------------------------

    def register(self) -> list[str]:
        """Read the schedule, and make rows of what is new in it; answers their names."""
        self.desk.schedule.refresh()
        entries, now = self.desk.schedule.entries.values(), self.ledger.now()
        self.ledger.come_back(now, conf.schedule_grace)
        return self.ledger.register(entries, self.ledger.marks(), now=now, grace=conf.schedule_grace)

    def turn(self, now: datetime | None = None) -> Turn:
        """Decide what has come up to `now` (default: the store's present), and follow up what is open."""
        turn = Turn(now or self.ledger.now())
        self.open.finish(turn)
        plans = self.planner.plans(turn.now)
        self._let_pass([plan for plan in plans if not plan.steps])
        self._carry_out([plan for plan in plans if plan.steps], turn)
        self.open.take_up(turn)
        return turn

    def follow_up(self) -> Turn:
        """Follow up what is open, without a look at the entries."""
        turn = Turn(self.ledger.now())
        self.open.finish(turn)
        self.open.take_up(turn)
        return turn

    def out_of_turn(self, names: Collection[str]) -> Turn:
        """Let entries run once, now, whatever their times and conditions say: each gets a tick of this moment.

        Guards and requirements hold for it as for any tick, and no other is lost by it. What runs inline waits for a
        scheduler. Left out are entries that are disabled, of another environment, or not known yet to any scheduler.
        """
        turn = Turn(self.ledger.now())
        rows = self.ledger.rows(names)
        plans = []
        for entry in self.desk.schedule.entries.values():
            row = rows.get(entry.name)
            if row is not None and row.seen_at is not None and row.enabled and entry.enabled:
                way = self.planner.way(entry)
                way = Way.REQUIRES if way is Way.INLINE else way
                look_at = next_look(entry.timing, row.seen_at)
                plans.append(Plan(entry, way, row.seen_at, row.seen_at, look_at, (Step(turn.now),)))
        self._commit_in_batches(plans, turn)
        return turn

    def _let_pass(self, plans: Iterable[Plan]) -> None:
        """Entries without a tick: note that they were looked at."""
        looks: dict[datetime, dict[str, datetime]] = {}
        for plan in plans:
            looks.setdefault(plan.until, {})[plan.name] = plan.look_at
        for seen_at, some in looks.items():
            self.ledger.store.retrying(partial(self.ledger.advance, some, seen_at=seen_at))

    def _carry_out(self, plans: list[Plan], turn: Turn) -> None:
        """Write plans in their order: those that dispatch in batches, those that run here one by one."""
        batch: list[Plan] = []
        left: set[str] = set()
        for plan in plans:
            runs = any(step.runs for step in plan.steps)
            if not self.desk.inline and ((plan.way is Way.INLINE and runs) or left.intersection(plan.entry.depends_on)):
                left.add(plan.name)
                turn.left.append(plan)
            elif plan.way is Way.INLINE and runs:
                self._commit_in_batches(batch, turn)
                batch = []
                for one in plan.one_by_one():
                    self._commit([one], turn)
            else:
                batch.append(plan)
        self._commit_in_batches(batch, turn)

    def _commit_in_batches(self, plans: list[Plan], turn: Turn) -> None:
        for some in batched(plans, PLANS_PER_TRANSACTION):
            self._commit(some, turn)

    # -- deciding ---------------------------------------------------------------------------------------------

    def _commit(self, plans: list[Plan], turn: Turn) -> None:
        """Write plans in one transaction; where that fails, one by one, so that one entry's error stops no other."""
        now = self.ledger.now()  # what ran inline before may have taken its time: a lease counts from here
        try:
            written = self._written(plans, now)
            turn.was_in_the_way |= len({plan.name for plan, _, _ in written}) < len(plans)
        except Exception as error:
            if self.ledger.store.is_outage(error) and not isinstance(error, StoreBusy):
                raise
            if len(plans) > 1:
                for plan in plans:
                    self._commit([plan], turn)
                return
            written = self._second_try(plans[0], error, now)
        for plan, step, tick in written:
            self._proceed(plan, step, tick, turn)

    def _second_try(self, plan: Plan, error: Exception, now: datetime) -> list[Written]:
        """A plan that could not be written alone. Its ticks may be there already; else they have failed to start."""
        if isinstance(error, IntegrityError):
            plan = plan.without(self.ledger.known(plan.name, [step.at for step in plan.steps]))
            try:
                return self._written([plan], now)
            except Exception as again:
                error = again
        logger.error("the entry %s could not be started", plan.name, exc_info=error)
        return self._written([plan.refused(describe(error))], now)

    def _written(self, plans: list[Plan], now: datetime) -> list[Written]:
        return self.ledger.store.retrying(lambda: self._write(plans, now))

    def _write(self, plans: list[Plan], now: datetime) -> list[Written]:
        """Store the ticks of plans that still hold, with the jobs that can be stored beside them."""
        written: list[Written] = []
        jobs: list[tuple[ScheduleTick, JobBuilder]] = []
        with self.ledger.transaction():
            rows = self.ledger.lock([plan.name for plan in plans])
            hold = [p for p in plans if (row := rows.get(p.name)) and row.enabled and row.seen_at == p.seen_at]
            held = self.ledger.guards_held({plan.guard for plan in hold if plan.guard})
            for plan in hold:
                for step in plan.steps:
                    if step.runs and plan.guard in held:
                        step = step._replace(reason="overlap")
                    tick = self._tick(plan, step, now)
                    if step.runs and plan.guard:
                        tick.guard = plan.guard
                        held.add(plan.guard)
                    if step.runs and plan.way is Way.JOB:
                        jobs.append((tick, job_of(plan.entry, step.at)))
                    written.append((plan, step, tick))
            refs = Jobs.dispatch_many([job for _, job in jobs]) if jobs else []
            for (tick, _), ref in zip(jobs, refs, strict=True):
                tick.job_id, tick.backend = uuid.UUID(ref), str(ref.backend)
            self.ledger.store_ticks([tick for _, _, tick in written])
            for until in {plan.until for plan in hold}:
                looks = {plan.name: plan.look_at for plan in hold if plan.until == until}
                self.ledger.advance(looks, seen_at=until, locked=True)
        return written

    def _tick(self, plan: Plan, step: Step, now: datetime) -> ScheduleTick:
        """The row of a step."""
        new = self.ledger.new_tick
        if step.error:
            return new(plan.name, step.at, TickState.FAILED, now, reason=NOT_STARTED, notes=step.error, finished_at=now)
        if step.reason:
            more = {"reason": step.reason, "passed_over": step.passed_over, "finished_at": now}
            return new(plan.name, step.at, TickState.SKIPPED, now, **more)
        in_hand = {"holder": self.desk.holder, "look_at": now + timedelta(seconds=self.desk.lease(plan.entry))}
        match plan.way:
            case Way.JOB:
                return new(plan.name, step.at, TickState.DISPATCHED, now, look_at=now, started_at=now)
            case Way.INLINE:
                return new(
                    plan.name, step.at, TickState.RUNNING, now, job_id=uuid.UUID(new_id()), started_at=now, **in_hand
                )
            case Way.STAGED:
                return new(plan.name, step.at, TickState.WAITING, now, **in_hand)
            case Way.REQUIRES:
                return new(plan.name, step.at, TickState.WAITING, now, reason=_waits_for(plan.entry), look_at=now)

    def _proceed(self, plan: Plan, step: Step, tick: ScheduleTick, turn: Turn) -> None:
        """What follows when a step is stored."""
        occasion = Occasion(plan.name, step.at, plan.entry, str(tick.job_id or ""))
        if step.error:
            self.desk.note(tick, tell_ended(occasion, TickState.FAILED, step.error))
            turn.reports.append(Report(plan.name, step.at, TickState.FAILED, NOT_STARTED, error=step.error))
        elif step.reason:
            tell_skipped(occasion, step.reason, step.passed_over)
            turn.reports.append(Report(plan.name, step.at, TickState.SKIPPED, step.reason, step.passed_over))
        elif plan.way is Way.REQUIRES:
            turn.reports.append(Report(plan.name, step.at, TickState.WAITING, _waits_for(plan.entry)))
        elif plan.way is Way.JOB:
            tell_started(occasion)
            turn.reports.append(Report(plan.name, step.at, TickState.DISPATCHED, job_id=occasion.job_id))
        elif plan.way is Way.STAGED:
            turn.reports.append(self.runs.launch(tick, step.at, plan.entry))
        else:
            self.desk.note(tick, run_hooks("before", occasion))
            turn.reports.append(self.runs.run(tick, step.at, plan.entry))


def _waits_for(entry: Entry) -> str:
    """Why a tick waits, as its reason."""
    return "requires" if entry.requires else "a scheduler"
