"""The contract, bound to every backend that keeps jobs for workers, and what only a database can be asked."""

from __future__ import annotations

import itertools
import select
import time
from datetime import timedelta

import pytest
from django.db import DatabaseError, connections

from django_jobs.backends import Backend, Settled
from django_jobs.models import CompletedJob, Job, JobEvent, Worker
from django_jobs.retry import OutcomeKind
from django_jobs.testing.conformance import QUEUE, BackendContract, definition, settlement
from tests.support.clock import ShiftedMemory, advance_database


@pytest.mark.django_db  # for what atomic handlers write
class TestMemory(BackendContract):
    @pytest.fixture
    def backend(self):
        return ShiftedMemory()

    def advance(self, backend: Backend, seconds: float) -> None:
        backend.shift += seconds

    def forget_worker(self, backend: Backend, worker_id: str) -> None:
        del backend._workers[worker_id]

    def test_clear_forgets_everything(self, backend):
        backend.settle([settlement(self.claimed(backend))])
        self.pause(backend, QUEUE)
        backend.clear()
        assert backend.stats() == []
        assert backend.lost_claims() == []


class TestDatabase(BackendContract):
    @pytest.fixture
    def backend(self, store):
        return store

    def advance(self, backend: Backend, seconds: float) -> None:
        advance_database(backend, seconds)

    def forget_worker(self, backend: Backend, worker_id: str) -> None:
        Worker.objects.using(backend.database).filter(id=worker_id).delete()

    def test_a_batch_is_settled_whole_or_not_at_all(self, backend):
        ids = backend.enqueue_many([definition(), definition()])
        one, other = backend.claim(QUEUE, self.worker(backend), 2)
        too_long = settlement(other, OutcomeKind.FAILED)
        too_long = too_long._replace(transition=too_long.transition._replace(reason="r" * 100))
        try:
            assert backend.settle([settlement(one), too_long]) == [
                Settled.WRITTEN,
                Settled.WRITTEN,
            ]  # where the column cuts, or takes it
        except DatabaseError:
            assert [self.state(backend, job_id) for job_id in ids] == ["running", "running"]
        self.assert_each_in_one_place(backend, ids)

    def test_the_kept_until_moment_follows_from_the_finish(self, backend):
        for keep_seconds, expected in ((None, None), (3600, timedelta(hours=1))):
            claim = self.claimed(backend)
            backend.settle([settlement(claim, keep_seconds=keep_seconds)])
            row = CompletedJob.objects.using(backend.database).get(id=claim.id)
            kept = None if row.keep_until is None else row.keep_until - row.finished_at
            assert kept == expected or abs(kept - expected) < timedelta(seconds=1)

    def test_cancelled_records_are_kept_a_week(self, backend):
        backend.cancel(waiting := backend.enqueue(definition()))
        claim = self.claimed(backend)
        backend.cancel(claim.id)
        backend.release([claim])
        for job_id in (waiting, claim.id):
            row = CompletedJob.objects.using(backend.database).get(id=job_id)
            assert abs(row.keep_until - row.finished_at - timedelta(days=7)) < timedelta(seconds=1)

    def test_labels_are_columns_to_filter_by(self, backend):
        backend.enqueue(definition(name="n", reference="r", group="g", tags=("red", "blue"), source="cli"))
        row = Job.objects.using(backend.database).get()
        assert (row.name, row.reference, row.group, row.tags, row.source) == ("n", "r", "g", " red blue ", "cli")

    def test_a_moved_row_keeps_its_labels(self, backend):
        claim = self.claimed(backend, name="n", reference="r", group="g", tags=("red",), source="cli")
        backend.settle([settlement(claim)])
        row = CompletedJob.objects.using(backend.database).get()
        assert (row.name, row.reference, row.group, row.tags, row.source) == ("n", "r", "g", " red ", "cli")

    def test_timeline_entries_are_stored_bounded(self, backend):
        job_id = backend.enqueue(definition())
        backend.record_events(
            [(job_id, QUEUE, "note", "m" * 90_000, {"n": [1, None]}), (job_id, QUEUE, "x", "\x00", {"s": "a\x00b"})]
        )
        first, second = JobEvent.objects.using(backend.database).order_by("id")
        assert first.data == {"n": [1, None]}
        assert len(first.message) <= 45_010
        assert (second.message, second.data) == ("\ufffd", {"s": "a\ufffdb"})

    def test_the_numbers_of_a_worker_are_kept(self, backend):
        worker_id = self.worker(backend)
        assert backend.renew(worker_id, 30, state="draining", running=3, settled=2**40)
        row = Worker.objects.using(backend.database).get()
        assert (row.state, row.running, row.settled, row.children, row.queues) == ("draining", 3, 2**40, 2, QUEUE)
        assert timedelta(seconds=29) < row.lease_expires_at - row.renewed_at < timedelta(seconds=31)
        backend.deregister(worker_id)
        row.refresh_from_db()
        assert (row.state, row.running) == ("stopped", 0)

    def test_a_worker_is_told_of_new_work(self, backend):
        wakeup = backend.wakeup([QUEUE])
        try:
            backend.enqueue(definition())
            end = time.monotonic() + 10
            while not wakeup.ready():
                assert time.monotonic() < end, "no wake-up came"
                watched = wakeup.fileno()
                select.select([] if watched is None else [watched], [], [], wakeup.interval)
        finally:
            wakeup.close()

    def test_a_worker_is_told_of_a_cancel_at_once_and_not_of_new_work_instead(self, backend):
        claim, idle = self.claimed(backend), self.worker(backend)
        wakeup, other = backend.wakeup([QUEUE]), backend.wakeup([QUEUE])
        if connections[backend.database].vendor == "mysql":
            assert not wakeup.cancels(claim.worker_id)  # it asks, every JOBS_CANCEL_INTERVAL
            return
        try:
            assert not wakeup.cancels(claim.worker_id)
            backend.cancel(claim.id)
            end = time.monotonic() + 10
            while not wakeup.cancels(claim.worker_id):
                assert time.monotonic() < end, "no word came"
                watched = wakeup.fileno()
                select.select([] if watched is None else [watched], [], [], 0.01)
            assert not wakeup.cancels(claim.worker_id)
            if wakeup.fileno() is not None:
                assert not wakeup.ready()
                assert not other.cancels(idle)
                backend.enqueue(definition())
                end = time.monotonic() + 10
                while not wakeup.ready():  # the server's sign of life wakes the connection too
                    assert time.monotonic() < end, "what tells of new work was lost"
                    select.select([wakeup.fileno()], [], [], 0.01)
                    assert not wakeup.cancels(claim.worker_id)
        finally:
            wakeup.close()
            other.close()

    def test_an_enqueue_costs_one_query(self, backend, django_assert_max_num_queries):
        with django_assert_max_num_queries(2, connection=connections[backend.database]):
            backend.enqueue(definition())  # PostgreSQL notifies in a statement of its own


def test_ids_of_definitions_are_monotonic():
    ids = [definition().id for _ in range(100)]
    assert all(a < b for a, b in itertools.pairwise(ids))
