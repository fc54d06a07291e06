"""Signals: deadlines in whoever runs a handler and whoever asks the store, and children that do not outlive their
parent.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from types import FrameType
from typing import Any

from ..exceptions import JobCancelled, JobTimeout, StoreUnavailable
from ..logs import get_logger

logger = get_logger("worker")

_PR_SET_PDEATHSIG = 1
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
CANCELLING = signal.SIGURG
"""Tells a process that its job may have been cancelled. Where nobody listens for it, it does nothing: one that comes
late, to a process that has ended, harms nobody who has its number now.
"""


def ignore_stop_signals() -> None:
    """In the template and its children: the coordinator decides when they end. A no-op handler, as an ignored signal
    would be passed on to programs that a handler starts.
    """
    signal.set_wakeup_fd(-1)
    for number in (*STOPPING, signal.SIGCHLD):
        signal.signal(number, _nothing)


def _nothing(number: int, frame: FrameType | None) -> None:
    return


def die_with_parent(parent: int) -> None:
    """End this process when its parent ends (Linux), and at once if it has ended already."""
    hear_of_the_end_of_the_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def hear_of_the_end_of_the_parent(number: signal.Signals) -> None:
    """Have this signal sent to this process when its parent ends (Linux)."""
    if sys.platform == "linux":
        prctl()(_PR_SET_PDEATHSIG, number, 0, 0, 0)


@cache
def prctl() -> Any:
    """The function of the C library by which Linux takes wishes of a process. Made ready once, for all forks."""
    function = ctypes.CDLL(None, use_errno=True).prctl
    function.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    return function


class Patience:
    """Around the use of a store: raises `StoreUnavailable` where it has not answered for `seconds`, through SIGALRM.

    A server that hangs, or a network that swallows what is sent, may keep a connection open without an answer for ever.
    It raises again each second, as what clears up after the first error may wait for the same answer.

    What is done meanwhile it does not interrupt: while `busy` says so, it leaves it at that until the next second.

    Outside the main thread, where Python takes no signals, it raises nothing.
    """

    def __init__(self, seconds: float, busy: Callable[[], bool] = bool) -> None:
        self.seconds = seconds
        self._busy = busy
        self._until = math.inf
        self._alarms = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> None:
        if self._alarms:
            self._until = time.monotonic() + self.seconds
            signal.signal(signal.SIGALRM, self._ring)
            signal.setitimer(signal.ITIMER_REAL, self.seconds, 1.0)

    def __exit__(self, *_: object) -> None:
        if self._alarms:
            self._until = math.inf
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if time.monotonic() >= self._until and not self._busy():
            raise StoreUnavailable(f"no answer for {self.seconds:g} seconds")


class AlarmGuard:
    """Raises `JobTimeout` in the handler when its time is up, through SIGALRM. `on_deadline` is told when that will be.

    Raises `JobCancelled` in it when `CANCELLING` comes and `cancelled` says that it is this job that is meant, or has
    been when it starts. Of the two, one strikes, and once: a handler that goes on is ended from outside.

    The timer is set as seldom as can be, for it costs as much as a quick job: one that runs is left to ring, finds that
    its job is long done, and is set anew for the one that runs then.

    Outside the main thread, where Python takes no signals, it raises nothing.
    """

    def __init__(
        self,
        on_deadline: Callable[[float | None], None] | None = None,
        cancelled: Callable[[], bool] = bool,
    ) -> None:
        self._on_deadline = on_deadline
        self._cancelled = cancelled
        self._open = False  # the handler runs, and has not been struck
        self._timeout: float | None = None
        self._deadline = math.inf
        self._rings_at = math.inf
        self._alarms = threading.current_thread() is threading.main_thread()
        self.install()

    def install(self) -> None:
        """Take the signals over, again after jobs that may have taken, blocked or stopped them."""
        if self._alarms:
            signal.signal(signal.SIGALRM, self._ring)
            signal.signal(CANCELLING, self._hear)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGALRM, CANCELLING))
            left, _ = signal.getitimer(signal.ITIMER_REAL)
            self._rings_at = time.monotonic() + left if left else math.inf

    def __call__(self, timeout: float | None) -> AlarmGuard:
        self._timeout = timeout
        return self

    def __enter__(self) -> AlarmGuard:
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        if self._on_deadline is not None:
            self._on_deadline(deadline)
        if deadline is not None:
            self._deadline = deadline
            if self._alarms and deadline < self._rings_at:
                self._set()
        self._open = True
        if self._cancelled():  # before a signal could strike
            self._close()
            raise JobCancelled("a cancel was asked for")
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        self._open = False
        self._deadline = math.inf

    def _set(self) -> None:
        self._rings_at = self._deadline
        signal.setitimer(signal.ITIMER_REAL, max(self._deadline - time.monotonic(), 1e-6))

    def _ring(self, number: int, frame: FrameType | None) -> None:
        self._rings_at = math.inf
        if self._deadline == math.inf:
            return
        if time.monotonic() < self._deadline:
            self._set()
            return
        self._close()
        raise JobTimeout(f"the job's time of {self._timeout:g} seconds is up")

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._open and self._cancelled():
            self._close()
            raise JobCancelled("a cancel was asked for")
