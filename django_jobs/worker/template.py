"""The template: a process with the site's code loaded, and without connections or threads, that forks the children."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
from typing import Any, NamedTuple

from django.db import connections

from .. import connections as job_connections
from ..conf import conf
from ..logs import get_logger
from . import orphans
from .channel import Channel, Port
from .child import Child, rehearse
from .crew import Crew
from .interrupts import die_with_parent, hear_of_the_end_of_the_parent, ignore_stop_signals
from .memory import use_huge_pages
from .slots import Slots
from .terms import Terms

logger = get_logger("worker")

WATCH_MILLISECONDS = 500


def close_connections() -> None:
    """Close every database connection and every pool of them, whose threads would be missing after a fork."""
    job_connections.forget()
    connections.close_all()
    for connection in connections.all(initialized_only=True):
        if (close_pool := getattr(connection, "close_pool", None)) is not None:
            close_pool()


class Death(NamedTuple):
    """A child that has ended. `status` is as `os.waitpid` gives it; `ended_for` is why the template ended it, if it
    did.
    """

    slot: int
    pid: int
    status: int
    ended_for: str = ""

    def __str__(self) -> str:
        if os.WIFSIGNALED(self.status):
            number = os.WTERMSIG(self.status)
            named = number in signal.Signals.__members__.values()  # most of the real-time signals have no name
            return f"killed by {signal.Signals(number).name if named else f'signal {number}'}"
        return f"ended with exit code {os.waitstatus_to_exitcode(self.status)}"


class Template:
    """The coordinator's handle of the template process."""

    def __init__(self, slots: Slots, jobs: Channel, reports: Channel, terms: Terms) -> None:
        self.slots = slots
        self.jobs = jobs
        self.reports = reports
        self.terms = terms
        self.pid = 0
        self._control: Channel | None = None
        self._port: Port | None = None

    def start(self) -> None:
        """Fork the template. Every database connection is closed first: none may cross a fork."""
        close_connections()
        sys.stdout.flush()
        sys.stderr.flush()
        control = Channel()
        coordinator = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            control.close()
            raise
        if pid == 0:
            status = 1
            try:
                control.near.close()
                self.jobs.near.close()
                self.reports.near.close()
                mother = _Mother(self, Port(control.far), coordinator)
                try:
                    mother.main()
                finally:
                    mother.end_children()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        control.far.close()
        self.pid, self._control, self._port = pid, control, Port(control.near)

    @property
    def started(self) -> bool:
        """Whether there is a process to ask for children."""
        return self._port is not None

    def spawn(self, slot: int) -> None:
        """Ask for a child in `slot`."""
        if self._port is not None:
            try:
                self._port.send(slot)
            except OSError:
                logger.warning("the template is gone")

    def deaths(self) -> list[Death] | None:
        """Children that have ended since. None: the template itself has."""
        found: list[Death] = []
        if self._port is None:
            return None
        while True:
            try:
                size = self._port.end.recv(65536, socket.MSG_DONTWAIT | socket.MSG_PEEK)
            except (BlockingIOError, InterruptedError):
                return found
            except OSError:
                return None
            if not size:
                return found or None
            found.append(Death(*self._port.receive()))

    def fileno(self) -> int:
        """Readable when a child has ended, or the template has."""
        return -1 if self._port is None else self._port.fileno()

    def close(self) -> None:
        """End the template, and with it every child."""
        if self._control is None:
            return
        self._control.near.close()
        self._control = self._port = None
        if self.pid:
            _wait_for(self.pid)
            self.pid = 0


def _wait_for(pid: int) -> None:
    """Reap a process that was asked to end; kill it if it does not within five seconds."""
    deadline = time.monotonic() + 5.0
    with contextlib.suppress(ChildProcessError):  # SIGCHLD was ignored when we were started
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return
            time.sleep(0.002)


_NO_SLOT = -1
_SLOT_BYTES = 4


class _Spare(NamedTuple):
    """A child that waits for a slot. `key` is the end of a pipe over which it hears which one is its own."""

    pid: int
    key: int

    def take(self, slot: int) -> bool:
        """Let it into the slot. False: it has died."""
        try:
            os.write(self.key, slot.to_bytes(_SLOT_BYTES))
        except BrokenPipeError:
            return False
        finally:
            os.close(self.key)
        return True


def _slot_heard(gate: int) -> int:
    """The slot that comes through the pipe, `_NO_SLOT` where the template has ended."""
    try:
        heard = os.read(gate, _SLOT_BYTES)
    finally:
        os.close(gate)
    return int.from_bytes(heard) if heard else _NO_SLOT


class _Mother:
    """What runs in the template process."""

    def __init__(self, template: Template, control: Port, coordinator: int) -> None:
        self.template = template
        self.control = control
        self.coordinator = coordinator
        self.children: dict[int, int] = {}
        self.ended_for: dict[int, str] = {}
        self.spare: _Spare | None = None
        self.alarm = socket.socketpair()
        t = template
        if t.terms.isolation == "fork":
            with contextlib.suppress(Exception):  # what is wrong with the site is told where its jobs run
                rehearse(t.terms)
        kind = Child if t.terms.concurrency == 1 else Crew
        self.child: Any = kind(t.slots, Port(t.jobs.far), Port(t.reports.far), os.getpid(), t.terms)

    def main(self) -> None:
        os.setpgid(0, 0)
        ignore_stop_signals()
        orphans.adopt()
        near, far = self.alarm
        near.setblocking(False)
        far.setblocking(False)
        signal.set_wakeup_fd(far.fileno(), warn_on_full_buffer=False)
        hear_of_the_end_of_the_parent(signal.SIGTERM)  # not SIGKILL: the children, and what they started, end first
        gc.collect()
        gc.freeze()  # shared pages stay shared: the collector does not touch what the children inherit
        if self.template.terms.isolation == "fork":
            use_huge_pages()  # they are this process's own then, not the coordinator's too: worth it for many forks
        poll = select.poll()
        poll.register(self.control.fileno(), select.POLLIN)
        poll.register(near.fileno(), select.POLLIN)
        while os.getppid() == self.coordinator:
            self.report_deaths()
            self.end_overdue()
            for fd, _ in poll.poll(WATCH_MILLISECONDS):
                if fd == near.fileno():
                    near.recv(4096)
                elif (slot := self.control.receive()) is None:
                    return
                else:
                    self.fork(slot)

    def fork(self, slot: int) -> None:
        """Fork a child for a slot."""
        try:
            self.children[self.fork_child(slot)] = slot
        except OSError as error:
            # No memory, or no process to spare: as if the child had died at its start, so that it comes later.
            logger.error("a child could not be started: %s", error)
            self.control.send((slot, -1, os.EX_OSERR << 8, ""))

    def follow(self, slot: int) -> None:
        """Fill the slot of a child that has done its one job, with one that waits for a slot already: a job need not
        wait for a fork.
        """
        self.template.slots.arrive(slot, 0)
        spare, self.spare = self.spare, None
        if spare is not None and spare.take(slot):
            self.children[spare.pid] = slot
        else:
            self.fork(slot)
        self.fork_spare()

    def fork_spare(self) -> None:
        """Fork a child that waits for a slot. Where that can't be, there is none."""
        with contextlib.suppress(OSError):
            gate, key = os.pipe()
            try:
                pid = self.fork_child(_NO_SLOT, gate, key)
            except OSError:
                os.close(key)
            else:
                self.spare = _Spare(pid, key)
                self.children[pid] = _NO_SLOT
            os.close(gate)

    def fork_child(self, slot: int, gate: int | None = None, key: int | None = None) -> int:
        """The process id of a new child. Raises `OSError`."""
        if job_connections.are_open():  # which a site's log has opened here
            close_connections()
        if pid := os.fork():
            return pid
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for end in (*self.alarm, self.control.end):
                end.close()
            if key is None and self.spare is not None:
                key = self.spare.key
            if key is not None:
                os.close(key)  # only the template has it: where that ends, the spare child hears of it
            os.setpgid(0, 0)
            die_with_parent(self.child.parent)
            orphans.adopt()
            if gate is not None:
                slot = _slot_heard(gate)
            self.child.slot = slot
            status = 0 if slot != _NO_SLOT and self.child.main() else os.EX_UNAVAILABLE
        except BaseException:
            traceback.print_exc()
        finally:
            try:
                job_connections.close()
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(status)

    def report_deaths(self) -> None:
        """Tell the coordinator of children that have ended, and end what they have left behind.

        One that has done its one job is followed at once: a message there and back would take too long.
        """
        some = False
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                some = True
                pid, status = ended
                slot = self.children.pop(pid, None)
                if slot is None:
                    continue
                if self.template.terms.are_for_one and status == 0 and not self.template.slots.message(slot):
                    self.follow(slot)
                elif slot != _NO_SLOT:
                    self.control.send((slot, pid, status, self.ended_for.pop(pid, "")))
        if some:
            orphans.end_all_but(self.children)

    def end_overdue(self) -> None:
        """The coordinator ends what is overdue. Should it be stuck, as behind somebody's lock in the store, this
        does.
        """
        now = time.monotonic()
        slots = self.template.slots
        for pid, first in self.children.items():
            if first == _NO_SLOT:
                continue
            at_work = [s for s in range(first, first + self.template.terms.concurrency) if slots.job(s)]
            if pid in self.ended_for or not at_work:
                continue
            if now > slots.lease_until:
                self.ended_for[pid] = "lease"
            elif now > min(map(slots.deadline, at_work)) + 2 * conf.kill_grace + 1.0:
                self.ended_for[pid] = "deadline"
            else:
                continue
            kill_group(pid)

    def end_children(self) -> None:
        """End the children and whatever they have started."""
        for pid in self.children:
            kill_group(pid)
        with contextlib.suppress(ChildProcessError):
            while True:
                orphans.end_all_but(())
                os.waitpid(-1, 0)


def kill_group(pid: int) -> None:
    """SIGKILL a child and whatever it started in its process group."""
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
