"""How a worker waits: where nothing has happened, it only asks its wake-up."""

from __future__ import annotations

import signal

from django_jobs.backends import Wakeup
from django_jobs.backends.memory import MemoryBackend
from django_jobs.worker.console import Console
from django_jobs.worker.coordinator import Coordinator
from django_jobs.worker.inline import Inline
from django_jobs.worker.order import Order
from django_jobs.worker.pool import Finished

LOOKS = 200


class Silent(Wakeup):
    """Is asked all the time, and knows of nothing. In the end it stops the worker."""

    interval = 0.0
    looks = 0

    def ready(self) -> bool:
        self.looks += 1
        if self.looks == LOOKS:
            signal.raise_signal(signal.SIGTERM)
        return False


class Store(MemoryBackend):
    def wakeup(self, queues: object) -> Wakeup:
        return Silent()


class Counting(Inline):
    """An executor that counts the turns of its worker."""

    turns = 0

    def collect(self) -> list[Finished]:
        self.turns += 1
        return super().collect()


def test_an_idle_inline_worker_asks_its_wakeup_many_times_in_a_turn() -> None:
    executor = Counting(lambda: True)
    Coordinator(Store("default", {}), Order.of("default"), executor, Console()).run()
    assert executor.turns < LOOKS / 10
