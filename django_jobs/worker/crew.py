"""A crew: a child that runs several jobs at once. What is `async def` runs in one event loop, the rest in threads.

Each job has a slot and a thread of its own, and its connections. A coroutine is cancelled when its time is up or a
cancel is asked for. A thread can't be interrupted: after the grace the coordinator kills the crew, and gives the other
jobs back, uncharged. A suspect job runs alone.

A job can keep the others from working, and so from ending in time: one that blocks the event loop, or holds the
interpreter. So the coordinator asks when a job's time is up. Of a crew that does not answer, nobody knows whose fault
that is: all of its jobs are suspects then.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from asgiref.sync import sync_to_async

from .. import awaiting
from ..exceptions import JobCancelled, JobTimeout
from ..runtime import Claim
from . import orphans
from .channel import Port
from .child import JOBS, Child
from .interrupts import CANCELLING, AlarmGuard
from .slots import CLOSED, Slots
from .terms import Terms


class LoopGuard(AlarmGuard):
    """The guard of a job beside others: interrupts what it awaits, and nothing else."""

    def __init__(self, *args: Any) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._error: BaseException | None = None
        super().__init__(*args)

    def install(self) -> None:
        """Take no signal: they are the crew's."""
        self._alarms = False

    def __enter__(self) -> AlarmGuard:
        self._error = None
        self._token = awaiting.interrupter.set(self)
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        awaiting.interrupter.reset(self._token)
        super().__exit__()

    # -- in the event loop ----------------------------------------------------------------------------------------

    def watch(self, task: asyncio.Task[Any]) -> asyncio.TimerHandle | None:
        """This task is what the job awaits; answers the timer of its end."""
        self._task = task
        self.look()
        if self._deadline == math.inf:
            return None
        return asyncio.get_running_loop().call_later(max(self._deadline - time.monotonic(), 0), self._time_is_up)

    def unwatch(self) -> BaseException | None:
        """The job awaits it no more. Answers why it was interrupted, if it was."""
        self._task = None
        return self._error

    def look(self) -> None:
        """Interrupt the job if its cancel was asked for."""
        if self._open and self._cancelled():
            self._strike(JobCancelled("a cancel was asked for"))

    def _time_is_up(self) -> None:
        if self._open:
            self._strike(JobTimeout(f"the job's time of {self._timeout:g} seconds is up"))

    def _strike(self, error: BaseException) -> None:
        if self._task is not None:
            self._close()
            self._error = error
            self._task.cancel()


class _Place(Child):
    """One of the places of a crew, with its slot."""

    alone = False
    guard: LoopGuard


@dataclass(slots=True)
class Crew:
    """Takes a message whenever one of its places is free."""

    slots: Slots
    inbox: Port
    outbox: Port
    parent: int
    terms: Terms
    slot: int = 0
    _places: list[_Place] = field(default_factory=list)
    _free: asyncio.Queue[_Place] = field(init=False)
    _at_work: set[asyncio.Task[None]] = field(default_factory=set)
    _threads: ThreadPoolExecutor = field(init=False)

    def main(self) -> bool:
        """Work until the crew is to be replaced. False: until the worker was gone."""
        for slot in range(self.slot, self.slot + self.terms.concurrency):
            self.slots.arrive(slot, os.getpid())
            place = _Place(self.slots, self.inbox, self.outbox, self.parent, self.terms, slot, LoopGuard)
            self._places.append(place)
        return asyncio.run(self._work())

    async def _work(self) -> bool:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(CANCELLING, self._look)
        self._threads = ThreadPoolExecutor(self.terms.concurrency, "django_jobs-place")
        self._free = asyncio.Queue()
        for place in self._places:
            self._free.put_nowait(place)
        done = 0
        while True:
            place = await self._free.get()
            if self.terms.are_over(done) or self._has_left_something():
                break
            message = await self._receive()
            if message is None or os.getppid() != self.parent:
                return False
            kind, number, content = message
            self.slots.take(place.slot, number)
            alone = kind == JOBS and any(Claim._make(fields).suspect for _, fields in content)
            if alone:
                await self._finish()
            task = loop.create_task(self._serve(place, kind, content))
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)
            if alone:
                await self._finish()
                self._reopen()
            done += kind == JOBS
        await self._finish()
        return True

    async def _serve(self, place: _Place, kind: int, content: Any) -> None:
        try:
            if await sync_to_async(place.serve, thread_sensitive=False, executor=self._threads)(kind, content):
                self._free.put_nowait(place)
        except BaseException:  # of the crew itself, as when its worker is gone: as any child would end
            traceback.print_exc()
            os._exit(1)

    async def _receive(self) -> Any:
        """The next message; None: the other end is closed."""
        while (message := self.inbox.try_receive()) is None:
            if self.inbox.is_closed():
                return None
            await _readable(self.inbox.fileno())
        return message

    async def _finish(self) -> None:
        """Until nothing is at work. Places that are free meanwhile say that they take nothing: so the coordinator lets
        no job wait for them.
        """
        while True:
            for place in self._places:
                if not self.slots.message(place.slot):
                    self.slots.shut(place.slot)
            if not self._at_work:
                return
            await asyncio.wait(self._at_work, return_when=asyncio.FIRST_COMPLETED)

    def _reopen(self) -> None:
        for place in self._places:
            if self.slots.message(place.slot) == CLOSED:
                self.slots.leave(place.slot)

    def _has_left_something(self) -> bool:
        """Whether a job that was ended early has left processes, which end with the crew."""
        return any(place.ended_early for place in self._places) and bool(orphans.children())

    def _look(self) -> None:
        """Asked to: for cancels, and whether we are able to do anything."""
        now = time.monotonic()
        for place in self._places:
            place.guard.look()
            if now > self.slots.deadline(place.slot):
                self.slots.answer(place.slot)


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
