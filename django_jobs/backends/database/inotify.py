"""Hearing from the kernel that a file has changed: inotify, which Linux has (inotify(7))."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterable

_MODIFY = 0x2
_FLAGS = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)  # the kernel's own numbers for IN_NONBLOCK and IN_CLOEXEC
_READ_BYTES = 65_536


class FileChanges:
    """Can be read when one of some files has been written to since the last `take()`.

    Raises `OSError` where the system has no such thing, or has none left, or a file is not there.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        if sys.platform != "linux":
            raise OSError("only Linux has inotify")
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = _checked(libc.inotify_init1(_FLAGS))
        try:
            for path in paths:
                _checked(libc.inotify_add_watch(self._fd, os.fsencode(path), ctypes.c_uint32(_MODIFY)))
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        """The descriptor to watch."""
        return self._fd

    def take(self) -> bool:
        """Take in what has arrived; answers whether anything has."""
        some = False
        with contextlib.suppress(BlockingIOError):
            while os.read(self._fd, _READ_BYTES):
                some = True
        return some

    def close(self) -> None:
        """Hear of nothing any more."""
        os.close(self._fd)


def _checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer
