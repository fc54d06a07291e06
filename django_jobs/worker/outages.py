"""The store goes away and comes back: its errors end here, and it is left alone for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..backends import Backend
from ..conf import conf
from ..logs import get_logger
from ..waits import doubled
from .interrupts import Patience

logger = get_logger("worker")

LONGEST_WAIT = 5.0


@dataclass(slots=True)
class Outages:
    """What a worker knows of its store's moods. While it is `busy` with something else, it does not lose patience."""

    backend: Backend
    busy: Callable[[], bool] = bool
    retry_at: float = 0.0
    _failures: int = 0
    _patience: Patience = field(init=False)

    def __post_init__(self) -> None:
        self._patience = Patience(conf.lease_seconds / 2, self.busy)

    @property
    def lasts(self) -> bool:
        """Whether the last use of the store failed."""
        return self._failures > 0

    @contextmanager
    def around(self) -> Iterator[bool]:
        """Around a use of the store: yields whether it may be asked now. What goes wrong is noted, and not raised."""
        if time.monotonic() < self.retry_at:
            yield False
            return
        try:
            with self._patience:
                yield True
        except Exception as error:
            self._failed(error)
        else:
            if self._failures:
                logger.warning("the store is back")
            self._failures = 0

    def _failed(self, error: Exception) -> None:
        """Say so once, and wait before the next try."""
        logger.debug("a turn failed", exc_info=error)
        self._failures += 1
        self.retry_at = time.monotonic() + doubled(0.1, self._failures - 1, LONGEST_WAIT)
        if not self.backend.is_outage(error):
            logger.error("a turn failed; trying again", exc_info=error)
        elif self._failures == 1:
            logger.error("the store is away (%s); trying again until it is back", str(error).strip())
        self.backend.close()
