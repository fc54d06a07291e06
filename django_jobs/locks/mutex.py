"""`mutex`: one holder of a name at a time, for a bounded time."""

from __future__ import annotations

import random
import time
import uuid
from datetime import timedelta
from types import TracebackType
from typing import Protocol

from .. import names
from ..definition import seconds
from ..exceptions import InvalidDefinition, LockLost, LockTaken
from ..logs import get_logger
from .cache import cache_locks

logger = get_logger("locks")

SHORTEST, LONGEST = 0.01, 0.25
"""Between two tries of somebody who waits, in seconds."""


class Locks(Protocol):
    """Where locks are kept. Every verb names the token of a holder, and answers whether the lock is that holder's."""

    def take(self, name: str, token: str, ttl: float) -> bool:
        """Take a lock for `ttl` seconds, if nobody has it or its time is over."""

    def renew(self, name: str, token: str, ttl: float) -> bool:
        """Let a lock that is still the holder's last for `ttl` seconds from now."""

    def release(self, name: str, token: str) -> bool:
        """Free a lock that is still the holder's."""

    def holds(self, name: str, token: str) -> bool:
        """Whether the lock is the holder's now."""


def mutex(
    name: str,
    ttl: float | timedelta | str,
    *,
    wait: float | timedelta | str = 0,
    driver: str | Locks = "database",
) -> Mutex:
    """A lock on `name`, which one holder has at a time, on whichever host, for `ttl` at most.

    It is a context manager. Where the lock is taken, it is waited for as long as `wait`, then `LockTaken` is raised.

        with mutex("import", ttl="5m") as lock:
            for page in pages:
                read(page)
                lock.renew()  # another five minutes; raises LockLost if they were over

    `driver` is `"database"` (that of the jobs), `"cache"` (the site's default cache), `cache_locks("another")`,
    `FileLocks(folder)`, or anything that is a `Locks`.

    When the time is over, the lock is free, whatever its holder does: nothing interrupts that, and it may find out by
    `renew()` or `is_held()`. A release frees only what is still the holder's own. It can't be taken twice by the same
    holder, and is not fair: of those who wait, any may be the next.
    """
    if not name:
        raise InvalidDefinition("name: a lock needs one.")
    locks = _made(driver) if isinstance(driver, str) else driver
    return Mutex(names.check_label("name", name), _lasting(ttl), seconds("wait", wait), locks)


class Mutex:
    """What `mutex` makes. One object is for one holder: each thread makes its own."""

    def __init__(self, name: str, ttl: float, wait: float, locks: Locks) -> None:
        self.name = name
        self.ttl = ttl
        self.wait = wait
        self.locks = locks
        self._token = ""

    def acquire(self) -> None:
        """Take it. Raises `LockTaken` where somebody else has it, after `wait` seconds."""
        token = str(uuid.uuid4())
        until, pause = time.monotonic() + self.wait, SHORTEST
        while not self.locks.take(self.name, token, self.ttl):
            left = until - time.monotonic()
            if left <= 0:
                raise LockTaken(f"the lock {self.name!r} is taken.")
            time.sleep(min(left, random.uniform(pause / 2, pause)))  # noqa: S311 - spreads tries, guards nothing
            pause = min(2 * pause, LONGEST)
        self._token = token

    def renew(self, ttl: float | timedelta | str | None = None) -> None:
        """Let it last for another `ttl` from now. Raises `LockLost` where its time was over before."""
        lasting = self.ttl if ttl is None else _lasting(ttl)
        if not (self._token and self.locks.renew(self.name, self._token, lasting)):
            self._token = ""
            raise LockLost(f"the lock {self.name!r} is not held: its time was over, or it was released.")

    def is_held(self) -> bool:
        """Whether it is still ours, at this moment."""
        return bool(self._token) and self.locks.holds(self.name, self._token)

    def release(self) -> bool:
        """Free it. False: its time was over, and somebody else may have it. That one keeps it."""
        token, self._token = self._token, ""
        return bool(token) and self.locks.release(self.name, token)

    def __enter__(self) -> Mutex:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Free it. What goes wrong with that is logged: the work is done, and the time of the lock ends anyway."""
        try:
            if self._token and not self.release():
                logger.warning("the time of the lock %s (%g s) was over before its release", self.name, self.ttl)
        except Exception:
            logger.warning("the lock %s could not be released; its time will be over", self.name, exc_info=True)


def _made(driver: str) -> Locks:
    if driver == "database":
        from .database import DatabaseLocks  # which needs the models: a mutex may be imported before there are any

        return DatabaseLocks()
    if driver == "cache":
        return cache_locks()
    raise InvalidDefinition(f"driver: {names.shown(driver)} is not one of database, cache, nor a Locks.")


def _lasting(ttl: float | timedelta | str) -> float:
    found = seconds("ttl", ttl)
    if not found:
        raise InvalidDefinition("ttl: give a time above 0, after which the lock is free, whatever its holder does.")
    return found
