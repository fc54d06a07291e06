"""The coordinator: claims, renews, settles and keeps house. It never runs a handler itself."""

from __future__ import annotations

import math
import os
import select
import socket
import time
from dataclasses import dataclass, field

from .. import signals
from ..backends import Backend, Note, Settled, Wakeup
from ..conf import conf
from ..logs import get_logger
from ..retry import CANCEL, Target
from ..runtime import Claim, wants_hooks
from ..settlement import Settlement, conclude, give_back
from .cancels import Cancels
from .console import Console, Standing, Started
from .executor import Executor
from .housekeeping import Chore, Housekeeping
from .journal import log_settled, notes_of_claimed, notes_of_settled
from .lease import Lease
from .memory import peak_mb
from .order import Order
from .outages import Outages
from .pauses import Pauses
from .services import pause, spare
from .stopping import StopSignals
from .unreported import completed_unreported

logger = get_logger("worker")

SETTLING_SHARE = 0.1  # of the time goes into settling outcomes that come one by one
GATHER_SECONDS = 0.025  # at the most, for an outcome that waits for others
ENOUGH = 200  # outcomes are worth a commit at once
STALE_SECONDS = 1.0
FIND_SECONDS = 2.0
MOST_NOTES = 10_000  # kept while the store is away


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
    order: Order
    executor: Executor
    console: Console
    chores: list[Chore] = field(default_factory=list)
    limits: Limits = field(default_factory=Limits)
    timeout: float | None = None
    """Of every attempt, whatever its job says."""
    poll_interval: float = 1.0
    stop_signals: StopSignals = field(default_factory=StopSignals)
    restores_signals: bool = True
    """False where the process ends with the worker: a late signal must not end it any sooner."""
    outgrown: bool = False
    """Whether it has ended because of its size."""
    lease: Lease = field(init=False)
    outages: Outages = field(init=False)
    house: Housekeeping = field(init=False)
    pauses: Pauses = field(init=False)
    cancels: Cancels = field(init=False)
    _wakeup: Wakeup = field(default_factory=Wakeup)
    _listening: bool = False
    _unsettled: list[Settlement] = field(default_factory=list)
    _settle_at: float = 0.0  # few outcomes wait until then, for others to be settled with
    _claimed: int = 0
    _settled: int = 0
    _cycles: int = 0
    _empty: bool = False  # the last look at every queue brought less than was asked for
    _started_at: float = 0.0
    _look_at: float = 0.0  # when to claim again although nothing woke us
    _suspects_at: float = 0.0
    _drain_until: float | None = None
    _lost: bool = False

    def __post_init__(self) -> None:
        if self.order.is_open:
            self.chores.append(Chore("find queues", FIND_SECONDS, self._find_queues))
        self.lease = Lease(self.backend, self.executor)
        self.outages = Outages(self.backend, lambda: self.executor.tending)
        self.pauses = Pauses(self.backend, self.executor)
        self.cancels = Cancels(self.backend, self.executor, self.lease)
        self.house = Housekeeping(self.backend, self.executor, self.lease, self.chores, self._follow)

    @property
    def worker_id(self) -> str:
        """Under which id it is registered; empty where it is not."""
        return self.lease.worker_id

    @property
    def queues(self) -> list[str]:
        """What it was told to serve, prefixes with their `*`."""
        return [str(asked) for asked in self.order.asked]

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
        with self.outages.around() as reachable:
            if reachable and self._is_ours():  # first: what follows may have to wait for somebody's lock
                self._settle()
                self._keep_house()
                self._claim()
        self._guard_lease()
        self._show()
        self._wait()

    def _over(self) -> bool:
        if self.stop_signals.count:
            self.console.stopping()
            logger.info("SHUTDOWN worker %s: stop signal received", self.worker_id, extra=self._about_me())
            return True
        limits = self.limits
        if limits.seconds is not None and time.monotonic() - self._started_at >= limits.seconds:
            return True
        if limits.memory_mb is not None and peak_mb() > limits.memory_mb:
            self.outgrown = True
            return True
        if self.executor.busy or self._unsettled:
            return False
        if limits.jobs is not None and self._claimed >= limits.jobs:
            return True
        if limits.cycles is not None and self._cycles >= limits.cycles:
            return True
        return limits.when_empty and self._empty and not self.house.expects_soon

    def _register(self) -> None:
        self._started_at = self._started_at or time.monotonic()
        self.lease.worker_id = ""
        while not self.worker_id and not self.stop_signals.count:
            with self.outages.around() as reachable:
                if reachable:
                    self.lease.take(self.queues)
                    self.house.begin()
            if not self.worker_id:
                self._pause(max(self.outages.retry_at - time.monotonic(), 0.0))
        if self.worker_id:
            logger.info("STARTED worker %s on %s", self.worker_id, ", ".join(self.queues), extra=self._about_me())
            signals.worker_started.send_robust(type(self), worker_id=self.worker_id, queues=list(self.queues))
            self.console.started(self._as_started())

    def _leave(self) -> None:
        try:
            self.executor.stop()
            self.house.leave()
        finally:
            self._wakeup.close()
            self.outages.retry_at = 0.0  # one last try, whatever came before
            with self.outages.around():
                if self.worker_id:
                    self.renew_lease()  # for the counters on its row
                    self.backend.deregister(self.worker_id)
            logger.info("STOPPED worker %s: %d settled", self.worker_id, self._settled, extra=self._about_me())
            signals.worker_stopped.send_robust(type(self), worker_id=self.worker_id, queues=list(self.queues))
            self.console.stopped(self._settled)
            if self.restores_signals:
                self.stop_signals.restore()

    def _as_started(self) -> Started:
        executor = self.executor
        return Started(
            *(self.worker_id, socket.gethostname(), os.getpid(), list(self.queues)),
            *(executor.size, executor.isolation, self._started_at),
        )

    def _show(self) -> None:
        if time.monotonic() < self.console.due_at:
            return
        state = "running" if self._drain_until is None else "draining"
        self.console.show(
            Standing(
                "no store" if self.outages.lasts else state,
                self.executor.in_hand + len(self._unsettled),
                self.lease.until,
                self.executor.running(),
            )
        )

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
        if self._gathers():
            return
        batch, asked = self._unsettled, time.monotonic()
        with self.executor.beside(self.backend):
            answers = self.backend.settle_anyway(batch)
        now = time.monotonic()
        self._settle_at = now + min((now - asked) / SETTLING_SHARE, GATHER_SECONDS)
        self._unsettled = self._unsettled[len(batch) :]
        settled = []
        for s, answer in zip(batch, answers, strict=True):
            if answer:
                settled.append(s if answer is not Settled.CANCELLED else s._replace(transition=CANCEL, result=""))
            elif (unreported := completed_unreported(self.backend, s)) is not None:
                settled.append(unreported)
            else:
                logger.warning(
                    "job %s is not ours any more; its outcome (%s) is dropped", s.claim.id, s.transition.word
                )
        self._after(settled)

    def _gathers(self) -> bool:
        """Whether what is unsettled can wait for more: jobs of milliseconds would else have a commit each, which costs
        as much as they do. Never after a pause, nor when nothing more is to come.
        """
        unsettled, done = self._unsettled, self.executor.done
        return (
            0 < len(unsettled) + len(done) < ENOUGH
            and time.monotonic() < self._settle_at
            and self._drain_until is None
            and self.executor.in_hand > len(done)
            and not any(s.claim.suspect for s in unsettled)
            and not any(f.claim.suspect for f in done)
        )

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
                self.house.expect(transition.delay)
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

    def _is_ours(self) -> bool:
        """Whether what we hold is still ours. Renews the lease when that is due."""
        self._lost = self._lost or (self.lease.is_due and not self.renew_lease())
        return not self._lost

    def renew_lease(self) -> bool:
        """Prolong the lease in the store. False: the worker is lost."""
        state = "running" if self._drain_until is None else "draining"
        running = self.executor.in_hand + len(self._unsettled)
        return self.lease.renew(state=state, running=running, settled=self._settled)

    def _guard_lease(self) -> None:
        """A coordinator that can't renew ends its children before the lease can end."""
        if self._lost:
            logger.error("this worker was taken for lost; what it held is others' now")
            self._begin_anew()
        elif self.executor.in_hand and not self.lease.is_firm:
            logger.error("the lease could not be renewed in time; ending what runs")
            self._unsettled += [give_back(claim) for claim in self.executor.abandon()]

    def _begin_anew(self) -> None:
        """Lost: end the children, forget what they did, and register under a new id."""
        self.executor.abandon()
        self._unsettled.clear()
        self._lost = False
        if self._drain_until is None:
            self._register()

    def _keep_house(self) -> None:
        self.cancels.look(self._wakeup)
        if self.house.keep(self._unsettled, draining=self._drain_until is not None):
            self._look_at = time.monotonic()
        if self._drain_until is None:
            self._unsettled += self.pauses.taken_back(self.order.names)

    def _find_queues(self) -> int:
        """Serve what has come to be on the queues of a prefix, and those from which there is something in hand."""
        if self.order.learn([*self.backend.queue_names(), *(claim.queue for claim in self.executor.claims())]):
            self._forget_wakeup()
            self._look_at = 0.0
        return 0

    # -- claiming -------------------------------------------------------------------------------------------------

    def _claim(self) -> None:
        now = time.monotonic()
        unsettled = self._unsettled and not self._gathers()
        if self._drain_until is not None or unsettled or not self.lease.is_firm:
            return
        self._open_wakeup()
        room = self._room()
        if room <= 0 or (now < self._look_at and not self._wakeup.ready()):
            return
        asked = room
        suspects = now >= self._suspects_at and not any(claim.suspect for claim in self.executor.claims())
        if suspects:
            self._suspects_at = now + self.poll_interval
        for queue in self.order.look():
            lone = self._take(queue, 1, suspect=True) if suspects else []
            if lone:
                self._claimed += 1
                self._submit(lone)  # at once: what fails next must not lose it
                room -= 1
                suspects = False  # one at a time: if this worker is lost again, it is known with what
            claims = self._take(queue, room) if room > 0 else []
            if lone or claims:
                self._wakeup.worked()
                self.order.took(queue, len(lone) + len(claims))
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
            self.console.empty(self.order.names)

    def _take(self, queue: str, limit: int, *, suspect: bool = False) -> list[Claim]:
        with self.executor.beside(self.backend):
            return self.backend.claim(queue, self.worker_id, limit, suspect=suspect)

    def _submit(self, claims: list[Claim]) -> None:
        if self.timeout is not None:
            claims = [claim._replace(timeout=self.timeout) for claim in claims]
        started = claims
        try:
            started, put_off = spare(self.backend, claims)
            self._unsettled += put_off
        finally:
            self.executor.submit(started)

    def _open_wakeup(self) -> None:
        if not self._listening:
            self._wakeup, self._listening = self.backend.wakeup(self.order.names), True

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
        """Sleep until something happens: outcomes that are to be settled, a death, a signal, a wake-up, or the next
        thing that is due.
        """
        if self._unsettled and self.outages.retry_at <= time.monotonic() and not self._gathers():
            return
        seconds, watched = self._idle_seconds(), self._watched()
        until = time.monotonic() + seconds
        listens = not self.outages.lasts and self._wants_jobs()
        reports = self.executor.filenos()[:1]
        while True:
            readable = self._pause(min(seconds, self._wakeup.interval) if listens else seconds, watched)
            if readable and readable == reports:
                self.executor.tend()
                if not self._gathers():
                    return
                until = min(until, self._settle_at)
            elif readable:
                return
            if (seconds := until - time.monotonic()) <= 0:
                return
            if listens and self._wakeup.ready():  # only this, 200 times a second on SQLite: a turn costs ten times that
                self._look_at = 0.0
                return

    def _idle_seconds(self) -> float:
        now = time.monotonic()
        draining = self._drain_until is not None
        due = [self.lease.renew_at, self.executor.next_deadline(), self.house.due_at(draining=draining)]
        due.append(self.console.due_at)
        due.append(self.cancels.due_at(self._wakeup))
        if self._unsettled:
            due.append(self._settle_at)
        if self._drain_until is not None:
            due.append(self._drain_until)
        elif self._wants_jobs():
            due.append(self._look_at)
        if self.limits.seconds is not None and not draining:
            due.append(self._started_at + self.limits.seconds)
        wait = max(min(due) - now, 0.0)
        if self.outages.lasts:
            wait = max(min(self.outages.retry_at - now, 1.0), 0.001)
        return min(wait, 5.0)

    def _watched(self) -> select.poll:
        """What may have something to read. Made anew for each wait: to keep it in step would cost more."""
        poll = select.poll()
        fds = [self.stop_signals.fileno(), *self.executor.filenos()]
        listens = not self.outages.lasts and (self._wants_jobs() or self.cancels.listens)
        if listens and (fd := self._wakeup.fileno()) is not None:
            fds.append(fd)
        for fd in fds:
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        return poll

    def _pause(self, seconds: float, watched: select.poll | None = None) -> list[int]:
        """Sleep until something can be read, and answer what."""
        readable = [fd for fd, _ in (watched or self._watched()).poll(math.ceil(seconds * 1000))]
        if self.stop_signals.fileno() in readable:
            self.stop_signals.clear()
        return readable

    # -- the end ----------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Claim no more, give back what was not started, let what runs finish in time, else kill it."""
        self._drain_until = time.monotonic() + conf.shutdown_timeout
        self.house.end()
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
        self.console.drained()
