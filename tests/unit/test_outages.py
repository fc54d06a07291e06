"""How long a worker leaves its store alone."""

from __future__ import annotations

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
