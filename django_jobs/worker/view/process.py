"""The view's process, as its owner holds it: forked before any coordinator works, sent news, and ended."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import signal
import sys
import tempfile
import time
import traceback
from typing import Any

from ...logs import get_logger
from ..channel import Channel, Port, TooBig
from ..template import close_connections
from .terminal import Terminal

logger = get_logger("worker")

END_SECONDS = 2.0
MOST_OUTPUT_BYTES = 1_000_000
END = ()
"""The last message: there is no more news."""


class View:
    """A process that draws on the terminal of the standard output.

    While it does, what this process and its children print goes to a file, of which the view shows the end. A view that
    is stuck loses news, one that is gone loses the terminal to us: neither keeps anybody waiting.
    """

    def __init__(self, *, coloured: bool = True) -> None:
        self.coloured = coloured
        self.owner = os.getpid()
        self.pid = 0
        self.gone = False
        self.terminal = Terminal(sys.stdout.fileno())
        self._output = tempfile.TemporaryFile(prefix="django_jobs-output-", buffering=0)  # noqa: SIM115
        self._cleared_up = mmap.mmap(-1, 1)  # shared with the processes that are forked from this one
        self._printed: dict[int, int] = {}
        self._port: Port

    def start(self) -> None:
        """Fork it. Closes every database connection first, as none may cross a fork."""
        close_connections()
        sys.stdout.flush()
        sys.stderr.flush()
        channel = Channel()
        try:
            self.pid = os.fork()
        except OSError:
            channel.close()
            self._output.close()
            self.terminal.close()
            raise
        if self.pid == 0:
            status = 1
            try:
                channel.near.close()
                from .screen import watch  # loads rich, here alone

                watch(Port(channel.far), self.terminal, self._output.fileno(), self.owner, coloured=self.coloured)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        channel.far.close()
        self._port = Port(channel.near)
        try:
            self._capture()
        except OSError:
            self.close()
            raise

    def send(self, message: Any) -> bool:
        """Send news without waiting. False: it did not take them, or is gone."""
        if self.gone:
            return False
        try:
            return self._port.try_send(message)
        except TooBig:
            return False
        except OSError:
            self.give_up()
            return False

    def give_up(self) -> None:
        """It is gone, or is to be: take the terminal back."""
        if not self.gone:
            self.gone = True
            self._clear_up()
            self._release()

    def _clear_up(self) -> None:
        """What it has drawn, unless one of our processes has: a second time would take the cursor back up."""
        self.terminal.restore(screen=not self._cleared_up[0])
        self._cleared_up[0] = 1

    def trim(self) -> None:
        """Keep the file of what is printed small."""
        with contextlib.suppress(OSError, ValueError):
            if os.fstat(self._output.fileno()).st_size > MOST_OUTPUT_BYTES:
                os.ftruncate(self._output.fileno(), 0)

    def close(self) -> None:
        """End it, and have the terminal as it was. It gets two seconds."""
        if os.getpid() != self.owner or not self.pid:
            return
        if not self.gone:
            self._release()
            with contextlib.suppress(OSError):
                self._port.try_send(END)
        self._port.end.close()
        if _ended(self.pid):
            self.terminal.restore(screen=False)
        else:
            self._clear_up()
        self.gone = True
        self.pid = 0

    # -- what is printed ------------------------------------------------------------------------------------------

    def _capture(self) -> None:
        for fd in (1, 2):
            if os.isatty(fd):
                self._printed[fd] = os.dup(fd)
                os.set_inheritable(self._printed[fd], False)
        fcntl.fcntl(self._output.fileno(), fcntl.F_SETFL, os.O_APPEND)  # whoever writes, and after each trim
        for fd in self._printed:
            os.dup2(self._output.fileno(), fd)

    def _release(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        for fd, before in self._printed.items():
            os.dup2(before, fd)
            os.close(before)
        self._printed.clear()


def _ended(pid: int) -> bool:
    """Reap a process that was asked to end; kill it if it does not. Whether it ended well."""
    deadline = time.monotonic() + END_SECONDS
    with contextlib.suppress(ChildProcessError):
        while True:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                return status == 0
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return False
            time.sleep(0.005)
    return True  # somebody else has reaped it
