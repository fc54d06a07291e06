"""Whatever is asked of a backend, in whatever order, it answers as a model of a page does.

The model knows the laws of the contract and nothing of how they are kept. Hypothesis makes up the stories.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from django_jobs.backends import Backend, CancelOutcome, Settled, WorkerInfo
from django_jobs.backends.database import DatabaseBackend
from django_jobs.exceptions import JobConflict, JobNotFound
from django_jobs.maintenance.reap import reap
from django_jobs.retry import OutcomeKind
from django_jobs.runtime import Claim
from django_jobs.testing.conformance import QUEUE, definition, settlement
from tests.support.clock import ShiftedMemory, advance_database
from tests.support.site import empty_tables

# Times differ by tens of seconds, so that the seconds that the test itself takes decide nothing: whatever is due or
# over lies at 50, and the clock stands at full hundreds.
LEASE = 250
DELAYS = (0, 50, 150, 350)
WAITS = st.sampled_from((None, *DELAYS))
MAX_CRASHES = 3
KINDS = [
    *(OutcomeKind.COMPLETED, OutcomeKind.FAILED, OutcomeKind.RETRY, OutcomeKind.SNOOZED, OutcomeKind.CRASHED),
    *(OutcomeKind.TIMED_OUT, OutcomeKind.INTERRUPTED, OutcomeKind.CANCELLED),
]


@dataclass
class ModelJob:
    """What the contract says of a job."""

    rank: int
    due: float
    state: str
    max_attempts: int
    attempt: int = 0
    crashes: int = 0
    claim_no: int = 0
    suspect: bool = False
    worker: str | None = None
    reason: str = ""

    @property
    def held(self) -> bool:
        return self.state in ("running", "cancel_requested")

    @property
    def finished(self) -> bool:
        return self.state in ("completed", "cancelled", "failed")

    def settle(self, kind: OutcomeKind, wait: int | None, now: float) -> Settled:
        """Take in an outcome that the present holder reports."""
        if self.state == "cancel_requested":
            self.state = "cancelled"
            return Settled.CANCELLED
        match kind:
            case OutcomeKind.COMPLETED | OutcomeKind.CANCELLED:
                self.state = str(kind)
            case OutcomeKind.INTERRUPTED:
                self.wait(0, now, refund=1)
            case OutcomeKind.SNOOZED:
                self.wait(wait or 0, now, refund=1)
            case OutcomeKind.LOST if not self.suspect:
                self.suspect = True
                self.wait(0, now, refund=1)
            case OutcomeKind.CRASHED | OutcomeKind.LOST:
                again = kind is OutcomeKind.LOST  # it was alone: the loss before was its doing too
                self.crashes += 2 if again and not self.crashes else 1
                if self.crashes == MAX_CRASHES:
                    self.fail("crashed")
                else:
                    self.suspect = True
                    self.wait(0, now, refund=1)
                    if again:  # behind the other suspects, by a moment
                        self.state, self.due = "scheduled", now
            case OutcomeKind.RETRY | OutcomeKind.TIMED_OUT if self.attempt < self.max_attempts:
                self.wait(wait or 0, now)
            case OutcomeKind.RETRY:
                self.fail("dead")
            case _:
                self.fail(str(kind))
        return Settled.WRITTEN

    def wait(self, seconds: int, now: float, refund: int = 0) -> None:
        self.worker = None
        self.attempt -= refund
        self.state = "scheduled" if seconds else "pending"
        self.due = now + seconds if seconds else self.due

    def fail(self, reason: str) -> None:
        self.state, self.reason = "failed", reason


class Story(RuleBasedStateMachine):
    """One story, told to a backend and to the model."""

    jobs: Bundle[str] = Bundle("jobs")
    workers: Bundle[str] = Bundle("workers")
    claims: Bundle[Claim] = Bundle("claims")

    def __init__(self, backend: Backend, advance: Callable[[float], None]) -> None:
        super().__init__()
        self.backend = backend
        self.move_clock = advance
        self.now = 0.0
        self.known: dict[str, ModelJob] = {}
        self.leases: dict[str, float] = {}
        self.gone: set[str] = set()  # workers that are lost or have stopped

    @initialize(target=workers)
    def begin(self) -> object:
        return multiple(self.register(), self.register())

    # -- putting in -----------------------------------------------------------------------------------------------

    @rule(
        target=jobs,
        number=st.integers(1, 4),
        priority=st.integers(-1, 1),
        delay=st.sampled_from(DELAYS),
        max_attempts=st.integers(1, 3),
    )
    def enqueue(self, number: int, priority: int, delay: int, max_attempts: int) -> object:
        options = {"priority": priority, "delay": delay, "max_attempts": max_attempts}
        ids = self.backend.enqueue_many([definition(**options) for _ in range(number)])
        for job_id in ids:
            state = "scheduled" if delay else "pending"
            self.known[job_id] = ModelJob(-priority, self.now + delay, state, max_attempts)
        return multiple(*ids)

    @rule(job_id=jobs, delay=st.sampled_from(DELAYS))
    def enqueue_again(self, job_id: str, delay: int) -> None:
        """A repeat changes nothing; of a job that was deleted it makes a new one."""
        assert self.backend.enqueue(definition(id=job_id, delay=delay)) == job_id
        if job_id not in self.known:
            self.known[job_id] = ModelJob(0, self.now + delay, "scheduled" if delay else "pending", 1)

    # -- workers --------------------------------------------------------------------------------------------------

    @rule(target=workers)
    def register(self) -> str:
        worker_id = str(uuid.uuid4())
        self.backend.register(WorkerInfo(worker_id, "host", 1, [QUEUE]), LEASE)
        self.leases[worker_id] = self.now + LEASE
        return worker_id

    @rule(worker_id=workers)
    def renew(self, worker_id: str) -> None:
        renewed = self.backend.renew(worker_id, LEASE, state="running", running=0, settled=0)
        assert renewed == (worker_id not in self.gone)
        if renewed:
            self.leases[worker_id] = self.now + LEASE

    @rule(worker_id=consumes(workers))
    def stop(self, worker_id: str) -> None:
        self.backend.deregister(worker_id)
        self.gone.add(worker_id)

    @rule(target=claims, worker_id=workers, limit=st.integers(1, 5))
    def claim(self, worker_id: str, limit: int) -> object:
        return multiple(*self.claim_some(worker_id, limit))

    @rule(target=claims, worker_id=workers)
    def claim_suspect(self, worker_id: str) -> object:
        return multiple(*self.claim_some(worker_id, 1, suspect=True))

    @rule(target=claims, worker_id=workers, number=st.integers(1, 3), max_attempts=st.integers(1, 3))
    def enqueue_and_claim(self, worker_id: str, number: int, max_attempts: int) -> object:
        self.enqueue(number, 0, 0, max_attempts)
        return multiple(*self.claim_some(worker_id, number))

    @rule(target=claims, worker_id=workers)
    def claim_and_claim_again(self, worker_id: str) -> object:
        """A worker that holds a job twice: the first claim is not good any more."""
        self.enqueue(1, 0, 0, 2)
        first = self.claim_some(worker_id, 2)
        self.release(first)
        return multiple(*first, *self.claim_some(worker_id, 2))

    def claim_some(self, worker_id: str, limit: int, suspect: bool = False) -> list[Claim]:
        claims = self.backend.claim(QUEUE, worker_id, limit, suspect=suspect)
        waiting = [j for j in self.known.values() if j.state == "pending" and j.suspect == suspect]
        order = sorted((j.rank, j.due) for j in waiting)
        may = worker_id not in self.gone and self.leases[worker_id] > self.now
        assert [(self.known[c.id].rank, self.known[c.id].due) for c in claims] == (order[:limit] if may else [])
        for claim in claims:
            job = self.known[claim.id]
            job.state, job.worker = "running", worker_id
            job.attempt += 1
            job.claim_no += 1
            assert (claim.worker_id, claim.claim_no, claim.attempt) == (worker_id, job.claim_no, job.attempt)
            assert (claim.crashes, claim.suspect) == (job.crashes, suspect)
        return claims

    @rule(
        told=st.lists(
            st.tuples(claims, st.sampled_from(KINDS), st.sampled_from((None, *DELAYS))), min_size=1, max_size=4
        )
    )
    def settle(self, told: list[tuple[Claim, OutcomeKind, int | None]]) -> None:
        """Of claims old and new, the same one perhaps twice: only the present holder's first word counts."""
        batch = [settlement(claim, kind, retry_after=wait) for claim, kind, wait in told]
        expected = [self.told(claim, kind, wait) for claim, kind, wait in told]
        assert self.backend.settle(batch) == expected

    @rule(some=st.lists(claims, min_size=1, max_size=4))
    def release(self, some: list[Claim]) -> None:
        expected = [self.told(claim, OutcomeKind.INTERRUPTED, None) for claim in some]
        assert self.backend.release(some) == expected

    def told(self, claim: Claim, kind: OutcomeKind, wait: int | None) -> Settled:
        job = self.known.get(claim.id)
        if job is None or not job.held or (job.worker, job.claim_no) != (claim.worker_id, claim.claim_no):
            return Settled.LOST
        return job.settle(kind, wait, self.now)

    # -- time and housekeeping ------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((100, 200, 300)))
    def pass_time(self, seconds: int) -> None:
        self.move_clock(seconds)
        self.now += seconds

    @rule()
    def promote(self) -> None:
        due = [j for j in self.known.values() if j.state == "scheduled" and j.due <= self.now]
        for job in due:
            job.state = "pending"
        promotion = self.backend.promote_due()
        later = [j.due - self.now for j in self.known.values() if j.state == "scheduled"]
        assert promotion.promoted == len(due)
        assert (promotion.next_in is None) == (not later)
        if promotion.next_in is not None:
            assert min(later) - 50 < promotion.next_in <= min(later)

    @rule()
    def reap(self) -> None:
        self.gone |= {worker_id for worker_id, until in self.leases.items() if until < self.now}
        lost = {job_id: job for job_id, job in self.known.items() if job.held and job.worker in self.gone}
        for job in lost.values():
            job.settle(OutcomeKind.LOST, None, self.now)
        assert {s.claim.id for s in reap(self.backend)} == set(lost)
        self.move_clock(0.01)  # beyond the moment that a job waits which was lost again

    # -- people ---------------------------------------------------------------------------------------------------

    @rule(job_id=jobs)
    def cancel(self, job_id: str) -> None:
        job = self.known.get(job_id)
        expected = CancelOutcome.NOT_FOUND
        if job is not None and job.finished:
            expected = CancelOutcome.ALREADY_FINISHED
        elif job is not None:
            expected = CancelOutcome.REQUESTED if job.held else CancelOutcome.CANCELLED
            job.state = "cancel_requested" if job.held else "cancelled"
        assert self.backend.cancel(job_id) is expected

    @rule(job_id=jobs, delay=st.sampled_from(DELAYS))
    def retry(self, job_id: str, delay: int) -> None:
        job = self.known.get(job_id)
        try:
            self.backend.retry(job_id, delay=delay)
        except JobNotFound:
            assert job is None or job.state != "failed"
            return
        assert job is not None
        assert job.state == "failed"
        job.attempt, job.crashes, job.suspect, job.worker, job.reason = 0, 0, False, None, ""
        job.state, job.due = "scheduled" if delay else "pending", self.now + delay

    @rule(job_id=jobs, force=st.booleans())
    def delete(self, job_id: str, force: bool) -> None:
        job = self.known.get(job_id)
        try:
            assert self.backend.delete(job_id, force=force) == (job is not None)
        except JobConflict:
            assert job is not None
            assert job.held
            assert not force
        else:
            self.known.pop(job_id, None)

    # -- what holds after each step -------------------------------------------------------------------------------

    @invariant()
    def every_job_is_as_the_model_says(self) -> None:
        for job_id, job in self.known.items():
            record = self.backend.get(job_id)
            assert record is not None, f"{job_id} is nowhere; it should be {job}"
            seen = (record.state, record.attempt, record.crashes, record.claim_no, record.reason, record.priority)
            assert seen == (job.state, job.attempt, job.crashes, job.claim_no, job.reason, -job.rank)

    @invariant()
    def nothing_else_is_stored(self) -> None:
        stored = sum(n for stats in self.backend.stats() for n in stats.counts.values())
        assert stored == len(self.known)

    @invariant()
    def the_store_knows_who_holds_what(self) -> None:
        for worker_id in self.leases:
            mine = {i: j for i, j in self.known.items() if j.held and j.worker == worker_id}
            assert self.backend.held(worker_id) == {job_id: job.claim_no for job_id, job in mine.items()}
            asked = {job_id for job_id, job in mine.items() if job.state == "cancel_requested"}
            assert self.backend.cancel_requests(worker_id) == asked


def on_memory() -> Story:
    backend = ShiftedMemory()

    def advance(seconds: float) -> None:
        backend.shift += seconds

    return Story(backend, advance)


QUICK = settings(max_examples=25, stateful_step_count=30, derandomize=True)
DEEP = settings(max_examples=200, stateful_step_count=60)


def test_memory_is_as_the_model() -> None:
    run_state_machine_as_test(on_memory, settings=settings(QUICK, max_examples=100))


def test_the_database_is_as_the_model(store) -> None:
    tell(store, QUICK)


@pytest.mark.torture
def test_memory_is_as_the_model_in_long_stories() -> None:
    run_state_machine_as_test(on_memory, settings=DEEP)


@pytest.mark.torture
def test_the_database_is_as_the_model_in_long_stories(store) -> None:
    tell(store, DEEP)


def tell(store, how: settings) -> None:
    def start() -> Story:
        empty_tables(store.database)
        # One for each story: where a backend's claims have got to is no more true when the clock is moved by hand.
        backend = DatabaseBackend("default", {"DATABASE": store.database})
        return Story(backend, lambda seconds: advance_database(backend, seconds))

    # Unshrunk, as that takes minutes on a database: the same story is soon shrunk on `memory`, if the model is wrong.
    run_state_machine_as_test(start, settings=settings(how, phases=[Phase.generate]))
