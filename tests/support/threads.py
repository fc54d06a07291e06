"""Threads that really use several connections at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connections

T = TypeVar("T")
DEADLINE_SECONDS = 60


def run_together(*acts: Callable[[], T]) -> Sequence[T]:
    """Run every act in a thread of its own, all starting at the same moment; their answers in order."""
    barrier = threading.Barrier(len(acts))

    def run(act: Callable[[], T]) -> T:
        try:
            barrier.wait(DEADLINE_SECONDS)
            return act()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(acts)) as pool:
        futures = [pool.submit(run, act) for act in acts]
        return [future.result(DEADLINE_SECONDS) for future in futures]
