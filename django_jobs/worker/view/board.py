"""What the view knows, from the news of one worker or several, and the picture that this makes. No I/O, no clock."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..console import WORDS, Running
from .news import Ended, News

HISTORY_SECONDS = 300
RATE_SECONDS = 10
SILENT_SECONDS = 5.0
MOST_ENDED = 100
MOST_SAID = 20
GIVEN_BACK = "released"


class Worker(NamedTuple):
    """A worker, as it is drawn. `lease` is what is left of it; both times are in seconds."""

    queues: Sequence[str]
    host: str
    pid: int
    isolation: str
    children: int
    state: str
    uptime: float
    lease: float
    in_hand: int
    settled: int


class Slot(NamedTuple):
    """A place for a running job. Without a handler it is idle; without a limit the job has no timeout."""

    queue: str
    number: int
    pid: int = 0
    handler: str = ""
    job_id: str = ""
    attempt: int = 0
    seconds: float = 0.0
    limit: float | None = None


class Count(NamedTuple):
    """How often jobs came to an end of this kind, and how often per second of late."""

    word: str
    total: int
    rate: float


@dataclass(frozen=True, slots=True)
class Picture:
    """What is to be drawn."""

    workers: Sequence[Worker] = ()
    slots: Sequence[Slot] = ()
    counts: Sequence[Count] = ()
    per_second: Sequence[float] = ()
    """Jobs settled in each of the last seconds, the newest last."""
    rate: float = 0.0
    waiting: Mapping[str, int] = field(default_factory=dict)
    ended: Sequence[Ended] = ()
    """The newest first."""
    said: Sequence[str] = ()
    output: Sequence[str] = ()
    """The last lines that the worker and its jobs have printed."""

    @property
    def state(self) -> str:
        """The state of all workers together: the worst one."""
        states = [worker.state for worker in self.workers]
        return next((s for s in ("silent", "no store", "draining", "running") if s in states), "starting")


@dataclass(slots=True)
class Board:
    """Takes news, and answers what to draw. Moments are of the monotonic clock."""

    output: Sequence[str] = ()
    changed: bool = False
    """Whether there were news since the last picture."""
    _latest: dict[int, News] = field(default_factory=dict)  # by pid: a worker that was lost has a new id
    _past: Counter[str] = field(default_factory=Counter)  # the counts of those that are no more
    _seconds: dict[int, Counter[str]] = field(default_factory=dict)
    _ended: deque[Ended] = field(default_factory=lambda: deque(maxlen=MOST_ENDED))
    _said: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_SAID))
    _since: float = math.inf

    def take(self, news: News) -> None:
        """Take in what a worker tells."""
        self.changed = True
        self._retire(news)
        before = self._latest.get(news.worker.pid)
        self._latest[news.worker.pid] = news
        self._since = min(self._since, news.at)
        self._spread(before, news)
        self._said.extend(news.said)
        self._ended.extend(news.ended)

    def _retire(self, news: News) -> None:
        """A worker that a supervisor has started again takes the place of the one before."""
        for pid, other in list(self._latest.items()):
            about = other.worker
            if pid != news.worker.pid and about.queues == news.worker.queues and news.worker.since > other.at:
                self._past.update(other.counts)
                del self._latest[pid]

    def _spread(self, before: News | None, news: News) -> None:
        """Note what was settled since the last news, evenly over the seconds between: some may not have come."""
        gained = Counter(news.counts)
        gained.subtract(Counter({} if before is None else before.counts))
        last = int(news.at)
        first = last if before is None else min(int(before.at) + 1, last)
        seconds = range(max(first, last - HISTORY_SECONDS), last + 1)
        for second in seconds:
            row = self._seconds.setdefault(second, Counter())
            for word, number in gained.items():
                if number > 0:
                    row[word] += number / len(seconds)  # type: ignore[assignment]  # a share of a job
        for second in [s for s in self._seconds if s < last - HISTORY_SECONDS]:
            del self._seconds[second]

    def picture(self, now: float) -> Picture:
        """What is to be drawn now."""
        self.changed = False
        news = sorted(self._latest.values(), key=lambda n: (n.worker.since, n.worker.pid))
        totals = self._past.copy()
        waiting: dict[str, int] = {}
        for n in news:
            totals.update(n.counts)
            waiting |= n.waiting
        alive = [n for n in news if n.standing.state != "stopped"]
        known = [*(word for word in WORDS if word in totals), *(word for word in totals if word not in WORDS)]
        return Picture(
            workers=[_worker(n, now) for n in alive],
            slots=[slot for n in alive for slot in _slots(n, now)],
            counts=[Count(word, totals[word], self._rate(word, now)) for word in known],
            per_second=[_done(self._seconds.get(s, {})) for s in range(int(now) - HISTORY_SECONDS, int(now))],
            rate=self._rate(None, now),
            waiting=waiting,
            ended=sorted(self._ended, key=lambda end: end.at, reverse=True),
            said=list(self._said),
            output=list(self.output),
        )

    def _rate(self, word: str | None, now: float) -> float:
        """Jobs a second over the last whole seconds: of this word, or of all."""
        whole = min(int(now) - int(self._since), RATE_SECONDS) if self._since < now else 0
        if whole < 1:
            return 0.0
        rows = [self._seconds.get(second, Counter[str]()) for second in range(int(now) - whole, int(now))]
        return sum(_done(row) if word is None else row[word] for row in rows) / whole


def _done(counts: Mapping[str, float]) -> float:
    """How many of these are work that was done: what was given back is none."""
    return sum(counts.values()) - counts.get(GIVEN_BACK, 0)


def _worker(news: News, now: float) -> Worker:
    about, standing = news.worker, news.standing
    silent = (
        now - news.at > SILENT_SECONDS and about.isolation != "inline"
    )  # there, a job that runs keeps it from telling
    return Worker(
        *(about.queues, about.host, about.pid, about.isolation, about.children),
        "silent" if silent else standing.state,
        uptime=max(now - about.since, 0.0),
        lease=max(standing.lease_until - now, 0.0),
        in_hand=standing.in_hand,
        settled=int(_done(news.counts)),
    )


def _slots(news: News, now: float) -> Iterator[Slot]:
    """A place for each child; a child that runs several jobs at once has as many."""
    running = news.standing.running
    taken = {job.slot for job in running}
    idle = [Slot(_name(news), n + 1) for n in range(news.worker.children) if n not in taken]
    yield from sorted([*(_slot(job, now) for job in running), *idle], key=lambda slot: slot.number)


def _slot(job: Running, now: float) -> Slot:
    about = (job.queue, job.slot + 1, job.pid, job.handler, job.job_id, job.attempt)
    limit = None if math.isinf(job.deadline) else max(job.deadline - job.started, 0.0)
    return Slot(*about, seconds=max(now - job.started, 0.0), limit=limit)


def _name(news: News) -> str:
    return news.worker.queues[0] if news.worker.queues else ""
