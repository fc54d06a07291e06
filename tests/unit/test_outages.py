"""How long a worker leaves its store alone."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from django_jobs.backends.memory import MemoryBackend
from django_jobs.worker import outages
from django_jobs.worker.outages import LONGEST_WAIT, Outages


def test_a_store_that_is_away_for_days_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(outages.time, "monotonic", lambda: now[0])
    store = Outages(MemoryBackend("default", {}))
    waits = []
    for _ in range(2000):
        with store.around() as may:
            assert may
            raise ConnectionRefusedError
        waits.append(store.retry_at - now[0])
        now[0] = store.retry_at
    assert waits[0] == pytest.approx(0.1)
    assert waits[10:] == [pytest.approx(LONGEST_WAIT)] * 1990
    with store.around():
        pass
    assert not store.lasts


def test_it_loses_no_patience_while_it_does_something_else(settings: Any) -> None:
    """Half a report of a child would be lost."""
    settings.JOBS_LEASE_SECONDS = 1000
    busy = True
    store = Outages(MemoryBackend("default", {}), lambda: busy)
    with store.around():
        store._patience._until = 0.0
        signal.raise_signal(signal.SIGALRM)
    assert not store.lasts
    busy = False
    with store.around():
        store._patience._until = 0.0
        signal.raise_signal(signal.SIGALRM)
    assert store.lasts
