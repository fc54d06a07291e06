"""The standard output and error of a process that works on when nobody reads them, or when nothing more can be written.

What can't be written is dropped: no worker ends and no job fails because it prints.
"""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from django.utils.translation import ngettext

STREAMS = {"stdout": 1, "stderr": 2}
_FOR_GOOD = (errno.EPIPE, errno.EIO, errno.ENXIO, errno.EBADF)
"""Nobody will ever read it: a pipe without a reader, a terminal that was closed. A full disk may have room again."""

MOST_HELD = 1_000_000
LAST_SECONDS = 2.0
"""For the reader of what is held at the end."""

_readers = select.poll()
_watched: list[int] = []


class _Lasting(io.FileIO):
    """A descriptor that takes whatever is written."""

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        try:
            written = super().write(data)
        except OSError as error:
            if error.errno in _FOR_GOOD:
                drop(self.fileno())
            return size
        return size if written is None else written  # None: it must not wait, and there is no room


def open_what_is_closed() -> None:
    """Have all three standard streams. One that was closed when we were started, as by `<&-`, reads and writes nothing.

    To be called early: what is opened before, such as a socket, comes to be in its place, and programs inherit it.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= max(STREAMS.values()):
        os.set_inheritable(fd, True)
    os.close(fd)
    for name, fd in {"stdin": 0, **STREAMS}.items():
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, "r" if fd == 0 else "w", closefd=False))  # noqa: SIM115


def make_lasting() -> None:
    """Have the standard streams of this process and its forks outlast their readers. What holds the streams of before,
    as a log may, goes on with those.
    """
    for name, fd in STREAMS.items():
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and stream.fileno() == fd:  # else it is somebody's own
            setattr(sys, name, _lasting(stream, fd))
    watched = [fd for fd in STREAMS.values() if _has_a_reader(fd)]
    for fd in STREAMS.values() if watched else ():  # both, as one may come to be where the other is
        _readers.register(fd, 0)
    _watched[:] = watched


def look() -> None:
    """Between two jobs: where a reader is gone, spare the programs that the next one may start."""
    if _watched:
        with suppress(RuntimeError):  # another thread looks just now
            for fd, _event in _readers.poll(0):
                drop(fd)


def drop(fd: int) -> None:
    """Have what is written to this descriptor go nowhere from now on."""
    with suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, fd)
        if null != fd:
            os.close(null)


class Outlet:
    """Text for whoever reads a pipe or a terminal. It is held while nobody does, up to `MOST_HELD` bytes; `left_out` is
    how many lines came after. Raises OSError where nobody ever will.
    """

    def __init__(self, stream: TextIO) -> None:
        self.left_out = 0
        self._encoding = stream.encoding or "utf-8"
        self._stream = stream
        self._held = bytearray()

    @classmethod
    def of(cls, stream: TextIO) -> Outlet | None:
        """None where a write never waits for a reader, as into a file."""
        try:
            return cls(stream) if _has_a_reader(stream.fileno()) else None
        except (OSError, ValueError, AttributeError):
            return None

    @property
    def holds(self) -> bool:
        """Whether there is something for the next reader, or to be told to it."""
        return bool(self._held or self.left_out)

    def put(self, text: str) -> None:
        """Hold it until `empty` finds a reader."""
        if len(self._held) < MOST_HELD and not self.left_out:
            self._held += text.encode(self._encoding, "backslashreplace")
        else:
            self.left_out += text.count("\n")

    def empty(self, seconds: float = 0.0) -> bool:
        """Write what is held, and wait so long for a reader where there is none. Whether nothing is held any more."""
        self._stream.flush()  # it holds nothing of ours
        if not self._held:
            return True
        until = time.monotonic() + seconds
        with _without_waiting(self._stream.fileno()) as fd:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            while self._held:
                if not poll.poll(max(until - time.monotonic(), 0) * 1000):
                    return False
                try:
                    # So much fits a pipe that can be written to; whole lines, so that others write none between.
                    end = self._held.rfind(b"\n", 0, select.PIPE_BUF) + 1 or select.PIPE_BUF
                    written = os.write(fd, self._held[:end])
                except BlockingIOError:
                    return False
                del self._held[:written]
        return True

    def what_was_left_out(self) -> str:
        """To be told in its place."""
        n, self.left_out = self.left_out, 0
        return ngettext("%(n)d line is left out here", "%(n)d lines are left out here", n) % {"n": n}


class Patient:
    """A stream of lines that keeps nobody waiting for a reader that does not read just now. As that stream else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._outlet = Outlet.of(stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if self._outlet is None:
            return self._stream.write(text)
        self._outlet.put(text)
        self.flush()
        return len(text)

    def flush(self, seconds: float = 0.0) -> None:
        """Write what is held, and wait so long for a reader where there is none."""
        outlet = self._outlet
        if outlet is None:
            return self._stream.flush()
        try:
            if outlet.empty(seconds) and outlet.left_out:
                outlet.put(f"{outlet.what_was_left_out()}\n")
                outlet.empty(seconds)
        except OSError:
            self._outlet = None  # a lasting stream copes with it from here on


@contextmanager
def _without_waiting(fd: int) -> Iterator[int]:
    """Another descriptor of the same, on which no write waits; the same one where there can be none. To change the one
    that we have would change it for everybody who shares it; to keep the other one would keep the reader from hearing
    of an end.
    """
    mine = -1
    if _has_a_reader(fd):
        with suppress(OSError):
            mine = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        yield fd if mine < 0 else mine
    finally:
        if mine >= 0:
            os.close(mine)


def _has_a_reader(fd: int) -> bool:
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)


def _lasting(stream: io.TextIOWrapper, fd: int) -> io.TextIOWrapper:
    with suppress(OSError, ValueError):
        stream.flush()
    raw = _Lasting(fd, "w", closefd=False)
    is_buffered = not isinstance(stream.buffer, io.RawIOBase)
    return io.TextIOWrapper(
        io.BufferedWriter(raw) if is_buffered else raw,
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
