"""A worker in the background: what starts it waits until it has begun, so that errors reach the terminal."""

from __future__ import annotations

import os
import sys

from .template import close_connections


class Launch:
    """Parts the process in two: the worker, and the one that was called, which waits for it to begin."""

    def __init__(self) -> None:
        self._begun, self._tell = os.pipe()

    def part(self) -> int | None:
        """Fork. In the worker it answers None; in the one that was called its exit code, once the worker has begun,
        or has ended without.
        """
        close_connections()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(self._begun)
            os.setsid()
            return None
        os.close(self._tell)
        told = os.read(self._begun, 1)
        os.close(self._begun)
        return 0 if told else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) or 1

    def begun(self) -> None:
        """In the worker: what could go wrong at the start has not."""
        os.write(self._tell, b".")
        os.close(self._tell)


def write_to(path: str | None) -> None:
    """Have what is printed from now on appended to this file, or dropped. Nothing is read from now on.

    Raises OSError. A link is not followed.
    """
    how = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    out = os.open(os.devnull, os.O_WRONLY) if path is None else os.open(path, how, 0o640)
    null = os.open(os.devnull, os.O_RDONLY)
    sys.stdout.flush()
    sys.stderr.flush()
    for source, targets in ((null, (0,)), (out, (1, 2))):
        for target in targets:
            os.dup2(source, target)
        if source > 2:
            os.close(source)
