"""What every peer's job does: note in shared memory that it ran. A quarter of a microsecond, without any system call.

Each process has a file of its own in the folder `PEER_TALLY`: when its first job and its last one started, and how many
did.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path

RECORD = struct.Struct("qqq")
_page: mmap.mmap | None = None
_first = _count = 0


def tick() -> None:
    """A job starts now."""
    global _page, _first, _count
    now = time.monotonic_ns()
    if _page is None:
        with open(Path(os.environ["PEER_TALLY"]) / str(os.getpid()), "w+b") as file:
            file.write(bytes(RECORD.size))
            file.flush()
            _page = mmap.mmap(file.fileno(), RECORD.size)
        _first = now
    _count += 1
    RECORD.pack_into(_page, 0, _first, now, _count)


def read() -> tuple[int, int]:
    """When the first job started (monotonic nanoseconds), and how many did so far; (0, 0) before that."""
    records = [RECORD.unpack(data) for f in _files() if len(data := f.read_bytes()) == RECORD.size]
    begun = [first for first, _, count in records if count]
    return (min(begun) if begun else 0), sum(count for _, _, count in records)


def reset() -> None:
    """Forget every job; no process that ticks may be alive."""
    for file in _files():
        file.unlink()


def _files() -> list[Path]:
    return list(Path(os.environ["PEER_TALLY"]).iterdir())
