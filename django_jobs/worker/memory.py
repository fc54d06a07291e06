"""How much memory this process has, in MB of 1024 * 1024 bytes."""

from __future__ import annotations

import os
import resource
import sys

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
