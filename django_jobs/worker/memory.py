"""How much memory this process has, in MB of 1024 * 1024 bytes; and memory that processes share."""

from __future__ import annotations

import os
import resource
import sys
import tempfile

PAGE_BYTES = os.sysconf("SC_PAGESIZE")


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
