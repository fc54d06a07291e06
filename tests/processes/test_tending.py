"""What passes between a worker and its children while it waits for its store, and before."""

from __future__ import annotations

import marshal
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import pytest

from django_jobs.backends.memory import MemoryBackend
from django_jobs.conf import conf
from django_jobs.testing.conformance import settlement
from django_jobs.worker.channel import MESSAGE_BYTES
from django_jobs.worker.pool import AHEAD, Pool
from tests.support.jobs import make_claim

CLAIMS = 200


class Store(MemoryBackend):
    tends = True

    def meanwhile(self, fileno: int, act: Callable[[], object]) -> AbstractContextManager[bool]:
        return nullcontext(self.tends)


@pytest.fixture
def pool() -> Iterator[Pool]:
    found = Pool(1)
    found.start(lambda: None)
    found.lease_until(math.inf)
    yield found
    found.kill_running()
    found.stop()


@pytest.mark.parametrize(("tends", "sent"), [(True, AHEAD * conf.message_jobs), (False, CLAIMS)])
def test_all_is_sent_at_once_unless_the_children_are_tended_later(pool: Pool, tends: bool, sent: int) -> None:
    store = Store("default", {})
    store.tends = tends
    with pool.beside(store):
        claims = [make_claim("trial.sleep", {"seconds": 60}) for _ in range(CLAIMS)]
    pool.submit(claims)
    assert len(pool._sent) == sent


def test_nothing_is_logged_while_the_store_is_waited_for(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    """A log that goes to the store would wait for an answer on the connection that waits for one."""
    hooks = settlement(make_claim("trial.noop"))._replace(result="x" * MESSAGE_BYTES)
    pool._backlog.append(hooks)
    for odd in (b"\xff", marshal.dumps((1, 2, 3))):
        pool._reports.far.send(odd)
    pool.tend()
    assert not caplog.records
    pool.collect()
    for said in ("is not ours", "could not be understood", "do not fit a message"):
        assert said in caplog.text
