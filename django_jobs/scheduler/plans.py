"""A plan: what a look at one entry came to, before any of it is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from .entries import Entry
from .ledger import guard_of
from .ticks import Tick

NOT_STARTED, STORE_AWAY = "not started", "the store is away"
"""Reasons why a tick that should run did not start."""


class Way(StrEnum):
    """How a tick gets to run."""

    JOB = "job"
    """Its job is stored in the same transaction as its row."""
    STAGED = "staged"
    """Its row first, then its job: where the backend can't join the transaction, or hooks come before."""
    INLINE = "inline"
    """Its row first, then it runs here."""
    REQUIRES = "requires"
    """It waits for what it requires, or for a scheduler that may run it."""


class Step(NamedTuple):
    """One tick of a plan. `reason` says why it is not run; an `error` why it could not be."""

    at: datetime
    reason: str = ""
    passed_over: int = 0
    error: str = ""

    @property
    def runs(self) -> bool:
        """Whether it is to be run."""
        return not (self.reason or self.error)


@dataclass(frozen=True, slots=True)
class Plan:
    """The ticks of an entry since `seen_at`, and what is to be written for them; it holds while nobody else decides."""

    entry: Entry
    way: Way
    seen_at: datetime
    """As the row had it: the plan is void where that has changed."""
    until: datetime
    """Up to when the entry is decided by this plan."""
    look_at: datetime
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        """Of the entry."""
        return self.entry.name

    @property
    def guard(self) -> str | None:
        """The key against overlaps, as the ledger has it."""
        return None if self.entry.single_instance is None else guard_of(self.entry.single_instance)

    def one_by_one(self) -> list[Plan]:
        """Plans of one run each, which follow one another: what has not begun when a process dies is decided anew."""
        plans: list[Plan] = []
        steps: list[Step] = []
        for step in self.steps:
            steps.append(step)
            if step.runs:
                plans.append(replace(self, steps=tuple(steps), until=step.at, look_at=step.at))
                steps = []
        if steps or not plans:
            plans.append(replace(self, steps=tuple(steps)))
        plans[-1] = replace(plans[-1], until=self.until, look_at=self.look_at)
        return [replace(plan, seen_at=plans[n - 1].until if n else self.seen_at) for n, plan in enumerate(plans)]

    def without(self, known: set[datetime]) -> Plan:
        """The plan without ticks that have a row already."""
        return replace(self, steps=tuple(step for step in self.steps if step.at not in known))

    def refused(self, error: str) -> Plan:
        """The plan where none of its runs could be started."""
        return replace(self, steps=tuple(s._replace(error=error) if s.runs else s for s in self.steps))


class Report(NamedTuple):
    """What became of a tick in a turn of a scheduler."""

    name: str
    at: datetime
    state: str
    reason: str = ""
    passed_over: int = 0
    job_id: str = ""
    error: str = ""

    @property
    def failed_to_start(self) -> bool:
        """Whether it should have started and could not."""
        return self.reason in (NOT_STARTED, STORE_AWAY)


def steps_of(ticks: tuple[Tick, ...], missed: Tick | None, passed_over: int) -> tuple[Step, ...]:
    """The steps of a decision, in order of their ticks."""
    late = () if missed is None else (Step(missed.at, "missed", passed_over),)
    return (*late, *(Step(tick.at) for tick in ticks))
