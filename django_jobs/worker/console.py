"""What a worker tells of itself and its jobs while it runs. `Console` tells nothing: `--show=quiet`, and the base."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple, TextIO

from ..settlement import Settlement
from .output import LAST_SECONDS, Outlet, drop

WORDS: dict[str, str] = {
    "acked": "green",
    "requeued": "yellow",
    "timed-out": "yellow",
    "dead-lettered": "red",
    "rejected": "red",
    "cancelled": "blue",
    "discarded": "blue",
    "snoozed": "cyan",
    "deferred": "cyan",
    "rate-limited": "cyan",
    "released": "magenta",
    "empty": "",
}
"""The words for what became of a job, each with its colour on a terminal."""


AGAIN_SECONDS = 0.2
MOST_COUNTED = 10_000
"""Of the jobs that wait in a queue: beyond it, it is only said that there are more."""


class Started(NamedTuple):
    """A worker that has registered. `since` is of the monotonic clock."""

    worker_id: str
    host: str
    pid: int
    queues: Sequence[str]
    children: int
    isolation: str
    since: float


class Running(NamedTuple):
    """A job that runs. The moments are of the monotonic clock; `deadline` is infinite where it has no timeout."""

    slot: int
    pid: int
    job_id: str
    queue: str
    handler: str
    attempt: int
    started: float
    deadline: float


class Standing(NamedTuple):
    """How a worker stands just now. `lease_until` is of the monotonic clock."""

    state: str
    in_hand: int
    lease_until: float
    running: Sequence[Running]


class Console:
    """Is told of everything, in the coordinator's own process, and must keep it waiting for nothing."""

    due_at = math.inf
    """When `show` is wanted next (monotonic clock)."""

    def started(self, worker: Started) -> None:
        """The worker has registered; again, under another id, after it was taken for lost."""

    def say(self, text: str) -> None:
        """Something about the worker itself."""

    def stopping(self) -> None:
        """A stop signal came."""

    def empty(self, queues: Iterable[str]) -> None:
        """A cycle of a bounded run found nothing."""

    def settled(self, settlements: Sequence[Settlement]) -> None:
        """What became of jobs: it is stored."""

    def drained(self) -> None:
        """The work is over, and nothing is held any more."""

    def stopped(self, settled: int) -> None:
        """The worker has left. It has settled so many jobs."""

    def show(self, standing: Standing) -> None:
        """How the worker stands; called when `due_at` has come."""

    def backlog(self, waiting: Mapping[str, int]) -> int:
        """How many jobs wait in each queue, at most one above `MOST_COUNTED`; answers how many queues that are."""
        return len(waiting)


class Written(Console):
    """Writes lines to a stream, until nobody reads them.

    With `patient`, it keeps nobody waiting for a reader that does not read just now, as behind Ctrl-S: so much is held,
    and what is left out after that is told. It ends with `stopped`, which gives the reader a last moment.
    """

    def __init__(self, stream: TextIO | None = None, *, patient: bool = False) -> None:
        self.stream = stream or sys.stdout
        self.closed = False
        self._outlet = Outlet.of(self.stream) if patient else None

    def write(self, text: str) -> None:
        """Write whole lines at once, so that those of several processes do not mix."""
        if self.closed or not text:
            return
        with self._until_nobody_reads():
            if self._outlet is None:
                encoding = self.stream.encoding or "utf-8"
                self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
                self.stream.flush()
            else:
                self._outlet.put(text)
                self._pass_on()

    def show(self, standing: Standing) -> None:
        with self._until_nobody_reads():
            self._pass_on()

    def finish(self) -> None:
        """Nothing follows: give the reader a last moment for what is held."""
        if self._outlet is not None and not self.closed:
            with self._until_nobody_reads():
                self._outlet.empty(LAST_SECONDS)

    def _pass_on(self) -> None:
        outlet = self._outlet
        if outlet is not None and outlet.empty() and outlet.left_out:
            self.say(outlet.what_was_left_out())
        self.due_at = time.monotonic() + AGAIN_SECONDS if outlet is not None and outlet.holds else math.inf

    @contextmanager
    def _until_nobody_reads(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):  # whoever read it is gone; the work goes on
            self.closed, self.due_at = True, math.inf
            self._outlet = None
            with suppress(OSError, ValueError):
                drop(self.stream.fileno())  # what it still holds would be an error at the exit of Python


def is_coloured(stream: TextIO, environ: Mapping[str, str] | None = None) -> bool:
    """Whether colours are wanted: on a terminal, unless `NO_COLOR` is set; elsewhere with `FORCE_COLOR`."""
    environ = os.environ if environ is None else environ
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    try:
        return stream.isatty() and environ.get("TERM") != "dumb"
    except ValueError:  # it is closed
        return False
