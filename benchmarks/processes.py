"""What processes cost, read from `/proc`: so on Linux alone. The standard library is all that is needed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
GONE = (FileNotFoundError, ProcessLookupError)


def cpu_seconds(pid: int) -> float:
    """CPU that a process, its children and theirs have used so far, with those that have ended since."""
    ticks = 0
    for each in _tree(pid):
        with contextlib.suppress(*GONE):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))  # its own and its dead children's, in user and in system mode
    return ticks / TICKS


def memory_mb(pid: int) -> float:
    """Memory of a process, its children and theirs as PSS: a page that processes share counts once for all of them."""
    return sum(map(_pss, _tree(pid))) / 1024


def _tree(pid: int) -> Iterator[int]:
    yield pid
    with contextlib.suppress(*GONE):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield from _tree(int(child))


def _pss(pid: int) -> int:
    """Kilobytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
