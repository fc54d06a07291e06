"""When a worker that has ended is followed by the next one."""

from __future__ import annotations

import signal

import pytest

from django_jobs.worker import supervisor
from django_jobs.worker.supervisor import AGAIN, RESTART_LONGEST, RESTART_SECONDS, Post


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [1000.0]
    monkeypatch.setattr(supervisor.time, "monotonic", lambda: moment[0])
    return moment


def lives(post: Post, now: list[float], seconds: float, status: int) -> float:
    """It starts as soon as it may, and ends; answers how long the next one waits."""
    post.begun_at = now[0] = max(now[0], post.wanted_at)
    now[0] += seconds
    post.ended(status)
    return post.wanted_at - now[0]


def test_one_that_ended_well_stays_ended(now: list[float]) -> None:
    post = Post("mail", lambda signals: 0)
    lives(post, now, 5.0, 0)
    assert post.is_over


def test_one_that_dies_is_followed_ever_more_slowly_and_then_quickly_again(now: list[float]) -> None:
    post = Post("mail", lambda signals: 0)
    waits = [lives(post, now, 0.1, int(signal.SIGKILL)) for _ in range(2000)]  # a day
    assert waits[:4] == [RESTART_SECONDS * 2**n for n in range(4)]
    assert waits[-2:] == [RESTART_LONGEST] * 2
    assert lives(post, now, 3600.0, 1 << 8) == RESTART_SECONDS
    assert not post.is_over


def test_one_that_asked_for_it_is_followed_at_once_unless_it_keeps_asking(now: list[float]) -> None:
    post = Post("mail", lambda signals: 0)
    assert lives(post, now, 30.0, AGAIN << 8) == 0
    assert [lives(post, now, 0.1, AGAIN << 8) for _ in range(3)] == [RESTART_SECONDS * 2**n for n in range(3)]
