"""What a worker has in hand of a queue that is paused goes back, unless it has started."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from django_jobs.backends.memory import MemoryBackend
from django_jobs.retry import Target
from django_jobs.runtime import Claim
from django_jobs.worker import pauses
from django_jobs.worker.pauses import Pauses
from tests.support.jobs import make_claim


class Held:
    """An executor that runs the first claim for ever."""

    def __init__(self, claims: list[Claim]) -> None:
        self.held = claims
        self.calls: Counter[str] = Counter()

    @property
    def in_hand(self) -> int:
        return len(self.held)

    def claims(self) -> list[Claim]:
        return list(self.held)

    def take_back(self) -> list[Claim]:
        self.calls["take_back"] += 1
        back, self.held = self.held[1:], self.held[:1]
        return back

    def submit(self, claims: list[Claim]) -> None:
        self.held += claims


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [1000.0]
    monkeypatch.setattr(pauses.time, "monotonic", lambda: moment[0])
    return moment


def test_what_has_not_started_goes_back_and_the_rest_stays(now: list[float]) -> None:
    backend: Any = MemoryBackend("default", {})
    running, waiting, other = make_claim(queue="mail"), make_claim(queue="mail"), make_claim(queue="other")
    executor: Any = Held([running, waiting, other])
    watch = Pauses(backend, executor)
    assert watch.taken_back(["mail", "other"]) == []
    backend.set_paused(["mail"], paused=True)
    assert watch.taken_back(["mail", "other"]) == [], "it looks twice a second"
    now[0] += 0.5
    (back,) = watch.taken_back(["mail", "other"])
    assert (back.claim, back.transition.target, back.transition.attempt_refund) == (waiting, Target.WAITING, 1)
    assert executor.held == [running, other]


def test_what_runs_is_not_fetched_again_and_again(now: list[float]) -> None:
    backend: Any = MemoryBackend("default", {})
    backend.set_paused(["mail"], paused=True)
    executor: Any = Held([make_claim(queue="mail")])
    watch = Pauses(backend, executor)
    for _ in range(3):
        assert watch.taken_back(["mail"]) == []
        now[0] += 0.5
    assert executor.calls["take_back"] == 1
    executor.held.append(make_claim(queue="mail"))  # claimed while it was resumed for a moment
    assert len(watch.taken_back(["mail"])) == 1


def test_nothing_is_asked_of_the_store_while_nothing_is_in_hand(now: list[float]) -> None:
    watch = Pauses(None, Held([]))  # type: ignore[arg-type]
    assert watch.taken_back(["mail"]) == []
