"""What coordinators send to the view: news, each of which stands for itself, so that any may be lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..console import Running, Standing, Started


class Ended(NamedTuple):
    """What became of a job. `at` is seconds since 1970."""

    at: float
    word: str
    queue: str
    handler: str
    job_id: str
    attempt: int
    seconds: float
    why: str


class News(NamedTuple):
    """How a worker stands at a moment of the monotonic clock.

    `counts` are those since its start, by word; `ended` and `said` are what is new since the last news that was sent.
    """

    at: float
    worker: Started
    standing: Standing
    counts: Mapping[str, int]
    waiting: Mapping[str, int]
    ended: Sequence[Ended]
    said: Sequence[str]


def packed(news: News) -> tuple[Any, ...]:
    """As it goes through a socket: plain tuples."""
    state, in_hand, lease_until, running = news.standing
    standing = state, in_hand, lease_until, [tuple(job) for job in running]
    return (
        *(news.at, tuple(news.worker), standing, dict(news.counts), dict(news.waiting)),
        *([tuple(end) for end in news.ended], list(news.said)),
    )


def unpacked(values: Sequence[Any]) -> News:
    """As it was before it was packed."""
    at, worker, standing, counts, waiting, ended, said = values
    stands = Standing(*standing)
    stands = stands._replace(running=[Running(*job) for job in stands.running])
    return News(at, Started(*worker), stands, counts, waiting, [Ended(*end) for end in ended], said)
