"""Real connections at once, on every database: whatever interleaves, a job is one worker's and ends once."""

from __future__ import annotations

import contextlib
import random
from datetime import timedelta
from functools import partial

import pytest
from django.db import connections, transaction
from django.db.models import F

from django_jobs.backends import CancelOutcome, Settled
from django_jobs.exceptions import DuplicateJob, JobConflict, JobNotFound, StoreBusy
from django_jobs.ids import new_id
from django_jobs.maintenance.reap import reap
from django_jobs.models import Job
from django_jobs.retry import OutcomeKind
from django_jobs.testing.conformance import QUEUE, Contract, definition, settlement
from django_jobs.unique import Unique
from tests.support.threads import run_together

JOBS = 200
ROUNDS = 10


class TestConcurrency(Contract):
    @pytest.fixture
    def backend(self, store):
        return store

    def claim_all(self, backend, worker, limit):
        taken = []
        while some := backend.claim(QUEUE, worker, limit):
            taken += some
        return taken

    def test_four_workers_share_two_hundred_jobs_without_sharing_one(self, backend):
        ids = backend.enqueue_many([definition(priority=n % 3) for n in range(JOBS)])
        workers = [self.worker(backend) for _ in range(4)]
        taken = run_together(*(partial(self.claim_all, backend, worker, 7) for worker in workers))
        claims = [claim for each in taken for claim in each]
        # Where a claim met rows that others had locked, it may have answered none while some waited: look again.
        claims += self.claim_all(backend, workers[0], 50)
        assert sorted(c.id for c in claims) == sorted(ids)
        assert {c.claim_no for c in claims} == {1}
        for worker in workers:
            assert backend.held(worker) == {c.id: 1 for c in claims if c.worker_id == worker}

    def test_of_many_who_want_the_same_job_one_gets_it(self, backend):
        for _ in range(ROUNDS):
            job_id = backend.enqueue(definition())
            workers = [self.worker(backend) for _ in range(4)]
            one_job = [partial(backend.claim_job, job_id, worker) for worker in workers[:3]]
            *by_id, by_queue = run_together(*one_job, partial(backend.claim, QUEUE, workers[3], 5))
            holders = [claim for claim in [*by_id, *by_queue] if claim is not None]
            assert [claim.id for claim in holders] == [job_id]
            assert backend.settle([settlement(holders[0])]) == [Settled.WRITTEN]

    def test_workers_that_claim_and_settle_at_once_finish_each_job_once(self, backend):
        ids = backend.enqueue_many([definition() for _ in range(JOBS)])

        def work(worker):
            settled = 0
            while claims := backend.claim(QUEUE, worker, 10):
                settled += sum(map(bool, backend.settle([settlement(c) for c in claims])))
            return settled

        workers = [self.worker(backend) for _ in range(4)]
        settled = run_together(*(partial(work, worker) for worker in workers))
        assert sum(settled) + work(workers[0]) == JOBS
        self.assert_each_in_one_place(backend, ids)
        assert {self.state(backend, job_id) for job_id in ids[::20]} == {"completed"}

    def test_enqueues_and_claims_at_once_lose_no_job(self, backend):
        def enqueue():
            return [backend.enqueue_many([definition() for _ in range(10)]) for _ in range(5)]

        worker = self.worker(backend)
        answers = run_together(enqueue, enqueue, partial(self.claim_all, backend, worker, 5))
        ids = [job_id for batches in answers[:2] for batch in batches for job_id in batch]
        claims = [*answers[2], *self.claim_all(backend, worker, 100)]
        assert sorted(c.id for c in claims) == sorted(ids)

    @pytest.mark.parametrize("kind", [OutcomeKind.COMPLETED, OutcomeKind.FAILED, OutcomeKind.RETRY])
    def test_a_settlement_a_cancel_and_a_reaper_leave_one_outcome(self, backend, kind):
        for _ in range(ROUNDS):
            claim = self.claimed(backend, max_attempts=3)
            backend.deregister(claim.worker_id)
            mine = settlement(claim, kind, retry_after=60)
            settled, cancel, reaped = run_together(
                lambda mine=mine: backend.settle([mine]), partial(backend.cancel, claim.id), partial(reap, backend)
            )
            assert bool(settled[0]) + len(reaped) == 1
            self.assert_each_in_one_place(backend, [claim.id])
            state = self.state(backend, claim.id)
            if cancel in (CancelOutcome.CANCELLED, CancelOutcome.REQUESTED):
                assert state == "cancelled"
            elif settled[0]:
                assert cancel is CancelOutcome.ALREADY_FINISHED
                assert state == str(kind)
            backend.delete(claim.id, force=True)

    def test_two_settlements_of_one_claim_at_once_are_settled_once(self, backend):
        for _ in range(ROUNDS):
            claim = self.claimed(backend)
            one, other = settlement(claim), settlement(claim, OutcomeKind.FAILED)
            answers = run_together(lambda s=one: backend.settle([s]), lambda s=other: backend.settle([s]))
            assert sorted([answers[0][0], answers[1][0]]) == [Settled.LOST, Settled.WRITTEN]
            assert self.state(backend, claim.id) == ("completed" if answers[0][0] else "failed")
            self.assert_each_in_one_place(backend, [claim.id])
            backend.delete(claim.id)

    def test_a_cancel_and_a_claim_at_once_agree(self, backend):
        worker = self.worker(backend)
        for _ in range(ROUNDS):
            job_id = backend.enqueue(definition())
            claims, cancel = run_together(partial(backend.claim, QUEUE, worker, 1), partial(backend.cancel, job_id))
            state = self.state(backend, job_id)
            assert (state, bool(claims)) in (("cancelled", False), ("cancel_requested", True))
            assert cancel is (CancelOutcome.REQUESTED if claims else CancelOutcome.CANCELLED)
            backend.delete(job_id, force=True)

    def test_two_retries_of_a_failed_job_at_once_make_it_wait_once(self, backend):
        for _ in range(ROUNDS):
            claim = self.claimed(backend)
            backend.settle([settlement(claim, OutcomeKind.FAILED)])

            def retry(job_id=claim.id):
                try:
                    backend.retry(job_id)
                except (JobNotFound, JobConflict):
                    return False
                return True

            assert sorted(run_together(retry, retry)) == [False, True]
            self.assert_each_in_one_place(backend, [claim.id])
            backend.delete(claim.id)

    def test_the_same_id_enqueued_at_once_is_one_job(self, backend):
        for _ in range(ROUNDS):
            job_id = new_id()
            enqueue = partial(backend.enqueue, definition(id=job_id))
            assert run_together(enqueue, enqueue, enqueue) == [job_id] * 3
            self.assert_each_in_one_place(backend, [job_id])
            backend.delete(job_id)

    def test_batches_that_overlap_in_other_orders_do_not_deadlock(self, backend):
        ids = backend.enqueue_many([definition() for _ in range(60)])
        claims = backend.claim(QUEUE, self.worker(backend), 60)

        def settle(seed):
            mixed = claims[:]
            random.Random(seed).shuffle(mixed)
            kinds = [OutcomeKind.COMPLETED, OutcomeKind.FAILED, OutcomeKind.RETRY]
            return dict(
                zip(
                    [c.id for c in mixed],
                    backend.settle([settlement(c, kinds[n % 3]) for n, c in enumerate(mixed)]),
                    strict=True,
                )
            )

        answers = run_together(*(partial(settle, seed) for seed in range(4)))
        for job_id in ids:
            assert sum(answer[job_id] for answer in answers) == 1
        self.assert_each_in_one_place(backend, ids)

    def test_two_promoters_at_once_promote_each_job_once(self, backend):
        ids = backend.enqueue_many([definition(delay=60) for _ in range(100)])
        Job.objects.using(backend.database).update(available_at=F("available_at") - timedelta(seconds=61))
        answers = run_together(*[partial(backend.promote_due, 30)] * 3)
        promoted = sum(p.promoted for p in answers)
        while more := backend.promote_due(30).promoted:
            promoted += more
        assert promoted == 100
        assert all(next_in is None or next_in >= 0 for _, next_in in answers)
        assert {self.state(backend, job_id) for job_id in ids[::10]} == {"pending"}


class TestUnique(Contract):
    @pytest.fixture
    def backend(self, store):
        return store

    @pytest.fixture
    def vendor(self, backend):
        vendor = connections[backend.database].vendor
        if vendor == "sqlite":
            pytest.skip("SQLite has one writer, and one isolation level")
        return vendor

    def one(self, key="k", until="finished", mode="return_existing"):
        return definition(unique=Unique(key, until, mode))

    def isolate(self, backend, vendor, level):
        session = "SESSION CHARACTERISTICS AS TRANSACTION" if vendor == "postgresql" else "SESSION TRANSACTION"
        with connections[backend.database].cursor() as cursor:
            cursor.execute(f"SET {session} ISOLATION LEVEL {level}")

    def test_a_caller_who_meets_a_running_job_does_not_hold_up_its_worker(self, backend, vendor):
        job_id = backend.enqueue(self.one())
        (claim,) = backend.claim(QUEUE, self.worker(backend), 1)
        with transaction.atomic(using=backend.database):
            assert backend.enqueue(self.one()) == job_id
            with pytest.raises(DuplicateJob):
                backend.enqueue(self.one(mode="reject"))

            def settle():
                seconds = "lock_timeout = 1000" if vendor == "postgresql" else "innodb_lock_wait_timeout = 1"
                with connections[backend.database].cursor() as cursor:
                    cursor.execute(f"SET SESSION {seconds}")  # so that this fails, and does not wait for ever
                return backend.settle([settlement(claim)])

            assert run_together(settle) == [[Settled.WRITTEN]]

    def test_a_caller_who_meets_a_waiting_job_keeps_it_until_the_commit(self, backend, vendor):
        job_id = backend.enqueue(self.one())
        worker = self.worker(backend)
        with transaction.atomic(using=backend.database):
            assert backend.enqueue(self.one()) == job_id
            if vendor == "postgresql":  # elsewhere a claim may wait for the lock
                assert run_together(lambda: backend.claim(QUEUE, worker, 1)) == [[]]
        assert [claim.id for claim in backend.claim(QUEUE, worker, 1)] == [job_id]

    @pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
    @pytest.mark.parametrize("until", ["finished", "started", 60.0])
    def test_one_of_many_is_stored_at_every_level_of_isolation(self, backend, vendor, level, until):
        def enqueue():
            self.isolate(backend, vendor, level)
            return [backend.enqueue(self.one(f"k{n}", until)) for n in range(10)]

        answers = run_together(*[enqueue] * 4)
        assert answers[1:] == answers[:1] * 3
        assert Job.objects.using(backend.database).count() == 10

    def test_a_snapshot_that_is_too_old_is_told_of_and_a_new_one_sees_the_job(self, backend, vendor):
        if vendor != "postgresql":
            pytest.skip("MySQL's locking reads see what its snapshot does not")

        def late():
            self.isolate(backend, vendor, "REPEATABLE READ")
            with transaction.atomic(using=backend.database):
                assert not Job.objects.using(backend.database).exists()
                (job_id,) = run_together(lambda: backend.enqueue(self.one()))
                with pytest.raises(StoreBusy, match="Roll back and try again"):
                    backend.enqueue(self.one())
            return job_id, backend.enqueue(self.one())

        ((there, answered),) = run_together(late)
        assert answered == there

    @pytest.mark.parametrize("until", ["finished", "started"])
    def test_jobs_that_are_replaced_claimed_and_settled_at_once_are_lost_or_doubled_nowhere(self, backend, until):
        def enqueue(seed):
            chance = random.Random(seed)
            ids = []
            while len(ids) < 30:
                batch = [self.one(key, until, "replace") for key in chance.sample("abcd", 2)]
                with contextlib.suppress(StoreBusy):  # as it says: again
                    ids += backend.enqueue_many(batch)
            return ids

        def work(seed):
            chance, worker = random.Random(seed), self.worker(backend)
            settled = []
            for _ in range(40):
                claims = backend.claim(QUEUE, worker, 3)
                kinds = [chance.choice([OutcomeKind.COMPLETED, OutcomeKind.INTERRUPTED]) for _ in claims]
                answers = backend.settle([settlement(c, kind) for c, kind in zip(claims, kinds, strict=True)])
                assert all(answers)
                settled += [c.id for c, kind in zip(claims, kinds, strict=True) if kind is OutcomeKind.COMPLETED]
            return settled

        *enqueued, one, other = run_together(
            *(partial(enqueue, n) for n in range(3)), partial(work, 3), partial(work, 4)
        )
        ids = [job_id for some in enqueued for job_id in some]
        self.assert_each_in_one_place(backend, ids)
        states = {job_id: self.state(backend, job_id) for job_id in ids}
        assert sorted([*one, *other]) == sorted(job_id for job_id, state in states.items() if state == "completed")
        assert set(states.values()) <= {"pending", "completed", "cancelled"}
        if until == "finished":
            waiting = Job.objects.using(backend.database).values_list("unique_key", flat=True)
            keys = [key for key in waiting if key is not None]
            assert len(keys) == len(set(keys)) <= 4

    def test_the_same_ids_in_other_orders_do_not_deadlock(self, backend):
        """A caller's own transaction is never tried again, so an enqueue must take its locks in one order."""
        ids = []
        for _ in range(ROUNDS):
            batch = [definition(id=new_id()) for _ in range(20)]
            ids += [d.id for d in batch]

            def enqueue(some):
                with transaction.atomic(using=backend.database):
                    return backend.enqueue_many(some)

            run_together(partial(enqueue, batch), partial(enqueue, batch[::-1]), partial(enqueue, batch))
        self.assert_each_in_one_place(backend, ids)
