"""Waiting for something to become true, with a deadline. The one place in the tests that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(look: Callable[[], T], what: str, seconds: float = 30.0, every: float = 0.02) -> T:
    """The first true answer of `look`. Fails after `seconds`, saying what was waited for and what was seen last."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain for: {what} (last seen: {seen!r})")
        time.sleep(every)
    return seen
