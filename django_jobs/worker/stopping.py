"""Signals that ask a worker to stop, or to start anew."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from types import FrameType
from typing import Any

from .interrupts import STOPPING


class StopSignals:
    """What was asked for by signals. A handler of theirs sets a flag and writes one byte, nothing else.

    SIGTERM and SIGINT ask to stop; SIGHUP asks to stop and start anew. Where both came, in whatever order, it is a
    stop. With `parent`, the end of that process asks to stop too.
    """

    def __init__(self, parent: int = 0) -> None:
        self.parent = parent
        self.installed = False
        self._stops = 0
        self._hangups = 0
        self._near, self._far = socket.socketpair()
        for end in (self._near, self._far):
            end.setblocking(False)
        self._previous: dict[int, Any] = {}
        self._previous_fd = -1
        self.terminals = [fd for fd in (0, 1, 2) if os.isatty(fd)]
        """Those that the worker was started on. Empty where it has left them."""

    @property
    def count(self) -> int:
        """How often a stop was asked for. A start anew counts as the first one only: it never shortens a drain."""
        asked = self._stops or min(self._hangups, 1)
        return asked or int(self.parent not in (0, os.getppid()))

    @property
    def wants_reload(self) -> bool:
        """Whether to start anew after the drain. A terminal that was closed sends SIGHUP too, and means a stop."""
        lost_terminal = self.terminals and not any(map(os.isatty, self.terminals))
        return bool(self._hangups) and not self._stops and not lost_terminal

    def install(self) -> None:
        """Take the signals over, with those that came while they were blocked. Only the main thread may."""
        self.installed = True
        self._previous_fd = signal.set_wakeup_fd(self._far.fileno(), warn_on_full_buffer=False)
        for number in STOPPING:
            self._previous[number] = signal.signal(number, self._note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)

    def restore(self) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self.forget()
        signal.set_wakeup_fd(self._previous_fd)

    def hold(self) -> None:
        """From now on signals wait: for the program that this process starts, or in vain, as it is about to end."""
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)

    def forget(self) -> None:
        """In a process that was forked, and takes the signals over itself: close what is its parent's."""
        self.installed = False
        self._near.close()
        self._far.close()

    def fileno(self) -> int:
        """Readable when a signal came."""
        return self._near.fileno()

    def clear(self) -> None:
        """Take in the bytes that woke us."""
        with contextlib.suppress(BlockingIOError):
            while self._near.recv(4096):
                pass

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._hangups += 1
        else:
            self._stops += 1
