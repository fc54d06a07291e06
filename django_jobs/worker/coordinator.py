"""The coordinator: claims, renews, settles and keeps house. It never runs a handler itself."""

from __future__ import annotations

import math
import os
import resource
import select
import socket
import sys
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from django.db import Error as DatabaseError

from .. import signals
from ..backends import Backend, Note, Settled, Wakeup, WorkerInfo
from ..conf import conf
from ..exceptions import JobsError
from ..logs import get_logger
from ..retry import CANCEL, Target
from ..runtime import Claim, wants_hooks
from ..settlement import Settlement, conclude, give_back
from .console import Console
from .interrupts import Patience, StopSignals
from .journal import log_settled, notes_of_claimed, notes_of_settled
from .pace import Pace
from .pool import Finished
from .services import pause, spare

logger = get_logger("worker")

STALE_SECONDS = 1.0
STORE_RETRY_LONGEST = 5.0
SOON_SECONDS = 10.0
MOST_NOTES = 10_000  # kept while the store is away


class Executor(Protocol):
    """Whoever runs the jobs for a coordinator: `Pool` or `Inline`."""

    size: int
    notes: list[Note]
    pace: Pace

    @property
    def in_hand(self) -> int: ...
    @property
    def busy(self) -> bool: ...
    def start(self, before_fork: Callable[[], None]) -> None: ...
    def room(self) -> int: ...
    def claims(self) -> list[Claim]: ...
    def lease_until(self, when: float) -> None: ...
    def submit(self, claims: Iterable[Claim]) -> None: ...
    def run_hooks(self, settlement: Settlement) -> None: ...
    def filenos(self) -> list[int]: ...
    def next_deadline(self) -> float: ...
    def collect(self) -> list[Finished]: ...
    def cancel(self, job_ids: Collection[str]) -> None: ...
    def take_back(self) -> list[Claim]: ...
    def stale(self, seconds: float) -> bool: ...
    def abandon(self) -> list[Claim]: ...
    def restart(self) -> None: ...
    def kill_running(self) -> None: ...
    def stop(self) -> None: ...


@dataclass(slots=True)
class Chore:
    """Something that the coordinator does now and then, such as reaping.

    `act` answers what it has settled, whose hooks are run then, or just a number.
    """

    name: str
    interval: float
    act: Callable[[], Iterable[Settlement] | int]
    due_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """When a bounded run ends. `cycles` are claims of one job each, empty ones included; None is no limit."""

    cycles: int | None = None
    jobs: int | None = None
    seconds: float | None = None
    memory_mb: float | None = None
    when_empty: bool = False


@dataclass(slots=True)
class Coordinator:
    """One worker: a lease in the store, and an executor that runs what it claims."""

    backend: Backend
    queues: Sequence[str]
    executor: Executor
    console: Console
    chores: list[Chore] = field(default_factory=list)
    limits: Limits = field(default_factory=Limits)
    poll_interval: float = 1.0
    stop_signals: StopSignals = field(default_factory=StopSignals)
    restores_signals: bool = True
    """False where the process ends with the worker: a late signal must not end it any sooner."""
    worker_id: str = ""
    _wakeup: Wakeup = field(default_factory=Wakeup)
    _listening: bool = False
    _unsettled: list[Settlement] = field(default_factory=list)
    _claimed: int = 0
    _settled: int = 0
    _cycles: int = 0
    _empty: bool = False  # the last look at every queue brought less than was asked for
    _started_at: float = 0.0
    _renew_at: float = 0.0
    _lease_until: float = 0.0
    _look_at: float = 0.0  # when to claim again although nothing woke us
    _promote_at: float = 0.0
    _cancels_at: float = 0.0
    _next_due: float | None = None
    _suspects_at: float = 0.0
    _reconcile_at: float = 0.0
    _store_retry_at: float = 0.0
    _store_failures: int = 0
    _strangers: dict[str, int] = field(default_factory=dict)
    _drain_until: float | None = None
    _patience: Patience = field(default_factory=lambda: Patience(conf.lease_seconds / 2))

    # -- the life of a worker -------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until a limit or a stop signal ends it; leave nothing behind."""
        if not self.stop_signals.installed:
            self.stop_signals.install()
        try:
            self.executor.start(self._forget_wakeup)
            self._register()
            while not self._over():
                self._turn()
            self._drain()
        finally:
            self._leave()

    def _turn(self) -> None:
        self._take_outcomes()
        with _Store(self) as store:
            if store.reachable:
                self._renew()  # first: what follows may have to wait for somebody's lock
                self._settle()
                if self.worker_id:
                    self._keep_house()
                    self._claim()
        self._guard_lease()
        self._wait()

    def _over(self) -> bool:
        if self.stop_signals.count:
            self.console.say("stop signal received, finishing current cycle...")
            logger.info("SHUTDOWN worker %s: stop signal received", self.worker_id, extra=self._about_me())
            return True
        limits = self.limits
        if limits.seconds is not None and time.monotonic() - self._started_at >= limits.seconds:
            return True
        if limits.memory_mb is not None and _memory_mb() > limits.memory_mb:
            return True
        if self.executor.busy or self._unsettled:
            return False
        if limits.jobs is not None and self._claimed >= limits.jobs:
            return True
        if limits.cycles is not None and self._cycles >= limits.cycles:
            return True
        soon = self._next_due is not None and self._next_due - time.monotonic() < SOON_SECONDS
        return limits.when_empty and self._empty and not soon

    def _register(self) -> None:
        self._started_at = self._started_at or time.monotonic()
        self.worker_id = ""
        while not self.worker_id and not self.stop_signals.count:
            with _Store(self) as store:
                if store.reachable:
                    worker_id, asked = str(uuid.uuid4()), time.monotonic()
                    info = WorkerInfo(worker_id, socket.gethostname(), os.getpid(), self.queues, self.executor.size)
                    self.backend.register(info, conf.lease_seconds)
                    self.worker_id = worker_id
                    self._leased(asked)
                    self._reconcile_at = asked + conf.lease_seconds / 3
            if not self.worker_id:
                self._pause(max(self._store_retry_at - time.monotonic(), 0.0))
        if self.worker_id:
            logger.info("STARTED worker %s on %s", self.worker_id, ", ".join(self.queues), extra=self._about_me())
            signals.worker_started.send_robust(type(self), worker_id=self.worker_id, queues=list(self.queues))
            for queue in self.queues:
                self.console.say(f"processing queue '{queue}'")

    def _leave(self) -> None:
        try:
            self.executor.stop()
        finally:
            self._wakeup.close()
            try:
                if self.worker_id:
                    with self._patience:
                        self.renew_lease()  # for the counters on its row
                        self.backend.deregister(self.worker_id)
            except (DatabaseError, JobsError) as error:
                logger.warning("could not say good-bye to the store: %s", error)
            logger.info("STOPPED worker %s: %d settled", self.worker_id, self._settled, extra=self._about_me())
            signals.worker_stopped.send_robust(type(self), worker_id=self.worker_id, queues=list(self.queues))
            if self.restores_signals:
                self.stop_signals.restore()

    def _about_me(self) -> dict[str, object]:
        return {"worker_id": self.worker_id, "queues": list(self.queues)}

    # -- outcomes -------------------------------------------------------------------------------------------------

    def _take_outcomes(self) -> None:
        for claim, outcome in self.executor.collect():
            self._unsettled.append(conclude(claim, outcome))

    def _settle(self) -> None:
        self._release_stale()
        if not self._unsettled:
            self._record([])
            return
        batch = self._unsettled
        answers = self.backend.settle_anyway(batch)
        self._unsettled = self._unsettled[len(batch) :]
        settled = []
        for s, answer in zip(batch, answers, strict=True):
            if answer:
                settled.append(s if answer is not Settled.CANCELLED else s._replace(transition=CANCEL, result=""))
            else:
                logger.warning(
                    "job %s is not ours any more; its outcome (%s) is dropped", s.claim.id, s.transition.word
                )
        self._after(settled)

    def _after(self, settled: list[Settlement]) -> None:
        pause(self.backend, settled)
        self._settled += len(settled)
        self.console.settled(settled)
        log_settled(settled)
        now = time.monotonic()
        for s in settled:
            transition = s.transition
            if s.claim.suspect:
                self._suspects_at = self._look_at = now  # the next one may have its turn
            if transition.target is Target.WAITING:
                self._promote_at = min(self._promote_at, now + transition.delay)
                self._next_due = min(self._next_due or math.inf, now + transition.delay)
                self._look_at = min(self._look_at, now + transition.delay)
                if transition.suspect:
                    self._suspects_at = min(self._suspects_at, now + transition.delay)
            self._follow(s)
        self._record(notes_of_settled(settled))

    def _follow(self, s: Settlement) -> None:
        if wants_hooks(s.claim.handler, s.transition):
            self.executor.run_hooks(s)

    def _record(self, events: list[Note]) -> None:
        """Write what handlers noted, and `events`, into the timelines."""
        notes, self.executor.notes = [*self.executor.notes, *events], []
        if not notes or conf.events == "none":
            return
        try:
            self.backend.record_events(notes)
        except Exception as error:
            if self.backend.is_outage(error):
                self.executor.notes = notes[-MOST_NOTES:]
                raise
            logger.exception("%d events could not be written", len(notes))

    def _release_stale(self) -> None:
        """Claims that wait behind slow neighbours go back, so that other workers can have them."""
        if self.executor.stale(STALE_SECONDS):
            self._unsettled += [give_back(claim) for claim in self.executor.take_back()]

    # -- the lease ------------------------------------------------------------------------------------------------

    def _renew(self) -> None:
        now = time.monotonic()
        if now < self._renew_at:
            return
        if self.renew_lease():
            return
        logger.error("this worker was taken for lost; what it held is others' now")
        self._begin_anew()

    def renew_lease(self) -> bool:
        """Prolong the lease in the store. False: the worker is lost."""
        asked = time.monotonic()
        state = "running" if self._drain_until is None else "draining"
        running = self.executor.in_hand + len(self._unsettled)
        if not self.backend.renew(
            self.worker_id, conf.lease_seconds, state=state, running=running, settled=self._settled
        ):
            return False
        self._leased(asked)
        return True

    def _leased(self, asked: float) -> None:
        # Counted from before the question: the store may have written it any time after that.
        self._renew_at = asked + conf.heartbeat_interval
        self._lease_until = asked + conf.lease_seconds
        self.executor.lease_until(self._lease_until)

    def _guard_lease(self) -> None:
        """A coordinator that can't renew ends its children before the lease can end."""
        if time.monotonic() < self._lease_until - 0.1 * conf.lease_seconds or not self.executor.in_hand:
            return
        logger.error("the lease could not be renewed in time; ending what runs")
        self._unsettled += [give_back(claim) for claim in self.executor.abandon()]

    def _begin_anew(self) -> None:
        """Lost: end the children, forget what they did, and register under a new id."""
        self.executor.abandon()
        self._unsettled.clear()
        self._strangers.clear()
        if self._drain_until is None:
            self.executor.restart()
            self._register()

    # -- keeping house ----------------------------------------------------------------------------------------------

    def _keep_house(self) -> None:
        now = time.monotonic()
        if now >= self._promote_at:
            promotion = self.backend.promote_due()
            self._next_due = None if promotion.next_in is None else now + max(promotion.next_in, 0.0)
            self._promote_at = now + min(max(promotion.next_in or 0.0, 0.001), conf.poll_interval)
            if promotion.next_in is None:
                self._promote_at = now + conf.poll_interval
            if promotion.promoted:
                self._look_at = now
        if now >= self._cancels_at:
            self._cancels_at = now + conf.poll_interval
            if self.executor.in_hand and (asked := self.backend.cancel_requests(self.worker_id)):
                self.executor.cancel(asked)
        for chore in self.chores:
            if now >= chore.due_at and self._drain_until is None:
                chore.due_at = now + chore.interval
                self._do(chore)
        if now >= self._reconcile_at:
            self._reconcile_at = now + conf.lease_seconds / 3
            self._reconcile()

    def _do(self, chore: Chore) -> None:
        try:
            done = chore.act()
            if not isinstance(done, int):
                for settlement in done:
                    self._follow(settlement)
        except Exception as error:
            if self.backend.is_outage(error):
                raise
            logger.exception("%s failed; the work goes on", chore.name)

    def _reconcile(self) -> None:
        """Give back what the store says we hold and we know nothing of, as when the answer to a claim was lost.

        Only what was seen twice: a claim of this very moment is no stranger.
        """
        ours = {claim.id for claim in self.executor.claims()} | {s.claim.id for s in self._unsettled}
        held = self.backend.held(self.worker_id)
        strangers = {job_id: claim_no for job_id, claim_no in held.items() if job_id not in ours}
        again = [(j, n) for j, n in strangers.items() if self._strangers.get(j) == n]
        self._strangers = strangers
        if again:
            logger.warning("giving back %d jobs that the store says are here and are not", len(again))
            self.backend.release([_bare_claim(job_id, self.worker_id, claim_no) for job_id, claim_no in again])

    # -- claiming -------------------------------------------------------------------------------------------------

    def _claim(self) -> None:
        now = time.monotonic()
        if self._drain_until is not None or self._unsettled or now > self._lease_until - 0.1 * conf.lease_seconds:
            return
        self._open_wakeup()
        room = self._room()
        if room <= 0 or (now < self._look_at and not self._wakeup.ready()):
            return
        asked = room
        suspects = now >= self._suspects_at and not any(claim.suspect for claim in self.executor.claims())
        if suspects:
            self._suspects_at = now + self.poll_interval
        for queue in self.queues:
            lone = self.backend.claim(queue, self.worker_id, 1, suspect=True) if suspects else []
            if lone:
                self._claimed += 1
                self._submit(lone)  # at once: what fails next must not lose it
                room -= 1
                suspects = False  # one at a time: if this worker is lost again, it is known with what
            claims = self.backend.claim(queue, self.worker_id, room) if room > 0 else []
            if lone or claims:
                self._wakeup.worked()
            self.executor.notes += notes_of_claimed([*lone, *claims])
            if claims:
                self._claimed += len(claims)
                self._submit(claims)
                room -= len(claims)
            if room <= 0:
                break
        self._cycles += 1
        # Only a look that brings nothing says that nothing is there: one that brings a few may not have seen all.
        self._empty = room == asked and suspects
        if room > 0:
            self._look_at = time.monotonic() + self.poll_interval
            if self.limits.when_empty and room < asked:
                self._look_at = self._suspects_at = 0.0
        if room == asked and self.limits.cycles is not None:
            self.console.empty(self.queues)

    def _submit(self, claims: list[Claim]) -> None:
        started = claims
        try:
            started, put_off = spare(self.backend, claims)
            self._unsettled += put_off
        finally:
            self.executor.submit(started)

    def _open_wakeup(self) -> None:
        if not self._listening:
            self._wakeup, self._listening = self.backend.wakeup(self.queues), True

    def _forget_wakeup(self) -> None:
        """No connection crosses a fork."""
        self._wakeup.close()
        self._wakeup, self._listening = Wakeup(), False

    def _wants_jobs(self) -> bool:
        return self._drain_until is None and self._room() > 0

    def _room(self) -> int:
        limits = self.limits
        room = self.executor.room()
        if limits.cycles is not None:
            room = min(room, 1) if self._cycles < limits.cycles and not self.executor.in_hand else 0
        if limits.jobs is not None:
            room = min(room, limits.jobs - self._claimed)
        return room

    # -- waiting ----------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Sleep until something happens: an outcome, a death, a signal, a wake-up, or the next thing that is due."""
        if self._unsettled and self._store_retry_at <= time.monotonic():
            return
        self._pause(self._idle_seconds())

    def _idle_seconds(self) -> float:
        now = time.monotonic()
        due = [self._renew_at, self.executor.next_deadline(), self._reconcile_at]
        if self._drain_until is not None:
            due.append(self._drain_until)
        elif self._wants_jobs():
            due.append(min(self._look_at, now + self._wakeup.interval))
        due.append(self._promote_at)
        if self._drain_until is None:
            due += [chore.due_at for chore in self.chores]
        if self.limits.seconds is not None and self._drain_until is None:
            due.append(self._started_at + self.limits.seconds)
        wait = max(min(due) - now, 0.0)
        if self._store_failures:
            wait = max(min(self._store_retry_at - now, 1.0), 0.001)
        return min(wait, 5.0)

    def _pause(self, seconds: float) -> None:
        poll = select.poll()  # a new one each time costs less than keeping one in step with the descriptors
        fds = [self.stop_signals.fileno(), *self.executor.filenos()]
        if not self._store_failures and self._wants_jobs() and (fd := self._wakeup.fileno()) is not None:
            fds.append(fd)
        for fd in fds:
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        if any(fd == self.stop_signals.fileno() for fd, _ in poll.poll(math.ceil(seconds * 1000))):
            self.stop_signals.clear()

    # -- the end ----------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Claim no more, give back what was not started, let what runs finish in time, else kill it."""
        self._drain_until = time.monotonic() + conf.shutdown_timeout
        signals_seen = max(self.stop_signals.count, 1)
        self._unsettled += [give_back(claim) for claim in self.executor.take_back()]
        killed = False
        while self.executor.busy or self._unsettled:
            if self.stop_signals.count > signals_seen:
                self._drain_until = time.monotonic()
                signals_seen = self.stop_signals.count
            late = time.monotonic() - self._drain_until
            if late >= 0 and not killed:
                killed = True
                self.executor.kill_running()
                self._drain_until = time.monotonic() + conf.kill_grace
            elif late >= 0:
                logger.error("could not settle everything; the lease brings the rest back")
                break
            self._turn()
        self.console.say("graceful shutdown complete.")

    # -- the store's moods --------------------------------------------------------------------------------------------

    def store_failed(self, error: BaseException) -> None:
        """The store is away: say so once, wait, and go on."""
        self._store_failures += 1
        wait = min(0.1 * 2 ** (self._store_failures - 1), STORE_RETRY_LONGEST)
        self._store_retry_at = time.monotonic() + wait
        if not self.backend.is_outage(error):
            logger.error("a turn failed; trying again", exc_info=error)
        elif self._store_failures == 1:
            logger.error("the store is away (%s); trying again until it is back", str(error).strip())
        self.backend.close()

    def store_is_back(self) -> None:
        """A turn went through."""
        if self._store_failures:
            logger.warning("the store is back")
        self._store_failures = 0


class _Store:
    """Around one turn's use of the store: errors of the store are told to the coordinator, not raised."""

    def __init__(self, coordinator: Coordinator) -> None:
        self.coordinator = coordinator
        self.reachable = time.monotonic() >= coordinator._store_retry_at

    def __enter__(self) -> _Store:
        if self.reachable:
            self.coordinator._patience.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> bool:
        self.coordinator._patience.__exit__()
        if error is None:
            if self.reachable:
                self.coordinator.store_is_back()
            return False
        if isinstance(error, Exception):
            logger.debug("a turn failed", exc_info=error)
            self.coordinator.store_failed(error)
            return True
        return False


def _bare_claim(job_id: str, worker_id: str, claim_no: int) -> Claim:
    return Claim(job_id, "", "", worker_id, claim_no, 1, 0, False, "", "", "", 0.0, 0.0)


def _memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 1024 / 1024
