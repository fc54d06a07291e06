"""`--show=tui`, at the coordinator's end: gathers, and sends a view a few times a second how things stand."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence

from ...redaction import clip
from ...settlement import Settlement
from ..console import Console, Standing, Started
from ..lines import DRAINED, STOPPING, reason_of
from .news import Ended, News, packed
from .process import View

BUSY_SECONDS = 0.25
IDLE_SECONDS = 1.0
MOST_ENDED = 40
MOST_RUNNING = 200
MOST_CHARACTERS = 160


class Feed(Console):
    """Feeds `view`; once that is gone, `after` is told instead. What is sent is bounded, and never waited for."""

    def __init__(self, view: View, after: Console) -> None:
        self.view = view
        self.after = after
        self.due_at = 0.0
        self._worker: Started | None = None
        self._counts: Counter[str] = Counter()
        self._waiting: Mapping[str, int] = {}
        self._ended: deque[Ended] = deque(maxlen=MOST_ENDED)
        self._said: deque[str] = deque(maxlen=MOST_ENDED)

    def started(self, worker: Started) -> None:
        self._worker = worker
        self.due_at = 0.0

    def say(self, text: str) -> None:
        if self.view.gone:
            self.after.say(text)
        self._said.append(text)
        self.due_at = 0.0

    def stopping(self) -> None:
        self.say(str(STOPPING))

    def empty(self, queues: Iterable[str]) -> None:
        if self.view.gone:
            self.after.empty(queues)

    def settled(self, settlements: Sequence[Settlement]) -> None:
        if self.view.gone:
            self.after.settled(settlements)
            return
        self._counts.update(s.transition.word for s in settlements)
        now = time.time()
        self._ended.extend(_ended(s, now) for s in settlements[-MOST_ENDED:])
        self.due_at = min(self.due_at, time.monotonic() + BUSY_SECONDS)

    def drained(self) -> None:
        self.say(str(DRAINED))

    def stopped(self, settled: int) -> None:
        if self.view.gone:
            self.after.stopped(settled)
        self.show(Standing("stopped", 0, 0.0, ()))

    def backlog(self, waiting: Mapping[str, int]) -> int:
        self._waiting = waiting
        return len(waiting)

    def show(self, standing: Standing) -> None:
        now = time.monotonic()
        self.view.trim()
        self.due_at = now + (BUSY_SECONDS if standing.in_hand and not self.view.gone else IDLE_SECONDS)
        if self.view.gone:
            self.after.show(standing)
        if self._worker is None or self.view.gone:
            return
        standing = standing._replace(
            running=[j._replace(handler=clip(j.handler, MOST_CHARACTERS)) for j in standing.running[:MOST_RUNNING]]
        )
        news = News(now, self._worker, standing, self._counts, self._waiting, self._ended, self._said)
        if self.view.send(packed(news)):
            self._ended.clear()
            self._said.clear()
        else:
            self._note_the_end()

    def _note_the_end(self) -> None:
        """Where the view is gone."""
        if self.view.gone:
            self.after.say("the view is gone; going on with lines")


def _ended(s: Settlement, now: float) -> Ended:
    claim = s.claim
    about = claim.queue, clip(claim.handler, MOST_CHARACTERS), claim.id, claim.attempt
    return Ended(now, s.transition.word, *about, s.seconds, clip(reason_of(s), MOST_CHARACTERS))
