"""`Program`: one that runs, in a process group of its own, while the end of what it prints is kept."""

from __future__ import annotations

import codecs
import contextlib
import math
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

from ..exceptions import ProgramFailed
from ..tail import Tail

BYTES = 65_536
LAST_READS = 32  # more than any pipe holds
SHORTEST, LONGEST = 0.001, 0.1
"""Between two looks at a program that prints nothing, in seconds."""
KILL_SECONDS = 1.0
STRIKING = (signal.SIGALRM, signal.SIGURG, signal.SIGINT)
"""Signals whose handlers may raise: deadlines, cancels, Ctrl-C."""


class Program:
    """Runs a program once. What it prints is read as it comes, so that it never waits for us."""

    def __init__(self, argv: Sequence[str], variables: Mapping[str, str], most_characters: int) -> None:
        self.argv = argv
        self.variables = variables
        self.output = Tail(most_characters)
        """The end of what it has printed."""
        self.errors = Tail(most_characters)
        """The end of its standard error."""
        self._pipes = selectors.DefaultSelector()

    def run(self, look: Callable[[], None], grace: float) -> int:
        """Run it to its end; answers its exit code, negative for a signal. `look` is called again and again.

        However this ends, by an error that strikes or that `look` raises too, nothing of the program's group is left.
        Before its time it gets SIGTERM, and SIGKILL after `grace` seconds.

        Raises `ProgramFailed` where nobody can say how it has ended.
        """
        process: subprocess.Popen[bytes] | None = None
        with self._pipes, _ends_kept():
            try:
                with _unstruck():  # as nobody would know of a program that was started and has no name here yet
                    process = self._started()
                    self._attach(process.stdout, self.output)
                    self._attach(process.stderr, self.errors)
                self._follow(process, look)
            except BaseException:
                if process is not None:
                    _signal(process, signal.SIGTERM)
                    self._follow(process, lambda: None, until=time.monotonic() + grace)
                raise
            finally:
                if process is not None:
                    _signal(process, signal.SIGKILL)
                    is_known = _is_ours(process)
                    with contextlib.suppress(subprocess.TimeoutExpired):  # another user's, as by sudo
                        process.wait(KILL_SECONDS)
                    self._read_the_rest()
            if not is_known:  # Popen says 0 then
                raise ProgramFailed(f"somebody else has waited for {self.argv[0][:200]!r}: how it ended is not known.")
            return process.returncode

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - no shell; the handler has looked whether it is allowed
            self.argv,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def _attach(self, pipe: IO[bytes] | None, tail: Tail) -> None:
        assert pipe is not None  # noqa: S101 - it was asked for
        os.set_blocking(pipe.fileno(), False)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pipes.register(pipe, selectors.EVENT_READ, (pipe, decoder, tail))

    def _follow(self, process: subprocess.Popen[bytes], look: Callable[[], None], until: float = math.inf) -> None:
        """Read what it prints until it has exited, or the moment has come."""
        pause = SHORTEST
        while not _has_exited(process) and time.monotonic() < until:
            look()
            pause = SHORTEST if self._read(pause) else min(2 * pause, LONGEST)

    def _read(self, seconds: float) -> bool:
        """Read what is there, or comes within some seconds. False: nothing did."""
        ready = self._pipes.select(seconds)
        for key, _events in ready:
            pipe, decoder, tail = key.data
            part = os.read(key.fd, BYTES)
            tail.write(decoder.decode(part, final=not part))
            if not part:
                self._close(pipe)
        return bool(ready)

    def _read_the_rest(self) -> None:
        """Read what is there. Somebody who has left the group may hold the other end, and print for ever."""
        for _ in range(LAST_READS):
            if not self._read(0):
                break
        for key in list(self._pipes.get_map().values()):
            self._close(key.data[0])

    def _close(self, pipe: IO[bytes]) -> None:
        self._pipes.unregister(pipe)
        pipe.close()


def _has_exited(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has, without taking it away: as long as it is there, no other group can have its number."""
    if not hasattr(os, "waitid"):  # macOS, before Python 3.13
        return process.poll() is not None
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # somebody else has waited for it
        return True


def _is_ours(process: subprocess.Popen[bytes]) -> bool:
    """Whether it is there to be waited for, or has been by us."""
    if process.returncode is not None or not hasattr(os, "waitid"):
        return True
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to the program and all that is in its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


@contextmanager
def _ends_kept() -> Iterator[None]:
    """Where SIGCHLD is ignored, as by whoever has started this process, the system keeps of no child how it has ended.
    Raises `ProgramFailed` where that can't be put right: an end in failure would pass for a good one.
    """
    if signal.getsignal(signal.SIGCHLD) is not signal.SIG_IGN:
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        raise ProgramFailed("this process ignores SIGCHLD, so how a program ends would not be known: it is not run.")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)


@contextmanager
def _unstruck() -> Iterator[None]:
    """What signals raise meanwhile, such as `JobTimeout`, is raised at the end. Programs that are started have signals
    as ever, which they would not if these were blocked.
    """
    came: list[int] = []
    handlers: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():  # elsewhere nothing strikes
        handlers = {number: handler for number in STRIKING if callable(handler := signal.getsignal(number))}
    try:
        for number in handlers:
            signal.signal(number, lambda number, frame: came.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for strike in came:
            signal.raise_signal(strike)
