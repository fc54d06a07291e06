"""Processes of the loop: each runs the inline entries that it was given, while the loop goes on."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime

from ..logs import get_logger
from .plans import Plan

logger = get_logger("schedule")

MOST = 16
Fork = Callable[[Callable[[], None]], int]
"""Calls what it is given in a child process, and answers its pid."""
Work = Callable[[Collection[str], datetime], None]
"""Runs the entries of these names up to a moment, in this process."""


@dataclass(slots=True)
class Children:
    """The processes that run. A plan is handed to one of them once; should it die, it is handed out again."""

    fork: Fork
    work: Work
    ending: Callable[[], AbstractContextManager[None]] = nullcontext
    """Round the end of processes: it sees to what they have started and leave behind."""
    alive: dict[int, dict[str, datetime | None]] = field(default_factory=dict)
    """By pid: the entries in its hands, each with the moment up to which it had been decided."""
    _is_full: bool = False

    def hand_out(self, plans: Iterable[Plan], waiting: Collection[str], now: datetime) -> None:
        """Start a process for each chain of plans, and for entries of which a tick has come to its turn."""
        self.reap()
        busy = {(name, seen_at) for hands in self.alive.values() for name, seen_at in hands.items()}
        running = Counter(name for hands in self.alive.values() for name in hands)
        # Those of which the fewest run come first: one that takes its time leaves room for others.
        for chain in sorted(chains(plans), key=lambda chain: sum(running[plan.name] for plan in chain)):
            hands: dict[str, datetime | None] = {plan.name: plan.seen_at for plan in chain}
            if not busy.intersection(hands.items()):
                self._start(hands, now)
        for name in sorted(waiting):
            if (name, None) not in busy:
                self._start({name: None}, now)

    def _start(self, hands: dict[str, datetime | None], now: datetime) -> None:
        if len(self.alive) >= MOST:
            if not self._is_full:
                logger.warning("%d processes run inline entries already; the others wait", MOST)
            self._is_full = True
            return
        self._is_full = False
        self.alive[self.fork(lambda: self.work(list(hands), now))] = hands

    def reap(self) -> None:
        """Take note of processes that have ended."""
        for pid in list(self.alive):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                ended, status = pid, 0
            if ended:
                names = ", ".join(self.alive.pop(pid))
                if status:
                    code = os.waitstatus_to_exitcode(status)
                    logger.error("the process %d that ran %s ended with %d", pid, names, code)

    def drain(self, seconds: float, hurry: Callable[[], bool]) -> None:
        """Let what runs end, for so long or until somebody is in a hurry; then kill it."""
        deadline = time.monotonic() + seconds
        self.reap()
        while self.alive and time.monotonic() < deadline and not hurry():
            time.sleep(0.05)
            self.reap()
        if self.alive:
            with self.ending():
                self._kill()

    def _kill(self) -> None:
        for pid in self.alive:
            logger.error("killing the process %d that still runs %s", pid, ", ".join(self.alive[pid]))
            for kill in (os.killpg, os.kill):  # it may not have a group of its own yet
                with suppress(ProcessLookupError):
                    kill(pid, signal.SIGKILL)
        while self.alive:
            time.sleep(0.01)
            self.reap()


def chains(plans: Iterable[Plan]) -> list[list[Plan]]:
    """Plans that depend on each other, together; the others each alone. Within and among them the order stays."""
    every = list(plans)
    places = {plan.name: n for n, plan in enumerate(every)}
    found: list[list[Plan]] = []
    for plan in every:
        before = [chain for chain in found if any(p.name in plan.entry.depends_on for p in chain)]
        found = [chain for chain in found if chain not in before]
        found.append(sorted([*(p for chain in before for p in chain), plan], key=lambda p: places[p.name]))
    return sorted(found, key=lambda chain: places[chain[0].name])
