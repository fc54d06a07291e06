"""How much memory this process has, in MB of 1024 * 1024 bytes; and memory that processes share."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
import tempfile
from collections.abc import Iterator

PAGE_BYTES = os.sysconf("SC_PAGESIZE")
HUGE_PAGE = 2 * 2**20
_MADV_COLLAPSE = 25


def resident_mb() -> float:
    """What of it is in memory now, shared pages included. Where the system does not tell (macOS), its peak."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * PAGE_BYTES / 2**20
    except FileNotFoundError:
        return peak_mb()


def peak_mb() -> float:
    """The most that it has ever had in memory."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 2**20


def shared_file(size: int) -> int:
    """The descriptor of a new file of so many zeros, which has no name: for memory that processes share."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("django_jobs")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, size)
    return fd


def use_huge_pages() -> None:
    """Have what this process holds put into huge pages, where the kernel does that when asked (Linux 6.1).

    A fork copies an entry for each page, and an exit undoes it. With huge pages that is a third quicker for a process
    of the size of a site; a page that is written to is copied alone, as ever. Elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    with contextlib.suppress(OSError, AttributeError):
        for start, end in _private_regions():
            low, high = -(-start // HUGE_PAGE) * HUGE_PAGE, end // HUGE_PAGE * HUGE_PAGE
            if low < high:
                libc.madvise(low, high - low, _MADV_COLLAPSE)


def _private_regions() -> Iterator[tuple[int, int]]:
    """The address ranges that no file lies behind, and that may be written to."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            bounds, mode, _offset, _device, _inode, *name = line.split()
            if mode == "rw-p" and name in ([], ["[heap]"]):
                start, end = bounds.split("-")
                yield int(start, 16), int(end, 16)
