"""When a worker looks for cancels: soon after it was told of one, and seldom otherwise."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from django_jobs.backends import Wakeup
from django_jobs.worker.cancels import QUIET_SECONDS, Cancels


class Store:
    """Counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.worker_id = "me"  # it is its own lease, too
        self.requests: set[str] = set()

    def cancel_requests(self, worker_id: str) -> set[str]:
        self.asked += 1
        return self.requests


class Hands:
    """An executor with some jobs in hand."""

    def __init__(self) -> None:
        self.in_hand = 1
        self.cancelled: set[str] = set()

    def cancel(self, job_ids: set[str]) -> None:
        self.cancelled |= job_ids


class Telling(Wakeup):
    """Tells through a pipe: `x` of new work, `c` of a cancel."""

    def __init__(self) -> None:
        self.near, self.far = os.pipe()
        os.set_blocking(self.near, False)

    def fileno(self) -> int:
        return self.near

    def cancels(self, worker_id: str) -> bool:
        try:
            return b"c" in os.read(self.near, 100)
        except BlockingIOError:
            return False

    def close(self) -> None:
        os.close(self.near)
        os.close(self.far)


@pytest.fixture
def wakeup() -> Iterator[Telling]:
    telling = Telling()
    yield telling
    telling.close()


@pytest.fixture
def parts(settings: Any) -> tuple[Cancels, Store, Hands]:
    settings.JOBS_CANCEL_INTERVAL = 100.0
    store, hands = Store(), Hands()
    cancels = Cancels(store, hands, store)  # type: ignore[arg-type]
    hands.in_hand = 0
    cancels.look(Wakeup())  # from now on the next question is due in 100 s
    hands.in_hand = 1
    return cancels, store, hands


def test_a_worker_with_nothing_in_hand_asks_nothing(parts: tuple[Cancels, Store, Hands], wakeup: Telling) -> None:
    cancels, store, hands = parts
    hands.in_hand = 0
    os.write(wakeup.far, b"c")
    cancels.look(wakeup)
    assert (store.asked, cancels.listens, cancels.due_at(wakeup)) == (0, False, math.inf)


def test_what_it_is_told_of_is_looked_for_at_once(parts: tuple[Cancels, Store, Hands], wakeup: Telling) -> None:
    cancels, store, hands = parts
    store.requests = {"job"}
    cancels.look(wakeup)
    assert store.asked == 0
    os.write(wakeup.far, b"c")
    cancels.look(wakeup)
    assert (store.asked, hands.cancelled) == (1, {"job"})


def test_where_nothing_comes_it_is_not_woken(parts: tuple[Cancels, Store, Hands], wakeup: Telling) -> None:
    cancels, store, _ = parts
    for _ in range(3):
        cancels.look(wakeup)
        assert cancels.listens
        assert cancels.due_at(wakeup) > time.monotonic() + 90
    assert store.asked == 0


def test_news_of_jobs_make_it_deaf_for_a_moment(parts: tuple[Cancels, Store, Hands], wakeup: Telling) -> None:
    cancels, store, _ = parts
    os.write(wakeup.far, b"x")
    cancels.look(wakeup)
    assert (store.asked, cancels.listens) == (0, False)
    assert cancels.due_at(wakeup) <= time.monotonic() + QUIET_SECONDS


def test_without_a_descriptor_it_asks_as_often_as_the_wakeup_says(parts: tuple[Cancels, Store, Hands]) -> None:
    cancels, _, _ = parts
    silent, watching = Wakeup(), Wakeup()
    watching.watch_interval = 0.05
    cancels.look(silent)
    assert cancels.due_at(silent) > time.monotonic() + 90
    assert cancels.due_at(watching) <= time.monotonic() + 0.05
