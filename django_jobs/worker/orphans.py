"""What jobs have started and left behind. On Linux a process can be the parent of its descendants' orphans, also of
those that left their process group and session: so a child has those of its jobs, and the template those of children
that have ended, which are ended too.

Elsewhere these functions do nothing, and only the process group of a child ends with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from .interrupts import prctl

_PR_SET_CHILD_SUBREAPER = 36


def adopt() -> None:
    """From now on, orphans among the descendants of this process become its children."""
    if sys.platform == "linux":
        prctl()(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_all_but(known: Collection[int]) -> None:
    """Kill the children of this process, except for those that are known. What they leave comes here as they die."""
    for pid in children():
        if pid not in known:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def ended() -> Iterator[None]:
    """What processes leave behind that end meanwhile ends too, as does every other child of this process."""
    adopt()
    yield
    while left := children():
        end_all_but(())
        for pid in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def reap(seen: Collection[int]) -> set[int]:
    """Let go of orphans that have ended. Answers the children that have ended just now, to be `seen` the next time.

    A job may wait for what it has started: so only those go that nobody has waited for since the last look.
    """
    ended = {pid for pid in children() if _has_ended(pid)}
    for pid in ended.intersection(seen):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return ended.difference(seen)


def children() -> list[int]:
    """The children of this process, those that have ended included."""
    try:
        fd = os.open("/proc/thread-self/children", os.O_RDONLY)
    except FileNotFoundError:
        return []
    try:
        return [int(word) for word in os.read(fd, 100_000).split()]
    finally:
        os.close(fd)


def _has_ended(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
