"""The pool: hands claims to children, takes their outcomes back, ends what is overdue, and replaces who dies."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import math
import os
import select
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from .. import registry
from ..backends import Backend, Note
from ..conf import conf
from ..exceptions import InvalidHandler, UnknownHandler
from ..logs import facts, get_logger
from ..retry import OutcomeKind
from ..runtime import Claim, ErrorRecord, Outcome, keep_seconds, rehearse
from ..settlement import Settlement
from ..waits import doubled
from .channel import Channel, Port, TooBig
from .child import DONE, HOOK, JOBS, unpacked
from .console import Running
from .interrupts import CANCELLING
from .memory import resident_mb
from .pace import Pace
from .slots import CLOSED, Slots
from .template import Death, Template, kill_group
from .terms import Terms

logger = get_logger("worker")

RESPAWN_LONGEST = 30.0
LOST_AFTER_SECONDS = 1.0
CLOSE_SECONDS = 2.0
MOST_MESSAGES = 2000  # in one turn, so that a job that writes without end keeps nobody waiting
MOST_COMPLAINTS = 100  # kept until they are logged
REBUILD_SECONDS = 1.0
STALE_SECONDS = 1.0
LOOK_SECONDS = 0.25
AHEAD = 5  # full messages for each child, at the most, that it has not reported


_IDLE = "the process did not do anything any more when a job's time was up"


class Finished(NamedTuple):
    """A claim whose run has come to something."""

    claim: Claim
    outcome: Outcome


class _Sent(NamedTuple):
    claim: Claim | None
    message: int
    at: float
    hooks: Settlement | None = None  # what was sent were the hooks of a stored outcome, which are nobody's claim


class _Kill(NamedTuple):
    pid: int
    job: int
    reason: OutcomeKind
    is_clear: bool = True  # that it was this job's fault, and of no other in the child


class _Cancel(NamedTuple):
    job: int
    at: float


_STUBBORN = {
    OutcomeKind.TIMED_OUT: ErrorRecord(
        "django_jobs.exceptions.JobTimeout", "the job did not stop when its time was up, and was killed"
    ),
    OutcomeKind.CANCELLED: ErrorRecord(
        "django_jobs.exceptions.JobCancelled", "the job did not stop when its cancel was asked for, and was killed"
    ),
}


_NO_INTERPRETER = (
    "a fresh interpreter could not be had (%s: %s), so a job is given back, and the next try follows in %.1f s. Is it "
    "gone, or what was installed for it? Bring it back, or start the worker anew with another one"
)


@dataclass(slots=True)
class _Seat:
    """What the coordinator knows of a child beside what that says in its slots."""

    wanted_at: float = 0.0
    born_at: float = 0.0
    early_deaths: int = 0
    killed: _Kill | None = None
    alive: bool = False


@dataclass(slots=True)
class _Wish:
    """What the coordinator wants of the job in a slot."""

    cancelled: _Cancel | None = None
    asked: int = 0
    condemned: int = 0


@dataclass(slots=True)
class Pool:
    """Children in slots, and the jobs in their hands. `size` is the number of slots: of jobs that run at once.

    Of every claim that is submitted, exactly one of these comes back: its outcome, from `collect()`, or itself, from
    `take_back()`.
    """

    size: int
    terms: Terms = field(default_factory=Terms)
    notes: list[Note] = field(default_factory=list)
    tending: bool = False
    """Whether it is within `tend()`."""
    pace: Pace = field(init=False)
    _before_fork: Callable[[], None] = field(init=False)
    _slots: Slots = field(init=False)
    _jobs: Channel = field(init=False)
    _reports: Channel = field(init=False)
    _to_children: Port = field(init=False)
    _children_end: Port = field(init=False)
    _from_children: Port = field(init=False)
    _template: Template = field(init=False)
    _seats: list[_Seat] = field(init=False)
    _wishes: list[_Wish] = field(init=False)
    _backlog: deque[list[Claim] | Settlement] = field(default_factory=deque)
    _sent: dict[int, _Sent] = field(default_factory=dict)
    _done: list[Finished] = field(default_factory=list)
    _complaints: deque[Callable[[], object]] = field(default_factory=lambda: deque(maxlen=MOST_COMPLAINTS))
    _waiting: int = 0  # claims in the backlog
    _is_tended: bool = False  # while this process waits for the store
    _numbers: int = 0
    _lease_until: float = math.inf
    _taken: int = 0  # the newest message that a child has taken
    _missed: dict[int, float] = field(default_factory=dict)
    _look_at: float = 0.0
    _rebuild_at: float = 0.0

    def start(self, before_fork: Callable[[], None]) -> None:
        """Load the site's handlers, then fork the template and the children. Closes every database connection.

        `before_fork` is called before each fork of a template, to close what else must not cross it.
        """
        self._before_fork = before_fork
        load_handlers()
        rehearse()
        gc.collect()
        give_memory_back()
        self._warn_of_size()
        gc.freeze()  # what is loaded stays: the collector need not look at it again and again
        self.pace = Pace(self.size, 4 * conf.claim_batch, self.terms.overhead_seconds)
        self._open()

    def _warn_of_size(self) -> None:
        most, now = self.terms.max_memory_mb, resident_mb()
        if most is not None and now > most and not self.terms.are_for_one:
            text = "max_memory_mb is %d, and a child has %.0f MB at its start: each is replaced after its first job"
            logger.warning(text, most, now)

    def _open(self) -> None:
        self._slots = Slots(self.size)
        self._slots.lease_until = self._lease_until
        self._jobs, self._reports = Channel(), Channel()
        self._to_children, self._children_end = Port(self._jobs.near), Port(self._jobs.far)
        self._from_children = Port(self._reports.near)
        self._template = Template(self._slots, self._jobs, self._reports, self.terms)
        self._seats = [_Seat() for _ in range(self.size // self.terms.concurrency)]
        self._wishes = [_Wish() for _ in range(self.size)]
        self._before_fork()
        self._template.start()
        for child in range(len(self._seats)):
            self._spawn(child)

    def _seat(self, slot: int) -> _Seat:
        return self._seats[slot // self.terms.concurrency]

    @property
    def isolation(self) -> str:
        """In what its jobs run."""
        return self.terms.isolation

    @property
    def in_hand(self) -> int:
        """How many claims are here."""
        return self._waiting + len(self._sent) + len(self._done)

    @property
    def busy(self) -> bool:
        """Whether anything is still to come, hooks included."""
        return bool(self._backlog or self._sent or self._done)

    @property
    def done(self) -> Sequence[Finished]:
        """What has come to something since the last `collect()`."""
        return self._done

    def room(self) -> int:
        """How many claims more are wanted."""
        in_hand = self.in_hand
        if self._stuck():
            return 0  # what is claimed now would only be given back in a second
        target = self.pace.target()
        if in_hand > target - min(conf.claim_batch, target // 2) and in_hand >= self.size:
            return 0  # claims come in batches, or not at all
        return max(min(target - in_hand, conf.claim_batch), 0)

    def _stuck(self) -> bool:
        """Whether every slot has been busy, or closed, for longer than claims may wait, or has no child for a while."""
        since = time.monotonic() - STALE_SECONDS
        return all(
            self._slots.started(slot) < since if self._slots.message(slot) else not self._seat(slot).alive
            for slot in range(self.size)
        )

    def claims(self) -> list[Claim]:
        """The claims that are here."""
        waiting = [claim for item in self._backlog if not isinstance(item, Settlement) for claim in item]
        return [
            *waiting,
            *(s.claim for s in self._sent.values() if s.claim is not None),
            *(f.claim for f in self._done),
        ]

    def running(self) -> list[Running]:
        """What the children run just now."""
        found = []
        for slot in range(self.size):
            sent = self._sent.get(self._slots.job(slot))
            if sent is not None and (claim := sent.claim) is not None:
                times = self._slots.started(slot), self._slots.deadline(slot)
                about = claim.id, claim.queue, claim.handler, claim.attempt
                found.append(Running(slot, self._slots.pid(slot), *about, *times))
        return found

    def lease_until(self, when: float) -> None:
        """Tell the children when the lease ends (monotonic clock)."""
        self._lease_until = self._slots.lease_until = when

    # -- in -----------------------------------------------------------------------------------------------------

    def submit(self, claims: Iterable[Claim]) -> None:
        """Hand claims to the children; quick ones several to a message."""
        group: list[Claim] = []
        claims = list(claims)
        self._waiting += len(claims)
        most = 1 if self.terms.one_by_one else max(min(conf.message_jobs, len(claims) // self.size), 1)
        for claim in claims:
            quick = not claim.suspect and self.pace.is_quick(claim.handler)
            if group and (not quick or len(group) >= most):
                self._backlog.append(group)
                group = []
            group.append(claim)
            if not quick:
                self._backlog.append(group)
                group = []
        if group:
            self._backlog.append(group)
        self._pump()

    def run_hooks(self, settlement: Settlement) -> None:
        """Have a child run the hooks of a stored outcome, before the jobs that wait."""
        self._backlog.appendleft(settlement)
        self._pump()

    def _pump(self) -> None:
        """Send what there is room for."""
        while True:
            try:
                self._send()
            except TooBig:
                self._divide(self._backlog.popleft())
            except ConnectionError:  # a job has shut the children's socket
                self._rebuild()
                return
            else:
                return

    def _send(self) -> None:
        # Where they are tended while the store works, not all at once: what is sent later is sent then.
        most = self.size * AHEAD * conf.message_jobs if self._is_tended else math.inf
        while self._backlog and len(self._sent) < most:
            item = self._backlog[0]
            if not (self._send_hooks(item) if isinstance(item, Settlement) else self._send_jobs(item)):
                return
            self._backlog.popleft()

    def _send_jobs(self, claims: list[Claim]) -> bool:
        message = self._numbers + 1
        numbers = range(message + 1, message + 1 + len(claims))
        if not self._to_children.try_send((JOBS, message, list(zip(numbers, map(tuple, claims), strict=True)))):
            return False
        self._numbers = numbers[-1]
        self._waiting -= len(claims)
        now = time.monotonic()
        for number, claim in zip(numbers, claims, strict=True):
            self._sent[number] = _Sent(claim, message, now)
        return True

    def _send_hooks(self, s: Settlement) -> bool:
        message = self._numbers + 1
        error = None if s.error is None else tuple(s.error)
        transition = (str(s.transition.target), *s.transition[1:])
        if not self._to_children.try_send((HOOK, message, (message, tuple(s.claim), transition, s.result, error))):
            return False
        self._numbers = message
        self._sent[message] = _Sent(None, message, time.monotonic(), s)
        return True

    def _divide(self, item: list[Claim] | Settlement) -> None:
        """What is too big for one message goes in several; what is too big for one of its own can't run here."""
        if isinstance(item, Settlement):
            logger.error("the hooks of job %s do not fit a message, so they are left out", item.claim.id)
        elif len(item) > 1:
            self._backlog.extendleft([claim] for claim in reversed(item))
        else:
            self._waiting -= 1
            error = ErrorRecord("", "the stored job is too big for a message between the worker's processes")
            self._done.append(Finished(item[0], Outcome(OutcomeKind.CORRUPT, error=error)))

    # -- out ----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def beside(self, store: Backend) -> Iterator[None]:
        """Within it, the children are tended while this process waits for the store."""
        with store.meanwhile(self._from_children.fileno(), self.tend) as self._is_tended:
            yield

    def tend(self) -> None:
        """Take in what the children report, and send them more. Needs no store and forks nothing.

        Logs nothing either: a site's log may go to the very connection whose answer is waited for.
        """
        self.tending = True  # an interruption could lose a report, or send jobs twice
        try:
            self._receive()
            with contextlib.suppress(ConnectionError, TooBig):  # `collect()` finds out too, and sees to it
                self._send()
        finally:
            self.tending = False

    def filenos(self) -> list[int]:
        """What to watch for outcomes and deaths. The first one is of what `tend()` reads."""
        return [self._from_children.fileno(), self._template.fileno()]

    def next_deadline(self) -> float:
        """When the next look at the children is due (monotonic clock)."""
        if self._done:
            return 0.0
        deadlines = [self._due_at(slot) for slot in range(self.size) if self._seat(slot).alive]
        wanted = [seat.wanted_at for seat in self._seats if not seat.alive and seat.wanted_at]
        if not self._template.started:
            wanted.append(self._rebuild_at)
        soonest = min((*deadlines, *wanted), default=math.inf)
        return max(soonest, time.monotonic() + 0.01)

    def collect(self) -> list[Finished]:
        """What has come to something since the last call. Ends overdue jobs, replaces dead children."""
        self._receive()
        while self._complaints:
            self._complaints.popleft()()
        self._bury()
        self._end_overdue()
        self._respawn()
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_SECONDS
            self._find_lost()
            self._free_those_behind()
            if self._from_children.is_closed():  # a job has shut it for all
                self._rebuild()
        self._pump()
        done, self._done = self._done, []
        return done

    def _receive(self) -> None:
        for _ in range(MOST_MESSAGES):
            if (message := self._from_children.try_receive(self._complain)) is None:
                return
            try:
                self._take_in(*message)
            except Exception as error:  # a job can write anything into a socket of its process
                self._complain("a message of a child could not be understood", exc_info=error)

    def _complain(self, text: str, *args: object, **about: Any) -> None:
        """Have an error logged at the next `collect()`."""
        self._complaints.append(partial(logger.error, text, *args, **about))

    def _take_in(self, kind: int, slot: int, content: Any) -> None:
        self._seat(slot).early_deaths = 0
        if kind == DONE:
            for number, values in content:
                self._finish(number, unpacked(values))
        else:
            job_id, queue, type_, text, data = content
            self.notes.append((job_id, queue, type_, text, json.loads(data)))

    def _finish(self, number: int, outcome: Outcome) -> None:
        sent = self._sent.pop(number, None)
        if sent is not None and sent.claim is not None:
            self._done.append(Finished(sent.claim, outcome))
            if outcome.kind != OutcomeKind.INTERRUPTED:
                self.pace.saw(sent.claim.handler, outcome)

    def _bury(self) -> None:
        deaths = self._template.deaths()
        if deaths is None:
            self._rebuild()
            return
        if deaths:
            self._receive()  # what the dead reported before they died counts
        for death in deaths:
            self._bury_one(death)

    def _bury_one(self, death: Death) -> None:
        seat = self._seat(death.slot)
        seat.alive = False
        slots = range(death.slot, death.slot + self.terms.concurrency)
        at_work = [slot for slot in slots if self._slots.pid(slot) == death.pid and self._slots.message(slot)]
        beside = sum(self._slots.job(slot) in self._sent for slot in at_work) - 1
        unborn = seat.killed is None and not death.ended_for and any(map(self._is_not_up, at_work))
        for slot in at_work:
            self._empty(slot, death, beside)
        for slot in slots:
            self._slots.leave(slot)
            self._wishes[slot].cancelled = None
        early = time.monotonic() - seat.born_at < 1.0 and death.status != 0 and not at_work
        seat.early_deaths = seat.early_deaths + 1 if early or unborn else 0
        wait = doubled(0.1, seat.early_deaths, RESPAWN_LONGEST) if seat.early_deaths else 0.0
        if unborn:
            logger.error(_NO_INTERPRETER, sys.executable, death, wait)
        elif seat.early_deaths:
            logger.error("a child died at its start (%s); the next one follows in %.1f s", death, wait)
        seat.wanted_at = time.monotonic() + wait
        seat.killed = None

    def _is_not_up(self, slot: int) -> bool:
        """Whether the job in this slot waits for its fresh interpreter."""
        return self.terms.isolation == "spawn" and self._slots.entered(slot) != self._slots.job(slot)

    def _empty(self, slot: int, death: Death, beside: int) -> None:
        """Settle what a dead child had in this slot; so many other jobs ran beside it."""
        job, message = self._slots.job(slot), self._slots.message(slot)
        self._take_unreported(slot, message)
        if job in self._sent:
            self._finish(job, self._obituary(slot, job, death, beside))
        for number in [n for n, sent in self._sent.items() if sent.message == message]:
            if self._sent[number].hooks is not None:
                self._requeue({number})
            else:
                self._finish(number, Outcome(OutcomeKind.INTERRUPTED))  # of the same message, but not what it ran

    def _take_unreported(self, slot: int, message: int) -> None:
        """What the child has completed without an output, and has had no time to report."""
        last = self._slots.finished(slot)
        for number in [n for n, s in self._sent.items() if s.message == message and n <= last]:
            claim = self._sent[number].claim
            if claim is not None:
                self._finish(number, Outcome(OutcomeKind.COMPLETED, keep_seconds=keep_seconds(claim)))

    def _obituary(self, slot: int, job: int, death: Death, beside: int) -> Outcome:
        killed = self._seat(slot).killed
        if self._is_not_up(slot) and (killed is None or killed.reason is not OutcomeKind.CANCELLED):
            return Outcome(OutcomeKind.INTERRUPTED)
        if death.ended_for == "deadline" and time.monotonic() > self._slots.deadline(slot):
            if beside and not self._slots.answered(slot):
                return _unclear(_IDLE, beside)
            return Outcome(OutcomeKind.TIMED_OUT, error=_STUBBORN[OutcomeKind.TIMED_OUT])
        if death.ended_for:
            return Outcome(OutcomeKind.INTERRUPTED)
        if killed is None or killed.pid != death.pid:
            text = f"the process that ran the job was {death}"
            return _unclear(text, beside) if beside else Outcome(OutcomeKind.CRASHED, error=ErrorRecord("", text))
        if beside and not killed.is_clear:
            return _unclear(_IDLE, beside)
        if killed.job != job or killed.reason not in _STUBBORN:
            return Outcome(OutcomeKind.INTERRUPTED)  # a neighbour: what the child was killed for had just ended
        return Outcome(killed.reason, error=_STUBBORN[killed.reason])

    def _kill_at(self, slot: int) -> float:
        """When the child in `slot` is killed for the job that it runs."""
        return min(self._slots.deadline(slot), self._cancelled_at(slot)) + conf.kill_grace

    def _due_at(self, slot: int) -> float:
        """When something is to be done about the job in `slot`."""
        return min(self._kill_at(slot), self._slots.deadline(slot) if self._is_to_be_asked(slot) else math.inf)

    def _is_to_be_asked(self, slot: int) -> bool:
        """Whether a crew has not been asked yet if it does anything, for the job in its slot."""
        return self.terms.concurrency > 1 and self._wishes[slot].asked != self._slots.job(slot)

    def _cancelled_at(self, slot: int) -> float:
        cancelled = self._wishes[slot].cancelled
        return cancelled.at if cancelled is not None and cancelled.job == self._slots.job(slot) else math.inf

    def _end_overdue(self) -> None:
        """Kill children whose jobs do not stop. One look before that, the child is told to start nothing else: the
        kill then hits this job, or none.
        """
        now = time.monotonic()
        for slot, wish in enumerate(self._wishes):
            job, seat = self._slots.job(slot), self._seat(slot)
            killed = seat.killed is not None and seat.killed.pid == self._slots.pid(slot)
            if not (job and seat.alive and not killed and now > self._due_at(slot)):
                continue
            if self._is_to_be_asked(slot):
                wish.asked = job
                self._tell_to_look(slot)
                continue
            if wish.condemned != job:
                wish.condemned = job
                self._slots.condemn(slot, job)
                continue
            reason = OutcomeKind.TIMED_OUT if math.isinf(self._cancelled_at(slot)) else OutcomeKind.CANCELLED
            if (sent := self._sent.get(job)) is not None and sent.claim is not None:
                why = "its time was up" if reason is OutcomeKind.TIMED_OUT else "its cancel was asked for"
                text = "STUCK %s %s did not stop when %s, and is killed"
                logger.warning(text, sent.claim.handler, sent.claim.id, why, extra=facts(sent.claim))
            is_clear = reason is OutcomeKind.CANCELLED or self.terms.concurrency == 1 or self._slots.answered(slot)
            self._kill(slot, job, reason, is_clear=is_clear)

    def _tell_to_look(self, slot: int) -> None:
        with contextlib.suppress(OSError):
            os.kill(self._slots.pid(slot), CANCELLING)

    def _kill(self, slot: int, job: int, reason: OutcomeKind, *, is_clear: bool = True) -> None:
        if pid := self._slots.pid(slot):
            self._seat(slot).killed = _Kill(pid, job, reason, is_clear)
            kill_group(pid)

    def _spawn(self, child: int) -> None:
        seat = self._seats[child]
        seat.alive, seat.wanted_at, seat.born_at = True, 0.0, time.monotonic()
        self._template.spawn(child * self.terms.concurrency)

    def _respawn(self) -> None:
        now = time.monotonic()
        for child, seat in enumerate(self._seats):
            if self._template.started and not seat.alive and seat.wanted_at <= now:
                self._spawn(child)

    def _find_lost(self) -> None:
        """A child that is killed between taking a message and saying so leaves no trace: what nobody has is given
        back. All have been taken where none waits in the socket, and else those that are older than one that was taken:
        they are taken in their order.
        """
        if not self._sent:
            return
        held = {self._slots.message(slot) for slot in range(self.size)}
        self._taken = max({self._taken, *held} - {CLOSED})
        every = self._children_end.is_empty()
        gone = {s.message for s in self._sent.values() if s.message not in held and (every or s.message < self._taken)}
        now = time.monotonic()
        self._missed = {message: self._missed.get(message, now) for message in gone}
        lost = {message for message, since in self._missed.items() if now - since > LOST_AFTER_SECONDS}
        if not lost:
            return
        unread = self._unread()
        self._receive()
        for number in [n for n, s in self._sent.items() if s.message in lost and n not in unread]:
            self._finish(number, Outcome(OutcomeKind.INTERRUPTED))
        self._requeue(unread)

    def _free_those_behind(self) -> None:
        """Jobs of one message that wait behind a slow one go back. First the child is told to leave them; they go when
        it is still at the slow one after that, and so can't have started them.
        """
        now = time.monotonic()
        for slot in range(self.size):
            job, message = self._slots.job(slot), self._slots.message(slot)
            if job not in self._sent or now - self._slots.started(slot) < STALE_SECONDS:
                continue
            self._take_unreported(slot, message)
            behind = [n for n, s in self._sent.items() if s.message == message and n > job]
            if behind and self._slots.revoked(slot) and self._slots.job(slot) == job:
                for number in behind:
                    self._finish(number, Outcome(OutcomeKind.INTERRUPTED))
            elif behind:
                self._slots.revoke(slot, message)

    def _rebuild(self) -> None:
        """The template has died, and the children with it: what they ran is lost, the rest goes on with new ones."""
        if self._template.started:
            logger.error("the template process has died, or a job has shut its sockets; starting another")
            self._template.close()
        if time.monotonic() < self._rebuild_at:
            return
        self._receive()
        running = {self._slots.job(slot) for slot in range(self.size)}
        for slot in range(self.size):
            if self._slots.message(slot) and (pid := self._slots.pid(slot)):  # 0: it was about to be forked
                kill_group(pid)  # what its job has started is still there
        unread = self._unread()
        for number in list(self._sent):
            if number not in unread:
                kind = OutcomeKind.LOST if number in running else OutcomeKind.INTERRUPTED
                self._finish(number, Outcome(kind, error=ErrorRecord("", "the worker's template process died")))
        self._requeue(unread)
        self._reopen()

    def _reopen(self) -> None:
        """Go on with a new template and new children."""
        self._close()
        self._rebuild_at = time.monotonic() + REBUILD_SECONDS  # at the earliest: the next one may die at its start
        try:
            self._open()
        except OSError as error:
            logger.error("the template could not be started, and is tried again: %s", error)

    # -- back ---------------------------------------------------------------------------------------------------

    def take_back(self) -> list[Claim]:
        """The claims that no child has started, out of its hands."""
        self._requeue(self._unread())
        back = [claim for item in self._backlog if not isinstance(item, Settlement) for claim in item]
        self._backlog = deque(item for item in self._backlog if isinstance(item, Settlement))
        self._waiting = 0
        self._pump()
        return back

    def cancel(self, job_ids: Collection[str]) -> None:
        """Interrupt the children that run these jobs, each once; what no child has started is not to be run at all.

        A child that takes a job just now hears of it at the next call.
        """
        waiting = {claim.id for claim in self._not_running()}.intersection(job_ids)
        for slot, wish in enumerate(self._wishes):
            job = self._slots.job(slot)
            sent = self._sent.get(job)
            if sent is None or sent.claim is None or sent.claim.id not in job_ids:
                continue
            waiting.discard(sent.claim.id)
            if wish.cancelled is None or wish.cancelled.job != job:
                wish.cancelled = _Cancel(job, time.monotonic())
                self._slots.cancel(slot, job)
                self._tell_to_look(slot)  # it looks itself whether this is still its job
        if waiting:
            self._drop(waiting)

    def _not_running(self) -> Iterator[Claim]:
        """Claims that no child has taken, as far as the slots say."""
        held = {self._slots.message(slot) for slot in range(self.size)}
        for item in self._backlog:
            yield from () if isinstance(item, Settlement) else item
        for sent in self._sent.values():
            if sent.claim is not None and sent.message not in held:
                yield sent.claim

    def _drop(self, job_ids: Collection[str]) -> None:
        """Cancel those of these jobs that wait here; the others keep their places."""
        self._requeue(self._unread())
        kept: deque[list[Claim] | Settlement] = deque()
        for item in self._backlog:
            if isinstance(item, Settlement):
                kept.append(item)
                continue
            dropped = [claim for claim in item if claim.id in job_ids]
            self._done += [Finished(claim, Outcome(OutcomeKind.CANCELLED)) for claim in dropped]
            self._waiting -= len(dropped)
            if rest := [claim for claim in item if claim.id not in job_ids]:
                kept.append(rest)
        self._backlog = kept
        self._pump()

    def stale(self, seconds: float) -> bool:
        """Whether claims have waited this long while every child was busy with something else, or gone."""
        if not all(self._slots.message(slot) or not self._seat(slot).alive for slot in range(self.size)):
            return False
        held = {self._slots.message(slot) for slot in range(self.size)}
        now = time.monotonic()
        return any(s.claim is not None and s.message not in held and now - s.at > seconds for s in self._sent.values())

    def _unread(self) -> set[int]:
        """Take unread messages out of the socket; the numbers of what was in them stay in `_sent`."""
        numbers: set[int] = set()
        while (message := self._children_end.try_receive()) is not None:
            kind, number, content = message
            numbers.update([number] if kind == HOOK else (job for job, _ in content))
        return numbers

    def _requeue(self, numbers: set[int]) -> None:
        """Put what was unread back in line, in its order."""
        for number in sorted(numbers, reverse=True):
            sent = self._sent.pop(number, None)
            if sent is not None and sent.hooks is not None:
                self._backlog.appendleft(sent.hooks)
            elif sent is not None and sent.claim is not None:
                self._backlog.appendleft([sent.claim])
                self._waiting += 1

    # -- the end ------------------------------------------------------------------------------------------------

    def abandon(self) -> list[Claim]:
        """Kill every child now, and go on with new ones. Answers every claim that was here; their outcomes are not
        known.

        None of them runs after this: with the template goes also the child that it has just forked for one. Closes
        every database connection.
        """
        claims = self.claims()
        self._unread()  # else the next children would run what is given back
        self._backlog.clear()
        self._waiting = 0
        self._sent.clear()
        self._done.clear()
        for slot in range(0, self.size, self.terms.concurrency):
            if self._seat(slot).alive:
                self._kill(slot, self._slots.job(slot), OutcomeKind.INTERRUPTED)
        self._reopen()
        return claims

    def kill_running(self) -> None:
        """Kill the children that run something; their jobs come back from `collect()` as interrupted."""
        for slot in range(self.size):
            if self._seat(slot).alive and self._slots.message(slot):
                self._kill(slot, self._slots.job(slot), OutcomeKind.INTERRUPTED)

    def stop(self) -> None:
        """End the children and the template."""
        self._close()

    def _close(self) -> None:
        self._jobs.close()  # the children read the end of it, and leave
        deadline = time.monotonic() + CLOSE_SECONDS
        while self._template.started and any(seat.alive for seat in self._seats):
            if (left := deadline - time.monotonic()) <= 0:
                break
            select.select([self._template.fileno()], [], [], left)
            deaths = self._template.deaths()
            if deaths is None:
                break
            for death in deaths:
                self._seat(death.slot).alive = False
        self._template.close()
        self._reports.close()
        self._slots.close()


def _unclear(what: str, beside: int) -> Outcome:
    """Nobody knows which of the jobs in a child it was: each is a suspect now, and runs alone the next time."""
    return Outcome(OutcomeKind.LOST, error=ErrorRecord("", f"{what}; {beside} more ran in it"))


def give_memory_back() -> None:
    """Return what the imports have freed to the system, where the C library can (glibc): all processes share it."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def load_handlers() -> None:
    """Import every handler, so that the children share their code. What can't be imported fails when a job asks for
    it.
    """
    for key in registry.handler_keys():
        try:
            registry.get(key)
        except (UnknownHandler, InvalidHandler) as error:
            logger.error("%s", error)
