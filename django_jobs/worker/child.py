"""A child: takes messages, runs the jobs in them, reports what they came to. It knows nothing of the queue's
tables, except for those of atomic handlers."""

from __future__ import annotations

import json
import math
import os
import signal
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import connections
from ..retry import OutcomeKind, Target, Transition
from ..runtime import (
    Claim,
    ErrorRecord,
    Outcome,
    blank,
    record_error,
    run_attempt,
    run_hooks,
    timeline_note,
)
from . import orphans, output
from .channel import Channel, Port, TooBig
from .fresh import UNKNOWN_TIMEOUT, become_fresh
from .interrupts import AlarmGuard
from .slots import Slots
from .terms import Terms

JOBS, HOOK = 0, 1  # kinds of messages to a child
DONE, NOTE = 0, 1  # kinds of messages from one
REPORT_SECONDS = 0.001
ORPHANS_SECONDS = 10.0
ENDED_EARLY = (OutcomeKind.TIMED_OUT, OutcomeKind.CANCELLED)
REHEARSALS = 20
MOST_NOTES = 1000  # of one attempt: what comes after them is dropped


@dataclass(slots=True)
class Child:
    """One child in its slot. Also the controls of the job it runs."""

    slots: Slots
    inbox: Port
    outbox: Port
    parent: int
    terms: Terms
    slot: int = 0
    guard_class: type[AlarmGuard] = AlarmGuard
    guard: AlarmGuard = field(init=False)
    alone = True
    """Whether no other job runs in this process."""
    running: str = ""
    queue: str = ""
    notes: int = 0
    ended_early: bool = False  # one of its jobs was, and may have left something running
    number: int = 0
    """Of the job or hook that runs, or ran last."""

    def __post_init__(self) -> None:
        self.guard = self.guard_class(self._deadline, self.cancelled)

    def main(self) -> bool:
        """Work until the child is to be replaced. False: the worker is gone."""
        self.slots.arrive(self.slot, os.getpid())
        done, look_at, ended = 0, time.monotonic() + ORPHANS_SECONDS, set[int]()
        while not self.terms.are_over(done):
            if (now := time.monotonic()) > look_at:
                look_at, ended = now + ORPHANS_SECONDS, orphans.reap(ended)
            message = self.inbox.receive()
            if message is None or os.getppid() != self.parent:
                return False
            kind, number, content = message
            self.slots.take(self.slot, number)
            if self.terms.isolation == "spawn":
                become_fresh(self, kind, content)
            if not self.serve(kind, content):
                return True
            done += len(content) if kind == JOBS else 0
            if self.terms.are_for_one or (self.ended_early and orphans.children()):
                break  # what its jobs have started ends with it
            self.guard.install()
        return True

    def serve(self, kind: int, content: Any) -> bool:
        """Do what a message says. False: this process will be killed for a job of it; what it has not run is given
        back.
        """
        connections.open_afresh()
        output.look()
        if kind == JOBS:
            self.run(content)
        elif not self.condemned():
            self.run_hooks(*content)
        if self.condemned():
            return False
        self.slots.leave(self.slot)
        return True

    def give_up(self, kind: int, content: Any, error: BaseException) -> None:
        """Report that the code for what a message says can't be loaded."""
        try:
            record = record_error(error)
        except Exception:  # without settings
            record = ErrorRecord(type(error).__qualname__, str(error)[:1000], traceback.format_exc()[-8000:])
        if kind == JOBS:
            outcome = Outcome(OutcomeKind.HANDLER_MISSING, error=record)
            self.report([(number, packed(outcome)) for number, _ in content])
        else:
            self.report([(content[0], packed(Outcome("hook")))])
        self.slots.leave(self.slot)

    def run(self, jobs: list[tuple[int, tuple[Any, ...]]]) -> None:
        """Run the jobs of a message.

        What completes without an output is reported with what follows within a millisecond; until then the slot says
        that it is done, so that nothing which the next job does can undo it. Everything else is reported at once.
        """
        done: list[tuple[int, tuple[Any, ...]]] = []
        reported = time.monotonic()
        for number, fields in jobs:
            if self.slots.revoked(self.slot) or self.condemned():
                break  # the rest has waited too long behind the one before, and is others' now
            claim = Claim._make(fields)
            now = time.monotonic()
            self.number = number
            self.slots.begin(self.slot, number, now, now + UNKNOWN_TIMEOUT)
            if now > self.slots.lease_until:
                outcome = Outcome(OutcomeKind.INTERRUPTED)  # nobody renews any more: another worker may have it
            else:
                self.running, self.queue, self.notes = claim.id, claim.queue, 0
                outcome = run_attempt(claim, self.guard, self, self.terms.store)
                connections.leave_no_transaction()
                self.ended_early |= outcome.kind in ENDED_EARLY
            done.append((number, packed(outcome)))
            plain = outcome.kind == OutcomeKind.COMPLETED and not (outcome.result or outcome.stored)
            if not plain or time.monotonic() - reported > REPORT_SECONDS:
                self.report(done)
                done, reported = [], time.monotonic()
            else:
                self.slots.finish(self.slot, number)
        if done:
            self.report(done)

    def report(self, done: list[tuple[int, tuple[Any, ...]]]) -> None:
        """Tell the coordinator what jobs came to."""
        try:
            self.outbox.send((DONE, self.slot, done))
        except TooBig:
            for number, values in done:
                error = ErrorRecord("", "the outcome was too big for a message between the worker's processes")
                small = unpacked(values)._replace(result="", error=error)
                self.outbox.send((DONE, self.slot, [(number, packed(small))]))

    def run_hooks(self, number: int, claim: tuple[Any, ...], transition: tuple[Any, ...], *rest: Any) -> None:
        """Run the hooks that follow a stored outcome."""
        result, error = rest
        now = time.monotonic()
        self.number = number
        self.slots.begin(self.slot, number, now, now + UNKNOWN_TIMEOUT)
        target, *others = transition
        run_hooks(
            Claim._make(claim),
            Transition(Target(target), *others),
            result,
            None if error is None else ErrorRecord._make(error),
        )
        self.report([(number, packed(Outcome("hook")))])

    def condemned(self) -> bool:
        """Whether this process will be killed for the job that it ran last: then the next one must not be in it."""
        return self.number != 0 and self.slots.condemned(self.slot) == self.number

    # -- controls of the running job ----------------------------------------------------------------------------

    def cancelled(self) -> bool:
        return self.slots.cancelled(self.slot)

    def note(self, kind: str, message: str, data: Mapping[str, Any]) -> None:
        self.notes += 1
        if self.notes > MOST_NOTES:
            return
        text, plain = timeline_note(kind, message, data)
        self.outbox.send((NOTE, self.slot, (self.running, self.queue, kind, text, json.dumps(plain))))

    def _deadline(self, deadline: float | None) -> None:
        self.slots.extend(self.slot, math.inf if deadline is None else deadline)


def rehearse(terms: Terms) -> None:
    """Do what a child does with a job, some times over, for one that does nothing; nobody hears of it.

    What the interpreter learns about code it writes into that code, and each of its pages that a child is the first to
    write to is copied for that child: so let it learn before the children are forked.
    """
    if (claim := blank()) is None:
        return
    slots, reports = Slots(1), Channel()
    child = Child(slots, Port(reports.far), Port(reports.near), os.getppid(), terms)
    slots.lease_until = math.inf
    slots.arrive(0, os.getpid())
    for number in range(1, REHEARSALS + 1):
        slots.take(0, number)
        child.serve(JOBS, [(number, tuple(claim))])
        child.inbox.receive()
    signal.setitimer(signal.ITIMER_REAL, 0)  # of the job's timeout
    reports.close()
    slots.close()


def packed(outcome: Outcome) -> tuple[Any, ...]:
    """An outcome as plain values."""
    error = None if outcome.error is None else tuple(outcome.error)
    return (str(outcome.kind), outcome.result, error, *outcome[3:])


def unpacked(values: tuple[Any, ...]) -> Outcome:
    """The outcome in plain values."""
    outcome = Outcome._make(values)
    return outcome if outcome.error is None else outcome._replace(error=ErrorRecord._make(outcome.error))
