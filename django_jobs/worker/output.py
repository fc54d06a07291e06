"""The standard output and error of a process that works on when nobody reads them, or when nothing more can be written.

What can't be written is dropped: no worker ends and no job fails because it prints.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import stat
import sys
from typing import Any

STREAMS = {"stdout": 1, "stderr": 2}
_FOR_GOOD = (errno.EPIPE, errno.EIO, errno.ENXIO, errno.EBADF)
"""Nobody will ever read it: a pipe without a reader, a terminal that was closed. A full disk may have room again."""

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


def make_lasting() -> None:
    """Have the standard streams of this process and its forks outlast their readers. What holds the streams of before,
    as a log may, goes on with those.
    """
    for name, fd in STREAMS.items():
        stream = getattr(sys, name)
        if stream is None:  # it was closed when we were started
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for as long as the process lives
        elif isinstance(stream, io.TextIOWrapper) and stream.fileno() == fd:  # else it is somebody's own
            setattr(sys, name, _lasting(stream, fd))
    watched = [fd for fd in STREAMS.values() if _may_lose_its_reader(fd)]
    for fd in STREAMS.values() if watched else ():  # both, as one may come to be where the other is
        _readers.register(fd, 0)
    _watched[:] = watched


def look() -> None:
    """Between two jobs: where a reader is gone, spare the programs that the next one may start."""
    if _watched:
        for fd, _event in _readers.poll(0):
            drop(fd)


def drop(fd: int) -> None:
    """Have what is written to this descriptor go nowhere from now on."""
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, fd)
        if null != fd:
            os.close(null)


def _lasting(stream: io.TextIOWrapper, fd: int) -> io.TextIOWrapper:
    with contextlib.suppress(OSError, ValueError):
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


def _may_lose_its_reader(fd: int) -> bool:
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)
