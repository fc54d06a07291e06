"""Signals at instants that are spread over the life of a process."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path


def spread(start: float, end: float, instants: int, seed: int) -> Iterator[float]:
    """So many instants between two, one in each stretch of equal length, in random order."""
    rng = random.Random(seed)
    step = (end - start) / instants
    found = [start + (n + rng.random()) * step for n in range(instants)]
    rng.shuffle(found)
    return iter(found)


def until(moment: float) -> None:
    """Wait for an instant of the monotonic clock: here the instant itself is what is tested."""
    while (left := moment - time.monotonic()) > 0:
        time.sleep(left)


def takes(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for the signal: else its default ends the process (Linux).

    That it holds the signal back says nothing: every start of a program does so for a moment.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    (mask,) = (line.removeprefix("SigCgt:") for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> (number - 1) & 1)
