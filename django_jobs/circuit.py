"""A circuit breaker round the enqueue: a store that is away costs each caller a moment, and not a connection's timeout.

Closed, every call goes through. After `threshold` failures in a row it is open: calls raise `CircuitOpen` at once. When
`cooldown` seconds have passed, one call may probe; its success closes the circuit, its failure opens it for as long
again. Only a store that can't be reached counts: a caller's own mistake, or a lock in the way, says nothing of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

from .backends import Backend
from .conf import conf
from .exceptions import CircuitOpen, StoreBusy, StoreUnavailable

T = TypeVar("T")


class CircuitBreaker:
    """One for each backend and process. The numbers are `JOBS_CIRCUIT_THRESHOLD` (0: never open) and
    `JOBS_CIRCUIT_COOLDOWN`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.failures = 0
        self._probe_at = 0.0
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether calls are refused, but for a probe."""
        return 0 < conf.circuit_threshold <= self.failures

    def call(self, act: Callable[[], T]) -> T:
        """What `act` answers. Raises `CircuitOpen` without a call where the circuit is open."""
        if self.is_open:
            self._take_probe()
        try:
            result = act()
        except StoreBusy:
            self._probe_at = 0.0
            raise
        except StoreUnavailable:
            with self._lock:
                self.failures += 1
                self._probe_at = self.clock() + conf.circuit_cooldown
            raise
        except BaseException:
            self._probe_at = 0.0  # nothing was learned of the store: the next caller may probe
            raise
        self.failures = 0
        return result

    def _take_probe(self) -> None:
        with self._lock:
            now = self.clock()
            if now < self._probe_at:
                wait = self._probe_at - now
                raise CircuitOpen(f"the store failed {self.failures} times in a row; it is asked again in {wait:.0f} s")
            self._probe_at = now + conf.circuit_cooldown  # for the others: this caller is the probe


_breakers: WeakKeyDictionary[Backend, CircuitBreaker] = WeakKeyDictionary()


def breaker_of(backend: Backend) -> CircuitBreaker:
    """The breaker of a backend."""
    breaker = _breakers.get(backend)
    return breaker if breaker is not None else _breakers.setdefault(backend, CircuitBreaker())
