"""The contract of a backend as tests, for every backend: those of django_jobs and those that others write.

Subclass `BackendContract` in your tests, give it a fixture named `backend`, and tell it how to move time:

    import pytest
    from django_jobs.testing.conformance import BackendContract

    class TestMyBackend(BackendContract):
        @pytest.fixture
        def backend(self):
            backend = MyBackend("default", {})
            yield backend
            backend.close()

        def advance(self, backend, seconds):
            backend.clock.shift(seconds)

        def forget_worker(self, backend, worker_id):
            del backend.workers[worker_id]

Every test starts from an empty store. For readable failures, have pytest rewrite the assertions before the import:
`pytest.register_assert_rewrite("django_jobs.testing.conformance")` in a `conftest.py`.
"""

# ruff: noqa: S101, S311 - assertions are what this module is for, and its random orders are to be repeatable

from __future__ import annotations

import random
import select
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ..backends import Backend, CancelOutcome, JobRecord, Settled, WorkerInfo
from ..definition import OPTION_NAMES, UNSET, JobDefinition, Unset
from ..envelope import unseal
from ..exceptions import (
    DuplicateJob,
    JobConflict,
    JobNotFound,
    NonRetryableJobError,
    PayloadNotSerializable,
    PayloadTooLarge,
)
from ..ids import new_id
from ..retry import OutcomeKind
from ..runtime import Claim, ErrorRecord, Outcome, RolledBack, record_error
from ..settlement import Settlement, conclude
from ..unique import Unique

QUEUE = "contract"
HANDLER = "contract.job"
LEASE_SECONDS = 30.0
EVENT_SECONDS = 10.0
"""How long a test waits for what should come at once."""

_WHOLE: dict[str, Any] = {"queue": QUEUE, "priority": 0, "delay": 0, "max_attempts": 1, "timeout": 300, "backoff": None}
_WHOLE |= {"unique": None}

BAD_PAYLOADS: dict[str, Any] = {
    "not a number": float("nan"),
    "infinity": [float("inf")],
    "a lone surrogate": {"text": "\ud800"},
    "a lone surrogate as a key": {"\udfff": 1},
    "a key that is no text": {"outer": {1: "x"}},
    "None as a key": {None: 1},
    "an object": {"it": object()},
    "a set": {1, 2},
    "bytes": b"raw",
    "a whole number of 5,000 digits": 10**5000,
}

OPTION_SAMPLES: dict[str, Any] = {
    "id": "01900000-0000-7000-8000-0000000000aa",
    "uuid": uuid.UUID("01900000-0000-7000-8000-0000000000bb"),
    "queue": "other.queue-1",
    "backend": "default",
    "priority": -100,
    "delay": 90.5,
    "available_at": datetime(2037, 3, 29, 1, 30, 0, 123456, tzinfo=UTC),
    "expires": "2 hours",
    "expires_at": datetime(2038, 1, 19, 3, 14, 8, 999999, tzinfo=UTC),
    "ttl": 3600,
    "max_attempts": 7,
    "max_retries": 3,
    "timeout": 12.5,
    "backoff": {"strategy": "table", "delays": [1, 2.5, 30], "jitter": 0.1},
    "retry_delay": 9,
    "name": 'Zoë\'s "best" 100% \\ job ☕ 🎉',
    "reference": "report-42; DROP TABLE jobs --",
    "group": "größe",
    "tags": ["red", "grün", "100%"],
    "meta": {"nested": {"list": [1, 2.5, None, True, ""]}, "☕": "\u0000 and \u2028", "big": 2**80},
    "source": "cli",
    "expires_in": 60,
    "unique": {"key": "Zoë's", "until": "started", "mode": "replace"},
    "middleware": ["site.middleware.trace"],
    "cancel_handler": ["contract.job", "undo"],
    "enabled": True,
    "environments": ["production"],
}

PAYLOADS: list[Any] = [
    *(None, True, False, 0, -1, 2**63, 10**300, 1.5, -0.0, 1e-300, "", "text", [], {}),
    *("\u0000\u001f\u007f\u2028\ufffe\uffff", "☕🎉", '"quoted" \\ %s %% {} $1 ?', "a" * 10_000),
    *([None, [[]], {"a": {"b": [1, {"c": None}]}}], {"": "", "%s": "%d", "key with spaces": 1}),
]


def definition(payload: Any = None, **options: Any) -> JobDefinition:
    """A whole definition, as a backend gets it: no option is UNSET, and it has an id."""
    given_id = options.pop("id", None)
    made = JobDefinition(handler=HANDLER, payload=payload, **{**_WHOLE, **options})
    return replace(made, id=given_id or new_id(), fresh_id=given_id is None)


def settlement(claim: Claim, kind: OutcomeKind = OutcomeKind.COMPLETED, **outcome: Any) -> Settlement:
    """What a worker would settle after an outcome."""
    return conclude(claim, Outcome(kind, **outcome), rng=lambda: 0.5)


@contextmanager
def raises(kind: type[BaseException]) -> Iterator[None]:
    """Fail unless the block raises `kind`."""
    try:
        yield
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")


@contextmanager
def refused_for(existing: str) -> Iterator[None]:
    """Fail unless the block is refused because the job `existing` has the unique key."""
    try:
        yield
    except DuplicateJob as error:
        found = error.existing
    else:
        found = "nothing"
    assert found == existing


class Contract:
    """What the contract needs of a backend under test, and the verbs that its tests are written in."""

    def advance(self, backend: Backend, seconds: float) -> None:
        """Let `seconds` pass for the store: move its clock, or every moment that it has stored into the past."""
        raise NotImplementedError("a contract's subclass says how to move time: advance(self, backend, seconds)")

    def pause(self, backend: Backend, queue: str) -> None:
        """Pause `queue`, as an operator would."""
        backend.set_paused([queue], paused=True)

    def forget_worker(self, backend: Backend, worker_id: str) -> None:
        """Remove what the store knows of a worker, as housekeeping does long after its end."""
        raise NotImplementedError("a contract's subclass says how to forget a worker: forget_worker(self, backend, id)")

    # -- helpers ----------------------------------------------------------------------------------------------

    def worker(self, backend: Backend, lease_seconds: float = LEASE_SECONDS) -> str:
        """Register a worker with a lease; its id."""
        worker_id = str(uuid.uuid4())
        backend.register(WorkerInfo(worker_id, "host", 1, [QUEUE], 2), lease_seconds)
        return worker_id

    def renew(self, backend: Backend, worker_id: str, lease_seconds: float = LEASE_SECONDS) -> bool:
        return backend.renew(worker_id, lease_seconds, state="running", running=0, settled=0)

    def claimed(self, backend: Backend, **options: Any) -> Claim:
        """Enqueue one job and claim it with a new worker."""
        job_id = backend.enqueue(definition(**options))
        return self.claim_again(backend, job_id)

    def claim_again(self, backend: Backend, job_id: str, *, suspect: bool = False) -> Claim:
        """Claim the one job that waits, with a new worker."""
        (claim,) = backend.claim(QUEUE, self.worker(backend), 10, suspect=suspect)
        assert claim.id == job_id
        return claim

    def lose(self, backend: Backend, claim: Claim) -> Settlement:
        """Let the claim's worker lapse, and settle its claim as a reaper would."""
        self.advance(backend, LEASE_SECONDS + 1)
        (lost,) = (c for c in backend.lost_claims() if c.id == claim.id)
        reaped = settlement(lost, OutcomeKind.LOST)
        assert backend.settle([reaped]) != [Settled.LOST]
        return reaped

    def record(self, backend: Backend, job_id: str) -> JobRecord:
        found = backend.get(job_id)
        assert found is not None, f"job {job_id} is nowhere"
        return found

    def state(self, backend: Backend, job_id: str) -> str:
        return self.record(backend, job_id).state

    def assert_each_in_one_place(self, backend: Backend, ids: Sequence[str]) -> None:
        """Every job of `ids` is stored once, and nothing else is: what `get` finds is what `stats` counts."""
        states = [self.state(backend, job_id) for job_id in set(ids)]
        counted: Counter[str] = Counter()
        for numbers in backend.stats():
            counted.update({state: n for state, n in numbers.counts.items() if n})
        assert counted == Counter(states)


class EnqueueContract(Contract):
    """Putting in: what goes in comes out, an id is one job, and bad input leaves nothing."""

    def test_ids_are_answered_in_the_order_of_the_definitions(self, backend: Backend) -> None:
        definitions = [definition(n) for n in range(5)]
        assert backend.enqueue_many(definitions) == [d.id for d in definitions]
        self.assert_each_in_one_place(backend, [str(d.id) for d in definitions])

    def test_an_empty_batch_stores_nothing(self, backend: Backend) -> None:
        assert backend.enqueue_many([]) == []
        self.assert_each_in_one_place(backend, [])

    def test_a_batch_of_six_hundred_is_stored_claimed_and_settled(self, backend: Backend) -> None:
        ids = backend.enqueue_many([definition(n) for n in range(600)])
        worker = self.worker(backend)
        claims = backend.claim(QUEUE, worker, 600)
        assert [c.id for c in claims] == ids
        assert backend.settle([settlement(c) for c in claims]) == [Settled.WRITTEN] * 600
        (numbers,) = backend.stats()
        assert dict(numbers.counts) == {"completed": 600}
        assert backend.held(worker) == {}

    def test_a_job_without_a_delay_is_pending_at_once(self, backend: Backend) -> None:
        record = self.record(backend, backend.enqueue(definition()))
        assert (record.state, record.attempt, record.claim_no, record.crashes) == ("pending", 0, 0, 0)
        assert record.available_at == record.enqueued_at
        assert record.worker_id is None
        assert not record.is_finished

    def test_a_due_time_in_the_past_makes_a_job_pending_at_once(self, backend: Backend) -> None:
        past = datetime.now(UTC) - timedelta(hours=3)
        record = self.record(backend, backend.enqueue(definition(available_at=past)))
        assert record.state == "pending"
        assert record.available_at is not None
        assert abs((record.available_at - past).total_seconds()) < 0.01

    def test_the_ends_of_the_calendar_are_due_times_like_any_other(self, backend: Backend) -> None:
        first, last = datetime(1000, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
        for when, state in ((last, "scheduled"), (first, "pending")):
            record = self.record(backend, backend.enqueue(definition().with_(available_at=when)))
            assert record.state == state
            assert record.available_at is not None
            assert abs((record.available_at - when).total_seconds()) < 0.001
        promoted, next_in = backend.promote_due()
        assert promoted == 0
        assert next_in is not None
        assert next_in > 86_400 * 365 * 1000

    def test_an_absolute_due_time_wins_over_a_delay(self, backend: Backend) -> None:
        when = datetime.now(UTC) + timedelta(hours=5)
        record = self.record(backend, backend.enqueue(definition(available_at=when, delay=10)))
        assert record.available_at is not None
        assert abs((record.available_at - when).total_seconds()) < 0.01

    def test_every_payload_comes_back_as_it_went_in(self, backend: Backend) -> None:
        for payload in PAYLOADS:
            job_id = backend.enqueue(definition(payload))
            claim = self.claim_again(backend, job_id)
            found = self.record(backend, job_id).definition
            assert found is not None
            opened = unseal(claim.body, claim.signature, id=job_id, queue=QUEUE, handler=HANDLER)
            assert repr(found.payload) == repr(opened.payload) == repr(payload)

    def test_every_option_survives_the_store(self, backend: Backend) -> None:
        assert set(OPTION_SAMPLES) == OPTION_NAMES, "every option has a sample here"
        for option, value in OPTION_SAMPLES.items():
            given = definition({"option": option}).with_(**{option: value})
            if option in ("id", "uuid"):
                given = replace(given, fresh_id=False)
            job_id = backend.enqueue(given)
            # What decides when and where a job runs is in the store's columns, the rest in the envelope.
            kept = replace(given, priority=UNSET, delay=UNSET, available_at=None, backend=UNSET, fresh_id=False)
            kept = replace(kept, environments=())  # where a job may be stored is decided before it is
            record = self.record(backend, job_id)
            assert record.definition == kept, option
            assert (record.priority, record.max_attempts) == (given.priority, given.max_attempts), option
            assert (record.queue, record.handler) == (given.queue, HANDLER), option
            assert record.enqueued_at is not None
            assert record.available_at is not None
            if given.available_at is not None:
                assert abs((record.available_at - given.available_at).total_seconds()) < 0.001
            else:
                waits = (record.available_at - record.enqueued_at).total_seconds()
                delay = 0 if isinstance(given.delay, Unset) else given.delay
                assert abs(waits - delay) < 0.01, option
            if record.state == "pending":
                (claim,) = backend.claim(record.queue, self.worker(backend), 1)
                opened = unseal(claim.body, claim.signature, id=job_id, queue=record.queue, handler=HANDLER)
                assert opened == kept, option

    def test_bad_payloads_are_refused_and_leave_nothing(self, backend: Backend) -> None:
        for what, payload in BAD_PAYLOADS.items():
            unique = definition(payload, unique=Unique())
            for bad in (definition(payload), definition(meta={"in": payload}), unique):
                try:
                    backend.enqueue_many([definition("good"), bad])
                except PayloadNotSerializable:
                    continue
                raise AssertionError(f"{what} was accepted")
        for levels in (102, 10_000):
            deep: Any = None
            for _ in range(levels):
                deep = [deep]
            for once in (None, Unique()):
                with raises(PayloadNotSerializable):
                    backend.enqueue(definition(deep, unique=once))
        self.assert_each_in_one_place(backend, [])

    def test_a_payload_over_the_limit_is_refused_and_leaves_nothing(self, backend: Backend) -> None:
        with raises(PayloadTooLarge):
            backend.enqueue_many([definition("good"), definition("é" * 40_000)])
        self.assert_each_in_one_place(backend, [])
        assert backend.enqueue(definition("é" * 32_000))

    def test_a_repeat_under_the_callers_id_is_harmless_wherever_the_job_is(self, backend: Backend) -> None:
        job_id = new_id()
        again = definition("again", id=job_id)
        assert backend.enqueue(definition("first", id=job_id)) == job_id
        assert backend.enqueue(again) == job_id  # waiting
        claim = self.claim_again(backend, job_id)
        assert backend.enqueue(again) == job_id  # running
        assert self.state(backend, job_id) == "running"
        assert backend.settle([settlement(claim)]) == [Settled.WRITTEN]
        assert backend.enqueue(again) == job_id  # completed
        assert self.state(backend, job_id) == "completed"
        found = self.record(backend, job_id).definition
        assert found is not None
        assert found.payload == "first"
        self.assert_each_in_one_place(backend, [job_id])

    def test_a_repeat_of_a_failed_job_does_not_run_it_again(self, backend: Backend) -> None:
        job_id = new_id()
        backend.enqueue(definition(id=job_id))
        backend.settle([settlement(self.claim_again(backend, job_id), OutcomeKind.FAILED)])
        assert backend.enqueue(definition(id=job_id)) == job_id
        assert self.state(backend, job_id) == "failed"
        self.assert_each_in_one_place(backend, [job_id])

    def test_the_first_of_an_id_given_twice_in_a_batch_is_the_job(self, backend: Backend) -> None:
        job_id = new_id()
        other = definition()
        ids = backend.enqueue_many([definition("one", id=job_id), other, definition("two", id=job_id)])
        assert ids == [job_id, other.id, job_id]
        found = self.record(backend, job_id).definition
        assert found is not None
        assert found.payload == "one"
        self.assert_each_in_one_place(backend, ids)

    def test_a_worker_can_wait_for_new_work(self, backend: Backend) -> None:
        wakeup = backend.wakeup([QUEUE])
        try:
            watched = wakeup.fileno()
            assert watched is None or watched > 2
            wakeup.ready()
            wakeup.worked()
            assert 0 <= wakeup.interval <= 60
            backend.enqueue(definition())
            end = time.monotonic() + EVENT_SECONDS
            while watched is not None and not wakeup.ready():
                assert time.monotonic() < end, "no wake-up came"
                select.select([watched], [], [], min(wakeup.interval, 0.2))
        finally:
            wakeup.close()
            wakeup.close()


class ClaimContract(Contract):
    """Taking: in order, exclusively, and only with a live lease."""

    def test_a_claim_carries_the_fence_and_all_that_a_run_needs(self, backend: Backend) -> None:
        job_id = backend.enqueue(definition({"a": 1}))
        worker = self.worker(backend)
        (claim,) = backend.claim(QUEUE, worker, 10)
        assert (claim.id, claim.queue, claim.handler, claim.worker_id) == (job_id, QUEUE, HANDLER, worker)
        assert (claim.claim_no, claim.attempt, claim.crashes, claim.suspect, claim.history) == (1, 1, 0, False, "")
        opened = unseal(claim.body, claim.signature, id=job_id, queue=QUEUE, handler=HANDLER)
        assert opened.payload == {"a": 1}
        record = self.record(backend, job_id)
        assert record.enqueued_at is not None
        assert record.started_at is not None
        assert abs(claim.enqueued_at - record.enqueued_at.timestamp()) < 0.01
        assert abs(claim.claimed_at - record.started_at.timestamp()) < 1
        assert isinstance(claim.enqueued_at, float)
        assert isinstance(claim.claimed_at, float)

    def test_a_claimed_job_is_running_and_held(self, backend: Backend) -> None:
        claim = self.claimed(backend)
        record = self.record(backend, claim.id)
        assert (record.state, record.worker_id, record.claim_no, record.attempt) == ("running", claim.worker_id, 1, 1)
        assert backend.held(claim.worker_id) == {claim.id: 1}
        assert backend.held(str(uuid.uuid4())) == {}
        self.assert_each_in_one_place(backend, [claim.id])

    def test_bigger_priority_comes_first_then_due_time_then_id(self, backend: Backend) -> None:
        now = datetime.now(UTC)
        early, late = now - timedelta(minutes=10), now - timedelta(minutes=5)
        tie_a, tie_b = sorted([new_id(), new_id()])
        expected = [
            definition(priority=100, available_at=late),
            definition(priority=1, available_at=early),
            definition(priority=1, available_at=late),
            definition(available_at=early, id=tie_a),
            definition(available_at=early, id=tie_b),
            definition(available_at=late),
            definition(priority=-100, available_at=early),
        ]
        shuffled = expected[:]
        random.Random(5).shuffle(shuffled)
        for each in shuffled:
            backend.enqueue(each)
        worker = self.worker(backend)
        one_by_one = [backend.claim(QUEUE, worker, 1)[0].id for _ in range(3)]
        rest = [c.id for c in backend.claim(QUEUE, worker, 100)]
        assert one_by_one + rest == [d.id for d in expected]

    def test_jobs_enqueued_alike_are_claimed_in_the_order_of_their_enqueue(self, backend: Backend) -> None:
        ids = [backend.enqueue(definition()) for _ in range(5)]
        ids += backend.enqueue_many([definition() for _ in range(5)])
        assert [c.id for c in backend.claim(QUEUE, self.worker(backend), 10)] == ids

    def test_a_claim_takes_no_more_than_its_limit(self, backend: Backend) -> None:
        backend.enqueue_many([definition() for _ in range(5)])
        worker = self.worker(backend)
        assert backend.claim(QUEUE, worker, 0) == []
        assert backend.claim(QUEUE, worker, -1) == []
        assert len(backend.claim(QUEUE, worker, 2)) == 2
        assert len(backend.claim(QUEUE, worker, 10)) == 3
        assert backend.claim(QUEUE, worker, 10) == []

    def test_a_claim_takes_from_its_own_queue_only(self, backend: Backend) -> None:
        backend.enqueue(definition(queue="other"))
        assert backend.claim(QUEUE, self.worker(backend), 10) == []

    def test_two_workers_never_hold_the_same_job(self, backend: Backend) -> None:
        ids = backend.enqueue_many([definition() for _ in range(10)])
        one, other = self.worker(backend), self.worker(backend)
        taken: list[str] = []
        for _ in range(3):
            taken += [c.id for c in backend.claim(QUEUE, one, 2)] + [c.id for c in backend.claim(QUEUE, other, 2)]
        assert sorted(taken) == sorted(ids)
        assert backend.held(one).keys().isdisjoint(backend.held(other))
        assert len(backend.held(one)) + len(backend.held(other)) == 10

    def test_a_worker_without_a_lease_claims_nothing(self, backend: Backend) -> None:
        backend.enqueue(definition())
        assert backend.claim(QUEUE, str(uuid.uuid4()), 10) == [], "never registered"
        stopped = self.worker(backend)
        backend.deregister(stopped)
        assert backend.claim(QUEUE, stopped, 10) == [], "stopped"
        lapsed = self.worker(backend)
        self.advance(backend, LEASE_SECONDS + 1)
        assert backend.claim(QUEUE, lapsed, 10) == [], "its lease is over"
        assert self.renew(backend, lapsed), "nobody had marked it lost yet"
        assert len(backend.claim(QUEUE, lapsed, 10)) == 1

    def test_nothing_is_claimed_from_a_paused_queue(self, backend: Backend) -> None:
        backend.enqueue(definition())
        backend.enqueue(definition(queue="other"))
        worker = self.worker(backend)
        self.pause(backend, QUEUE)
        assert backend.claim(QUEUE, worker, 10) == []
        assert len(backend.claim("other", worker, 10)) == 1
        paused = {numbers.queue: numbers.paused for numbers in backend.stats()}
        assert paused == {QUEUE: True, "other": False}

    def test_queues_are_paused_and_resumed_once(self, backend: Backend) -> None:
        assert backend.set_paused([QUEUE, "other", QUEUE], paused=True) == [QUEUE, "other"]
        assert backend.set_paused([QUEUE, "third"], paused=True) == ["third"]
        assert backend.paused_queues([QUEUE, "third", "fourth"]) == {QUEUE, "third"}
        assert backend.set_paused([QUEUE, "fourth"], paused=False) == [QUEUE]
        assert backend.paused_queues([QUEUE, "other", "third"]) == {"other", "third"}
        backend.enqueue(definition())
        assert len(backend.claim(QUEUE, self.worker(backend), 10)) == 1

    def test_the_queues_on_which_jobs_wait_are_known(self, backend: Backend) -> None:
        assert backend.queue_names() == []
        for queue in ("mail.de", "a", "mail.at", "a", "z-1", "mail_2"):
            backend.enqueue(definition(queue=queue))
        assert sorted(backend.queue_names()) == ["a", "mail.at", "mail.de", "mail_2", "z-1"]

    def test_a_job_that_is_not_due_is_not_claimed(self, backend: Backend) -> None:
        job_id = backend.enqueue(definition(delay=60))
        assert self.state(backend, job_id) == "scheduled"
        worker = self.worker(backend, 1000)
        assert backend.claim(QUEUE, worker, 10) == []
        self.advance(backend, 59)
        assert backend.promote_due().promoted == 0
        assert backend.claim(QUEUE, worker, 10) == []
        self.advance(backend, 2)
        assert backend.promote_due().promoted == 1
        assert [c.id for c in backend.claim(QUEUE, worker, 10)] == [job_id]

    def test_promotion_says_how_many_and_when_the_next_is_due(self, backend: Backend) -> None:
        assert backend.promote_due() == (0, None)
        half_an_hour = datetime.now(UTC) + timedelta(minutes=30)
        ids = backend.enqueue_many([definition(delay=10), definition(delay=20), definition(available_at=half_an_hour)])
        promoted, next_in = backend.promote_due()
        assert promoted == 0
        assert next_in is not None
        assert 0 < next_in < 10.01
        self.advance(backend, 25)
        promoted, next_in = backend.promote_due(limit=1)
        assert (promoted, next_in) == (1, 0), "another one is due already"
        promoted, next_in = backend.promote_due()
        assert promoted == 1
        assert next_in is not None
        assert 25 * 60 < next_in < 31 * 60
        assert [self.state(backend, i) for i in ids] == ["pending", "pending", "scheduled"]
        self.assert_each_in_one_place(backend, ids)

    def test_promotion_takes_the_longest_due_first(self, backend: Backend) -> None:
        late = backend.enqueue(definition(delay=20))
        early = backend.enqueue(definition(delay=10))
        self.advance(backend, 30)
        backend.promote_due(limit=1)
        assert (self.state(backend, early), self.state(backend, late)) == ("pending", "scheduled")

    def test_one_job_is_claimed_by_its_id_and_no_other(self, backend: Backend) -> None:
        first, chosen = backend.enqueue(definition()), backend.enqueue(definition({"a": 1}))
        worker = self.worker(backend)
        claim = backend.claim_job(chosen, worker)
        assert claim is not None
        assert (claim.id, claim.worker_id, claim.claim_no, claim.attempt) == (chosen, worker, 1, 1)
        assert unseal(claim.body, claim.signature, id=chosen, queue=QUEUE, handler=HANDLER).payload == {"a": 1}
        assert backend.held(worker) == {chosen: 1}
        assert self.state(backend, first) == "pending"
        assert backend.settle([settlement(claim)]) == [Settled.WRITTEN]
        self.assert_each_in_one_place(backend, [first, chosen])

    def test_a_job_that_runs_or_has_finished_is_claimed_by_nobody_else(self, backend: Backend) -> None:
        claim = self.claimed(backend)
        other = self.worker(backend)
        for force in (False, True):
            assert backend.claim_job(claim.id, other, force=force) is None
        backend.cancel(claim.id)
        assert backend.claim_job(claim.id, other, force=True) is None
        backend.settle([settlement(claim)])
        assert backend.claim_job(claim.id, other, force=True) is None
        assert backend.claim_job(str(uuid.uuid4()), other, force=True) is None
        assert backend.held(other) == {}

    def test_a_job_is_claimed_by_its_id_only_with_a_lease(self, backend: Backend) -> None:
        job_id = backend.enqueue(definition())
        assert backend.claim_job(job_id, str(uuid.uuid4()), force=True) is None
        lapsed = self.worker(backend)
        self.advance(backend, LEASE_SECONDS + 1)
        assert backend.claim_job(job_id, lapsed, force=True) is None
        assert self.state(backend, job_id) == "pending"

    def test_a_job_is_claimed_by_its_id_past_its_due_time_only_by_force(self, backend: Backend) -> None:
        ids = backend.enqueue_many([definition(delay=60), definition(delay=60)])
        worker = self.worker(backend, 1000)
        assert backend.claim_job(ids[0], worker) is None
        forced = backend.claim_job(ids[0], worker, force=True)
        assert forced is not None
        assert forced.id == ids[0]
        self.advance(backend, 61)
        due = backend.claim_job(ids[1], worker)
        assert due is not None, "due, although nobody has promoted it"
        assert due.id == ids[1]

    def test_a_job_of_a_paused_queue_is_claimed_by_its_id_only_by_force(self, backend: Backend) -> None:
        job_id = backend.enqueue(definition())
        worker = self.worker(backend)
        self.pause(backend, QUEUE)
        assert backend.claim_job(job_id, worker) is None
        assert backend.claim_job(job_id, worker, force=True) is not None

    def test_a_suspect_is_claimed_by_its_id_like_any_other(self, backend: Backend) -> None:
        lost = self.claimed(backend)
        self.lose(backend, lost)
        claim = backend.claim_job(lost.id, self.worker(backend))
        assert claim is not None
        assert (claim.suspect, claim.claim_no) == (True, lost.claim_no + 1)
        assert backend.settle([settlement(lost)]) == [Settled.LOST]

    def test_the_claim_number_only_rises(self, backend: Backend) -> None:
        claim = self.claimed(backend, max_attempts=50)
        numbers = [claim.claim_no]
        for kind in (OutcomeKind.INTERRUPTED, OutcomeKind.RETRY, OutcomeKind.SNOOZED, OutcomeKind.TIMED_OUT):
            assert backend.settle([settlement(claim, kind, retry_after=0)]) == [Settled.WRITTEN]
            claim = self.claim_again(backend, claim.id)
            numbers.append(claim.claim_no)
        self.lose(backend, claim)
        claim = self.claim_again(backend, claim.id, suspect=True)
        numbers.append(claim.claim_no)
        backend.settle([settlement(claim, OutcomeKind.FAILED)])
        backend.retry(claim.id)
        numbers.append(self.claim_again(backend, claim.id).claim_no)
        assert numbers == list(range(1, 8))


class SettleContract(Contract):
    """Settling: once, by the holder, and exactly what was decided."""

    def test_a_completed_job_is_kept_with_its_result(self, backend: Backend) -> None:
        claim = self.claimed(backend, payload={"n": 1}, priority=7, name="named", max_attempts=3)
        done = settlement(claim, result='{"sum": [1, 2.5, "é☕"]}', seconds=1.25, keep_seconds=None)
        assert backend.settle([done]) == [Settled.WRITTEN]
        record = self.record(backend, claim.id)
        assert (record.state, record.result) == ("completed", {"sum": [1, 2.5, "é☕"]})
        assert record.is_finished
        assert (record.queue, record.handler, record.priority, record.max_attempts) == (QUEUE, HANDLER, 7, 3)
        assert (record.attempt, record.claim_no, record.crashes) == (1, 1, 0)
        assert record.worker_id == claim.worker_id
        assert (record.reason, record.error_class, record.error_message, record.traceback) == ("", "", "", "")
        assert record.definition is not None
        assert (record.definition.payload, record.definition.name) == ({"n": 1}, "named")
        moments = [record.enqueued_at, record.started_at, record.finished_at]
        assert all(m is not None and m.utcoffset() == timedelta(0) for m in moments)
        assert sorted(moment for moment in moments if moment is not None) == moments
        assert backend.held(claim.worker_id) == {}
        self.assert_each_in_one_place(backend, [claim.id])

    def test_a_job_without_a_result_has_none(self, backend: Backend) -> None:
        claim = self.claimed(backend)
        backend.settle([settlement(claim)])
        assert self.record(backend, claim.id).result is None

    def test_a_failed_job_is_kept_with_its_error(self, backend: Backend) -> None:
        claim = self.claimed(backend, max_attempts=3, payload="p")
        error = ErrorRecord("app.Broken", "it broke: é☕ %s", "Traceback …\nBroken: it broke")
        assert backend.settle([settlement(claim, OutcomeKind.FAILED, error=error, seconds=0.5)]) == [Settled.WRITTEN]
        record = self.record(backend, claim.id)
        assert (record.state, record.reason) == ("failed", "failed")
        assert ErrorRecord(record.error_class, record.error_message, record.traceback) == error
        assert (record.attempt, record.claim_no, record.max_attempts) == (1, 1, 3)
        assert record.worker_id == claim.worker_id
        assert record.finished_at is not None
        assert record.result is None
        (entry,) = record.attempts
        assert (entry["attempt"], entry["outcome"], entry["error"]) == (1, "failed", "app.Broken")
        assert (entry["worker"], entry["message"], entry["then"]) == (claim.worker_id, "it broke: é☕ %s", "failed")
        self.assert_each_in_one_place(backend, [claim.id])

    def test_every_way_to_fail_is_recorded_under_its_reason(self, backend: Backend) -> None:
        reasons = {
            OutcomeKind.FAILED: "failed",
            OutcomeKind.RETRY: "dead",
            OutcomeKind.TIMED_OUT: "timed_out",
            OutcomeKind.REJECTED: "rejected",
            OutcomeKind.CORRUPT: "corrupt",
            OutcomeKind.EXPIRED: "expired",
        }
        ids = []
        for kind, reason in reasons.items():
            claim = self.claimed(backend)
            ids.append(claim.id)
            assert backend.settle([settlement(claim, kind)]) == [Settled.WRITTEN]
            record = self.record(backend, claim.id)
            assert (record.state, record.reason) == ("failed", reason)
        self.assert_each_in_one_place(backend, ids)

    def test_hostile_errors_are_recorded_on_every_store(self, backend: Backend) -> None:
        hostile = type("E" * 5000, (Exception,), {})
        error = record_error(hostile("nul \x00, bell \x07, surrogate \ud800, " + "long ☕" * 50_000))
        claim = self.claimed(backend)
        assert backend.settle([settlement(claim, OutcomeKind.FAILED, error=error)]) == [Settled.WRITTEN]
        record = self.record(backend, claim.id)
        assert record.error_message.startswith("nul \ufffd, bell \ufffd, surrogate ?, long ☕")
        assert record.error_class == error.class_path

    def test_a_retry_with_a_delay_waits_for_it(self, backend: Backend) -> None:
        claim = self.claimed(backend, max_attempts=3)
        assert backend.settle([settlement(claim, OutcomeKind.RETRY, retry_after=60)]) == [Settled.WRITTEN]
        record = self.record(backend, claim.id)
        assert (record.state, record.attempt, record.worker_id) == ("scheduled", 1, None)
        assert len(record.attempts) == 1
        worker = self.worker(backend, 1000)
        assert backend.claim(QUEUE, worker, 10) == []
        self.advance(backend, 61)
        backend.promote_due()
        (again,) = backend.claim(QUEUE, worker, 10)
        assert (again.id, again.attempt, again.claim_no) == (claim.id, 2, 2)
        assert [e["outcome"] for e in self.record(backend, claim.id).attempts] == ["retry"]

    def test_a_retry_without_a_delay_is_pending_at_its_old_place(self, backend: Backend) -> None:
        first, second = backend.enqueue_many([definition(max_attempts=3), definition()])
        worker = self.worker(backend)
        (claim,) = backend.claim(QUEUE, worker, 1)
        backend.settle([settlement(claim, OutcomeKind.RETRY, retry_after=0)])
        assert self.state(backend, first) == "pending"
        assert [c.id for c in backend.claim(QUEUE, worker, 10)] == [first, second]

    def test_an_attempt_is_given_back_where_the_handler_is_not_to_blame(self, backend: Backend) -> None:
        for kind in (OutcomeKind.INTERRUPTED, OutcomeKind.SNOOZED):
            claim = self.claimed(backend)
            assert claim.attempt == 1
            assert backend.settle([settlement(claim, kind, retry_after=0)]) == [Settled.WRITTEN]
            record = self.record(backend, claim.id)
            assert (record.state, record.attempt, record.crashes) == ("pending", 0, 0), kind
            again = self.claim_again(backend, claim.id)
            assert again.attempt == 1
            backend.settle([settlement(again)])

    def test_a_release_charges_nothing_and_writes_no_history(self, backend: Backend) -> None:
        claim = self.claimed(backend)
        assert backend.release([claim]) == [Settled.WRITTEN]
        record = self.record(backend, claim.id)
        assert (record.state, record.attempt, record.claim_no, record.worker_id) == ("pending", 0, 1, None)
        assert record.attempts == []
        assert backend.release([claim]) == [Settled.LOST]
        self.assert_each_in_one_place(backend, [claim.id])

    def test_a_snooze_waits_and_costs_nothing(self, backend: Backend) -> None:
        claim = self.claimed(backend)
        backend.settle([settlement(claim, OutcomeKind.SNOOZED, retry_after=30)])
        record = self.record(backend, claim.id)
        assert (record.state, record.attempt) == ("scheduled", 0)

    def test_a_crash_is_counted_apart_from_attempts_and_has_its_own_bound(self, backend: Backend) -> None:
        claim = self.claimed(backend, max_attempts=1)
        for crashes in (1, 2):
            assert backend.settle([settlement(claim, OutcomeKind.CRASHED)]) == [Settled.WRITTEN]
            record = self.record(backend, claim.id)
            assert (record.state, record.crashes, record.attempt) == ("pending", crashes, 0)
            claim = self.claim_again(backend, claim.id, suspect=True)
            assert (claim.crashes, claim.attempt, claim.suspect) == (crashes, 1, True)
        assert backend.settle([settlement(claim, OutcomeKind.CRASHED)]) == [Settled.WRITTEN]
        record = self.record(backend, claim.id)
        assert (record.state, record.reason, record.crashes) == ("failed", "crashed", 3)
        assert [e["outcome"] for e in record.attempts] == ["crashed"] * 3

    def test_a_deferred_job_waits_on_the_other_queue(self, backend: Backend) -> None:
        for after in (0.0, 5.0):
            claim = self.claimed(backend)
            moved = settlement(claim, OutcomeKind.DEFERRED, queue="slow", retry_after=after)
            assert backend.settle([moved]) == [Settled.WRITTEN]
            assert backend.claim(QUEUE, self.worker(backend), 1) == []
            self.advance(backend, after)
            backend.promote_due()
            (again,) = backend.claim("slow", self.worker(backend), 1)
            assert (again.id, again.queue, again.attempt, again.claim_no) == (claim.id, "slow", 1, 2)
            unseal(again.body, again.signature, id=again.id, queue="slow", handler=HANDLER)
            backend.settle([settlement(again)])

    def test_a_dead_letter_is_there_when_the_job_has_failed_and_only_then(self, backend: Backend) -> None:
        letters = [definition("letter", queue="dead") for _ in range(3)]
        good, cancelled, stale = (self.claimed(backend) for _ in letters)
        backend.cancel(cancelled.id)
        backend.settle([settlement(stale)])
        batch = [
            settlement(claim, OutcomeKind.FAILED)._replace(dead_letter=letter)
            for claim, letter in zip((good, cancelled, stale), letters, strict=True)
        ]
        assert backend.settle(batch) == [Settled.WRITTEN, Settled.CANCELLED, Settled.LOST]
        assert [c.id for c in backend.claim("dead", self.worker(backend), 10)] == [letters[0].id]

    def test_a_second_settlement_of_a_claim_is_lost(self, backend: Backend) -> None:
        kinds = (OutcomeKind.COMPLETED, OutcomeKind.FAILED, OutcomeKind.RETRY, OutcomeKind.CANCELLED)
        for first in kinds:
            for second in kinds:
                claim = self.claimed(backend, max_attempts=3)
                assert backend.settle([settlement(claim, first, retry_after=60)]) == [Settled.WRITTEN]
                before = self.record(backend, claim.id)
                assert backend.settle([settlement(claim, second, retry_after=60)]) == [Settled.LOST], (first, second)
                assert self.record(backend, claim.id) == before
                backend.delete(claim.id)

    def test_of_one_claim_settled_twice_in_a_batch_the_first_counts(self, backend: Backend) -> None:
        for first, second in ((OutcomeKind.COMPLETED, OutcomeKind.FAILED), (OutcomeKind.FAILED, OutcomeKind.COMPLETED)):
            claim = self.claimed(backend)
            assert backend.settle([settlement(claim, first), settlement(claim, second)]) == [
                Settled.WRITTEN,
                Settled.LOST,
            ]
            assert self.state(backend, claim.id) == str(first)
            self.assert_each_in_one_place(backend, [claim.id])
            backend.delete(claim.id)

    def test_a_stale_claim_does_not_hide_the_present_one_in_a_batch(self, backend: Backend) -> None:
        for kind in (OutcomeKind.COMPLETED, OutcomeKind.FAILED):
            stale = self.claimed(backend, max_attempts=5)
            backend.release([stale])
            present = self.claim_again(backend, stale.id)
            batch = [settlement(present, kind), settlement(stale, kind)]
            assert backend.settle(batch) == [Settled.WRITTEN, Settled.LOST]
            assert self.state(backend, stale.id) == str(kind)
            backend.delete(stale.id)

    def test_only_the_holder_of_a_claim_settles_it(self, backend: Backend) -> None:
        claim = self.claimed(backend, max_attempts=5)
        strangers = (
            claim._replace(worker_id=str(uuid.uuid4())),
            claim._replace(claim_no=claim.claim_no + 1),
            claim._replace(claim_no=0),
            claim._replace(id=new_id()),
        )
        for stranger in strangers:
            for kind in (OutcomeKind.COMPLETED, OutcomeKind.FAILED, OutcomeKind.RETRY, OutcomeKind.INTERRUPTED):
                assert backend.settle([settlement(stranger, kind)]) == [Settled.LOST]
        assert self.record(backend, claim.id).state == "running"
        assert backend.settle([settlement(claim)]) == [Settled.WRITTEN]

    def test_a_job_that_waits_is_settled_by_nobody(self, backend: Backend) -> None:
        claim = self.claimed(backend)
        backend.release([claim])
        for kind in (OutcomeKind.COMPLETED, OutcomeKind.FAILED, OutcomeKind.INTERRUPTED):
            assert backend.settle([settlement(claim, kind)]) == [Settled.LOST]
        assert self.state(backend, claim.id) == "pending"

    def test_a_batch_answers_for_each_of_its_claims(self, backend: Backend) -> None:
        ids = backend.enqueue_many([definition(n, max_attempts=2) for n in range(6)])
        claims = backend.claim(QUEUE, self.worker(backend), 6)
        backend.release([claims[4]])
        backend.cancel(ids[5])
        answers = backend.settle(
            [
                settlement(claims[0], result="1"),
                settlement(claims[1], OutcomeKind.FAILED),
                settlement(claims[2], OutcomeKind.RETRY, retry_after=60),
                settlement(claims[3], keep_seconds=0),
                settlement(claims[4]),
                settlement(claims[5]),
            ]
        )
        assert answers == [*[Settled.WRITTEN] * 4, Settled.LOST, Settled.CANCELLED]
        assert backend.get(ids[3]) is None, "its record was not to be kept"
        kept = [*ids[:3], *ids[4:]]
        states = ["completed", "failed", "scheduled", "pending", "cancelled"]
        assert [self.state(backend, job_id) for job_id in kept] == states
        self.assert_each_in_one_place(backend, kept)

    def test_an_empty_batch_settles_nothing(self, backend: Backend) -> None:
        assert backend.settle([]) == []
        assert backend.release([]) == []

    def test_a_completed_record_is_kept_as_long_as_it_should_be(self, backend: Backend) -> None:
        for keep_seconds, kept in ((0, False), (None, True), (3600, True)):
            claim = self.claimed(backend)
            assert backend.settle([settlement(claim, keep_seconds=keep_seconds)]) == [Settled.WRITTEN]
            assert (backend.get(claim.id) is not None) is kept, keep_seconds

    def test_a_failed_record_is_kept_whatever_the_job_says_of_completed_ones(self, backend: Backend) -> None:
        claim = self.claimed(backend)
        assert backend.settle([settlement(claim, OutcomeKind.FAILED, keep_seconds=0)]) == [Settled.WRITTEN]
        assert self.state(backend, claim.id) == "failed"


class LeaseContract(Contract):
    """Liveness: what a lost worker held comes back, and it can no longer write."""

    def test_a_live_worker_is_never_lost(self, backend: Backend) -> None:
        claim = self.claimed(backend)
        assert backend.lost_claims() == []
        for _ in range(4):
            self.advance(backend, LEASE_SECONDS - 5)
            assert self.renew(backend, claim.worker_id)
            assert backend.lost_claims() == []
        assert backend.held(claim.worker_id) == {claim.id: 1}

    def test_the_claims_of_a_lapsed_worker_are_lost_and_it_knows(self, backend: Backend) -> None:
        claim = self.claimed(backend, payload="p")
        self.advance(backend, LEASE_SECONDS + 1)
        (lost,) = backend.lost_claims()
        assert lost._replace(claimed_at=0, enqueued_at=0) == claim._replace(claimed_at=0, enqueued_at=0)
        assert not self.renew(backend, claim.worker_id)
        assert backend.claim(QUEUE, claim.worker_id, 10) == []
        assert backend.lost_claims(0) == []

    def test_the_claims_of_a_stopped_worker_are_lost(self, backend: Backend) -> None:
        claim = self.claimed(backend)
        backend.deregister(claim.worker_id)
        assert [c.id for c in backend.lost_claims()] == [claim.id]
        assert not self.renew(backend, claim.worker_id)

    def test_the_claims_of_a_worker_that_nobody_knows_are_lost(self, backend: Backend) -> None:
        claim = self.claimed(backend)
        self.forget_worker(backend, claim.worker_id)
        assert not self.renew(backend, claim.worker_id)
        assert [c.id for c in backend.lost_claims()] == [claim.id]

    def test_a_lost_worker_stays_lost_when_it_deregisters(self, backend: Backend) -> None:
        claim = self.claimed(backend)
        self.advance(backend, LEASE_SECONDS + 1)
        backend.lost_claims()
        backend.deregister(claim.worker_id)
        assert not self.renew(backend, claim.worker_id)
        assert [c.id for c in backend.lost_claims()] == [claim.id]

    def test_an_unknown_worker_cannot_renew(self, backend: Backend) -> None:
        assert not self.renew(backend, str(uuid.uuid4()))
        backend.deregister(str(uuid.uuid4()))

    def test_a_draining_worker_keeps_what_it_holds(self, backend: Backend) -> None:
        claim = self.claimed(backend)
        assert backend.renew(claim.worker_id, LEASE_SECONDS, state="draining", running=1, settled=5)
        assert backend.lost_claims() == []
        self.advance(backend, LEASE_SECONDS + 1)
        assert [c.id for c in backend.lost_claims()] == [claim.id]

    def test_lost_claims_come_in_batches(self, backend: Backend) -> None:
        ids = backend.enqueue_many([definition() for _ in range(5)])
        worker = self.worker(backend)
        backend.claim(QUEUE, worker, 5)
        backend.deregister(worker)
        found: list[str] = []
        while some := backend.lost_claims(2):
            assert len(some) <= 2
            assert all(backend.settle([settlement(c, OutcomeKind.LOST) for c in some]))
            found += [c.id for c in some]
        assert sorted(found) == sorted(ids)

    def test_a_lost_job_is_suspect_and_charged_nothing(self, backend: Backend) -> None:
        claim = self.claimed(backend)
        self.lose(backend, claim)
        record = self.record(backend, claim.id)
        assert (record.state, record.attempt, record.crashes, record.worker_id) == ("pending", 0, 0, None)
        self.assert_each_in_one_place(backend, [claim.id])

    def test_suspects_are_claimed_apart_from_the_others(self, backend: Backend) -> None:
        suspect = self.claimed(backend)
        self.lose(backend, suspect)
        plain = backend.enqueue(definition())
        worker = self.worker(backend)
        assert [c.id for c in backend.claim(QUEUE, worker, 10)] == [plain]
        (again,) = backend.claim(QUEUE, worker, 10, suspect=True)
        assert (again.id, again.suspect, again.attempt) == (suspect.id, True, 1)
        assert backend.claim(QUEUE, worker, 10, suspect=True) == []

    def test_a_suspect_that_keeps_losing_its_worker_is_charged_and_fails(self, backend: Backend) -> None:
        claim = self.claimed(backend)
        crashes = []
        while self.state(backend, claim.id) != "failed":
            self.lose(backend, claim)
            crashes.append(self.record(backend, claim.id).crashes)
            assert len(crashes) < 10
            while self.state(backend, claim.id) == "scheduled":  # for a moment: others have their turn first
                backend.promote_due()
            if self.state(backend, claim.id) == "pending":
                claim = self.claim_again(backend, claim.id, suspect=True)
        assert crashes == [0, 2, 3]
        assert self.record(backend, claim.id).reason == "crashed"

    def test_a_zombie_cannot_settle_what_was_given_to_another(self, backend: Backend) -> None:
        old = self.claimed(backend, max_attempts=5)
        self.lose(backend, old)
        for kind in (OutcomeKind.COMPLETED, OutcomeKind.RETRY, OutcomeKind.INTERRUPTED):
            assert backend.settle([settlement(old, kind)]) == [Settled.LOST]
        new = self.claim_again(backend, old.id, suspect=True)
        for kind in (OutcomeKind.COMPLETED, OutcomeKind.FAILED, OutcomeKind.RETRY, OutcomeKind.INTERRUPTED):
            assert backend.settle([settlement(old, kind)]) == [Settled.LOST]
        assert self.record(backend, old.id).claim_no == new.claim_no
        assert backend.settle([settlement(new, result='"new"')]) == [Settled.WRITTEN]
        assert backend.settle([settlement(old, result='"old"')]) == [Settled.LOST]
        assert self.record(backend, old.id).result == "new"

    def test_two_claims_by_one_worker_are_not_the_same_claim(self, backend: Backend) -> None:
        backend.enqueue(definition(max_attempts=5))
        worker = self.worker(backend)
        (old,) = backend.claim(QUEUE, worker, 1)
        backend.release([old])
        (new,) = backend.claim(QUEUE, worker, 1)
        assert (old.attempt, old.worker_id) == (new.attempt, new.worker_id), "only the claim number tells them apart"
        assert backend.settle([settlement(old)]) == [Settled.LOST]
        assert backend.settle([settlement(new)]) == [Settled.WRITTEN]

    def test_two_reapers_settle_a_lost_claim_once(self, backend: Backend) -> None:
        claim = self.claimed(backend)
        backend.deregister(claim.worker_id)
        (one,), (other,) = backend.lost_claims(), backend.lost_claims()
        assert backend.settle([settlement(one, OutcomeKind.LOST)]) == [Settled.WRITTEN]
        assert backend.settle([settlement(other, OutcomeKind.LOST)]) == [Settled.LOST]
        assert self.record(backend, claim.id).crashes == 0


class UniqueContract(Contract):
    """At most one job of a key waits, or waits or runs, or is enqueued in a period."""

    def enqueue(self, backend: Backend, payload: Any = None, key: str = "k", delay: float = 0, **unique: Any) -> str:
        given = definition(payload, delay=delay).with_(unique={"key": key, **unique})
        return backend.enqueue(given)

    def test_a_second_job_of_a_key_is_the_first(self, backend: Backend) -> None:
        first = self.enqueue(backend, "first")
        assert self.enqueue(backend, "second") == first
        assert self.enqueue(backend, "other", key="another") != first
        found = self.record(backend, first).definition
        assert found is not None
        assert found.payload == "first"

    def test_without_a_key_the_payload_is_what_must_be_unique(self, backend: Backend) -> None:
        first = self.enqueue(backend, {"a": 1, "b": 2}, key="")
        assert self.enqueue(backend, {"b": 2, "a": 1}, key="") == first
        assert self.enqueue(backend, {"a": 1}, key="") != first

    def test_one_handlers_keys_are_not_anothers(self, backend: Backend) -> None:
        first = self.enqueue(backend)
        assert backend.enqueue(replace(definition(), handler="contract.other").with_(unique="k")) != first

    def test_a_key_is_free_again_when_the_job_is_finished(self, backend: Backend) -> None:
        for kind in (OutcomeKind.COMPLETED, OutcomeKind.FAILED, OutcomeKind.CANCELLED):
            first = self.enqueue(backend)
            claim = self.claim_again(backend, first)
            assert self.enqueue(backend) == first  # it runs
            backend.settle([settlement(claim, kind)])
            second = self.enqueue(backend)
            assert second != first
            backend.cancel(second)
            third = self.enqueue(backend)
            assert third != second
            backend.delete(third)

    def test_a_key_may_be_free_as_soon_as_the_job_starts(self, backend: Backend) -> None:
        first = self.enqueue(backend, until="started")
        assert self.enqueue(backend, until="started") == first
        self.claim_again(backend, first)
        second = self.enqueue(backend, until="started")
        assert second != first
        assert self.enqueue(backend, until="started") == second

    def test_a_job_that_is_given_back_keeps_its_key(self, backend: Backend) -> None:
        first = self.enqueue(backend)
        backend.release([self.claim_again(backend, first)])
        assert self.enqueue(backend) == first

    def test_a_key_may_be_taken_for_a_period(self, backend: Backend) -> None:
        for mode in ("return_existing", "throttle"):
            first = self.enqueue(backend, key=mode, until=60, mode=mode)
            assert self.enqueue(backend, key=mode, until=60, mode=mode) == first
            backend.settle([settlement(self.claim_again(backend, first))])
            assert self.enqueue(backend, key=mode, until=60, mode=mode) == first
            self.advance(backend, 61)
            second = self.enqueue(backend, key=mode, until=60, mode=mode)
            assert second != first
            backend.delete(second)

    def test_a_duplicate_may_be_refused(self, backend: Backend) -> None:
        for until in ("finished", "started", 60):
            first = self.enqueue(backend, key=str(until), until=until, mode="reject")
            duplicate = definition().with_(unique={"key": str(until), "until": until, "mode": "reject"})
            with refused_for(first):
                backend.enqueue_many([definition("neighbour"), duplicate])
            assert sum(sum(q.counts.values()) for q in backend.stats()) == 1, "its batch left something behind"
            backend.delete(first)

    def test_a_new_job_may_take_the_place_of_one_that_waits(self, backend: Backend) -> None:
        first = self.enqueue(backend, "old", delay=100)
        due = self.record(backend, first).available_at
        second = self.enqueue(backend, "new", delay=5, mode="replace")
        assert self.state(backend, first) == "cancelled"
        record = self.record(backend, second)
        assert (record.state, record.available_at) == ("scheduled", due)
        assert record.definition is not None
        assert record.definition.payload == "new"
        assert self.enqueue(backend, "newest", mode="replace") != second
        self.assert_each_in_one_place(backend, [first, second, self.enqueue(backend)])

    def test_a_debounced_job_waits_anew(self, backend: Backend) -> None:
        first = self.enqueue(backend, "old", delay=10, mode="debounce")
        self.advance(backend, 8)
        second = self.enqueue(backend, "new", delay=10, mode="debounce")
        assert self.state(backend, first) == "cancelled"
        self.advance(backend, 8)
        assert backend.promote_due().promoted == 0
        self.advance(backend, 3)
        assert backend.promote_due().promoted == 1
        assert self.claim_again(backend, second).id == second

    def test_a_job_that_runs_is_followed_and_not_replaced(self, backend: Backend) -> None:
        first = self.enqueue(backend, "old")
        claim = self.claim_again(backend, first)
        second = self.enqueue(backend, "new", mode="replace")
        assert self.state(backend, first) == "running"
        assert self.enqueue(backend, "newer") == second
        assert backend.settle([settlement(claim)]) == [Settled.WRITTEN]
        assert self.enqueue(backend, "newest") == second

    def test_a_retry_takes_the_key_again_or_is_refused(self, backend: Backend) -> None:
        first = self.enqueue(backend)
        backend.settle([settlement(self.claim_again(backend, first), OutcomeKind.FAILED)])
        second = self.enqueue(backend)
        with refused_for(second):
            backend.retry(first)
        assert self.state(backend, first) == "failed"
        backend.cancel(second)
        backend.retry(first)
        assert self.enqueue(backend) == first

    def test_duplicates_within_a_batch_are_one_job(self, backend: Backend) -> None:
        made = [definition(n).with_(unique="k") for n in range(3)]
        first, second, third = backend.enqueue_many(made)
        assert first == second == third == made[0].id
        self.assert_each_in_one_place(backend, [first])


class PeopleContract(Contract):
    """Looking up, cancelling, retrying, deleting, counting."""

    def test_an_unknown_id_is_nowhere(self, backend: Backend) -> None:
        unknown = new_id()
        assert backend.get(unknown) is None
        assert backend.cancel(unknown) is CancelOutcome.NOT_FOUND
        assert backend.delete(unknown) is False
        with raises(JobNotFound):
            backend.retry(unknown)

    def test_a_job_that_waits_is_cancelled_at_once(self, backend: Backend) -> None:
        ids = [backend.enqueue(definition("p")), backend.enqueue(definition("p", delay=60))]
        for job_id in ids:
            assert backend.cancel(job_id) is CancelOutcome.CANCELLED
            record = self.record(backend, job_id)
            assert record.state == "cancelled"
            assert record.is_finished
            assert record.finished_at is not None
            assert record.definition is not None
            assert record.definition.payload == "p"
            assert backend.cancel(job_id) is CancelOutcome.ALREADY_FINISHED
        assert backend.claim(QUEUE, self.worker(backend), 10) == []
        self.advance(backend, 61)
        assert backend.promote_due() == (0, None)
        self.assert_each_in_one_place(backend, ids)

    def test_a_cancel_of_a_running_job_is_asked_for(self, backend: Backend) -> None:
        claim = self.claimed(backend)
        assert backend.cancel(claim.id) is CancelOutcome.REQUESTED
        assert backend.cancel(claim.id) is CancelOutcome.REQUESTED
        record = self.record(backend, claim.id)
        assert (record.state, record.worker_id, record.claim_no) == ("cancel_requested", claim.worker_id, 1)
        assert backend.held(claim.worker_id) == {claim.id: 1}
        assert backend.claim(QUEUE, self.worker(backend), 10) == []
        self.assert_each_in_one_place(backend, [claim.id])

    def test_a_worker_learns_of_the_cancels_of_what_it_holds_and_of_no_others(self, backend: Backend) -> None:
        mine, kept, others = self.claimed(backend), self.claimed(backend), self.claimed(backend)
        assert backend.cancel_requests(mine.worker_id) == set()
        backend.cancel(mine.id)
        backend.cancel(others.id)
        backend.cancel(backend.enqueue(definition()))
        assert backend.cancel_requests(mine.worker_id) == {mine.id}
        assert backend.cancel_requests(kept.worker_id) == set()
        backend.settle([settlement(mine)])
        assert backend.cancel_requests(mine.worker_id) == set()

    def test_a_cancel_wins_over_every_outcome(self, backend: Backend) -> None:
        ids = []
        for kind in OutcomeKind:
            claim = self.claimed(backend, max_attempts=5)
            ids.append(claim.id)
            backend.cancel(claim.id)
            assert backend.settle([settlement(claim, kind, result='"done"')]) == [Settled.CANCELLED], kind
            record = self.record(backend, claim.id)
            assert (record.state, record.result, record.reason) == ("cancelled", None, ""), kind
            assert backend.settle([settlement(claim, kind)]) == [Settled.LOST]
        self.assert_each_in_one_place(backend, ids)

    def test_a_cancelled_job_whose_worker_is_lost_is_cancelled(self, backend: Backend) -> None:
        claim = self.claimed(backend)
        backend.cancel(claim.id)
        self.lose(backend, claim)
        assert self.state(backend, claim.id) == "cancelled"

    def test_a_cancel_after_the_end_changes_nothing(self, backend: Backend) -> None:
        for kind, state in ((OutcomeKind.COMPLETED, "completed"), (OutcomeKind.FAILED, "failed")):
            claim = self.claimed(backend)
            backend.settle([settlement(claim, kind)])
            assert backend.cancel(claim.id) is CancelOutcome.ALREADY_FINISHED
            assert self.state(backend, claim.id) == state

    def test_a_cancel_may_have_a_reason_of_any_content(self, backend: Backend) -> None:
        waits = backend.enqueue(definition(delay=60))
        assert backend.cancel(waits, reason="asked by \x00 the customer ☕") is CancelOutcome.CANCELLED

    def test_a_retry_of_a_failed_job_keeps_what_it_is_and_forgets_what_it_used(self, backend: Backend) -> None:
        claim = self.claimed(backend, payload="p", max_attempts=2, priority=9)
        backend.settle([settlement(claim, OutcomeKind.CRASHED)])
        claim = self.claim_again(backend, claim.id, suspect=True)
        error = ErrorRecord("E", "message", "traceback")
        backend.settle([settlement(claim, OutcomeKind.FAILED, error=error)])
        backend.retry(claim.id)
        record = self.record(backend, claim.id)
        assert (record.state, record.attempt, record.crashes, record.claim_no) == ("pending", 0, 0, 2)
        assert (record.reason, record.error_class, record.error_message, record.traceback) == ("", "", "", "")
        assert (record.worker_id, record.finished_at, record.priority) == (None, None, 9)
        assert [e["outcome"] for e in record.attempts] == ["crashed", "failed"]
        self.assert_each_in_one_place(backend, [claim.id])
        again = self.claim_again(backend, claim.id)
        assert (again.attempt, again.claim_no, again.suspect, again.crashes) == (1, 3, False, 0)
        opened = unseal(again.body, again.signature, id=again.id, queue=QUEUE, handler=HANDLER)
        assert opened.payload == "p"

    def test_a_retry_may_be_delayed(self, backend: Backend) -> None:
        claim = self.claimed(backend)
        backend.settle([settlement(claim, OutcomeKind.FAILED)])
        backend.retry(claim.id, delay=60)
        assert self.state(backend, claim.id) == "scheduled"
        self.advance(backend, 61)
        assert backend.promote_due().promoted == 1
        self.claim_again(backend, claim.id)

    def test_a_failed_job_stays_failed_until_somebody_acts(self, backend: Backend) -> None:
        claim = self.claimed(backend)
        backend.settle([settlement(claim, OutcomeKind.FAILED)])
        self.advance(backend, 400 * 86400)
        assert backend.promote_due().promoted == 0
        assert backend.lost_claims() == []
        assert backend.claim(QUEUE, self.worker(backend), 10) == []
        assert self.state(backend, claim.id) == "failed"

    def test_only_a_failed_job_can_be_retried(self, backend: Backend) -> None:
        claim = self.claimed(backend)
        waiting = backend.enqueue(definition())
        for job_id in (claim.id, waiting):
            with raises(JobNotFound):
                backend.retry(job_id)
        backend.settle([settlement(claim)])
        with raises(JobNotFound):
            backend.retry(claim.id)
        assert self.state(backend, claim.id) == "completed"

    def test_a_rejected_job_is_retried_only_when_it_is_signed_anew(self, backend: Backend) -> None:
        claim = self.claimed(backend)
        backend.settle([settlement(claim, OutcomeKind.REJECTED)])
        with raises(JobConflict):
            backend.retry(claim.id)
        assert self.record(backend, claim.id).reason == "rejected"
        self.assert_each_in_one_place(backend, [claim.id])
        backend.retry(claim.id, resign=True)
        again = self.claim_again(backend, claim.id)
        unseal(again.body, again.signature, id=again.id, queue=QUEUE, handler=HANDLER)

    def test_a_job_is_deleted_wherever_it_is(self, backend: Backend) -> None:
        waiting = backend.enqueue(definition())
        assert backend.delete(waiting) is True
        for kind in (OutcomeKind.COMPLETED, OutcomeKind.FAILED):
            claim = self.claimed(backend)
            backend.settle([settlement(claim, kind)])
            assert backend.delete(claim.id) is True
            assert backend.get(claim.id) is None
            assert backend.delete(claim.id) is False
        self.assert_each_in_one_place(backend, [])

    def test_a_running_job_is_deleted_only_by_force(self, backend: Backend) -> None:
        for cancel_first in (False, True):
            claim = self.claimed(backend)
            if cancel_first:
                backend.cancel(claim.id)
            with raises(JobConflict):
                backend.delete(claim.id)
            assert backend.get(claim.id) is not None
            assert backend.delete(claim.id, force=True) is True
            assert backend.get(claim.id) is None
            assert backend.settle([settlement(claim)]) == [Settled.LOST]
            assert backend.get(claim.id) is None

    def test_stats_count_every_state_of_every_queue(self, backend: Backend) -> None:
        assert backend.stats() == []
        for kind in (OutcomeKind.COMPLETED, OutcomeKind.FAILED):
            backend.settle([settlement(self.claimed(backend), kind)])
        cancelled = self.claimed(backend)
        backend.cancel(cancelled.id)
        running = self.claimed(backend)
        backend.cancel(backend.enqueue(definition()))
        backend.enqueue_many([definition(), definition(), definition(delay=60), definition(queue="b")])
        self.advance(backend, 100)
        mine, b = sorted(backend.stats(), key=lambda numbers: numbers.queue == "b")
        expected = {"completed": 1, "failed": 1, "cancelled": 1, "pending": 2, "scheduled": 1, "running": 1}
        assert {state: n for state, n in mine.counts.items() if n} == expected | {"cancel_requested": 1}
        assert (mine.queue, mine.paused) == (QUEUE, False)
        assert mine.oldest_pending_seconds is not None
        assert 99 < mine.oldest_pending_seconds < 100 + EVENT_SECONDS * 6
        assert (b.queue, dict(b.counts)) == ("b", {"pending": 1})
        assert [n.queue for n in backend.stats()] == ["b", QUEUE]
        assert [n.queue for n in backend.stats([QUEUE])] == [QUEUE]
        (none,) = backend.stats(["nowhere"])
        assert (none.queue, dict(none.counts), none.oldest_pending_seconds) == ("nowhere", {}, None)
        assert self.state(backend, running.id) == "running"

    def test_a_service_is_paused_until_the_longest_of_its_pauses_is_over(self, backend: Backend) -> None:
        backend.pause_services({"stripe": 30.0, "maps": 5.0})
        backend.pause_services({"stripe": 10.0})
        left = backend.paused_services({"stripe", "maps", "other"})
        assert set(left) == {"stripe", "maps"}
        assert 25 < left["stripe"] <= 30
        self.advance(backend, 6)
        assert set(backend.paused_services({"stripe", "maps"})) == {"stripe"}
        backend.pause_services({"maps": 5.0})
        assert set(backend.paused_services({"stripe", "maps"})) == {"stripe", "maps"}
        assert backend.paused_services(set()) == {}

    def test_timeline_entries_of_any_content_are_taken(self, backend: Backend) -> None:
        job_id = backend.enqueue(definition())
        backend.record_events([])
        backend.record_events(
            [
                (job_id, QUEUE, "message", "plain", {}),
                (job_id, QUEUE, "message", "nul \x00 and surrogate \ud800 " + "long" * 10_000, {"n": 1}),
                (job_id, QUEUE, "message", "", {"nul": "\x00", "deep": {"nan": float("nan")}, "text": "\ud800"}),
                (job_id, QUEUE, "kind" * 50, "☕", {"object": object(), "long": "x" * 200_000}),
            ]
        )


class AtomicContract(Contract):
    """Completions in the handler's own transaction. A backend that has none refuses them."""

    def test_a_backend_without_such_transactions_says_so(self, backend: Backend) -> None:
        if not backend.supports.atomic:
            with raises(NonRetryableJobError), backend.completing(self.claimed(backend)):
                pass

    def test_a_completion_is_stored_when_its_transaction_ends_and_is_not_settled_again(self, backend: Backend) -> None:
        if not backend.supports.atomic:
            return
        claim, beside = self.claimed(backend), self.claimed(backend)
        with backend.completing(claim) as complete:
            outcome = complete(Outcome(OutcomeKind.COMPLETED, result='"done"', seconds=1.5, keep_seconds=60))
        assert outcome.stored
        record = self.record(backend, claim.id)
        assert (record.state, record.result, record.worker_id) == ("completed", "done", claim.worker_id)
        own, other = conclude(claim, outcome), settlement(beside)
        assert own.stored
        assert backend.settle_anyway([own, other]) == [Settled.WRITTEN, Settled.WRITTEN]
        assert backend.settle([own]) == [Settled.LOST]
        self.assert_each_in_one_place(backend, [claim.id, beside.id])

    def test_a_transaction_that_fails_leaves_the_job_as_it_was(self, backend: Backend) -> None:
        if not backend.supports.atomic:
            return
        for completes in (False, True):
            claim = self.claimed(backend)
            with raises(ZeroDivisionError):
                self._fail(backend, claim, completes)
            assert self.state(backend, claim.id) == "running"
            assert backend.settle([settlement(claim)]) == [Settled.WRITTEN]

    def test_a_lost_claim_is_not_completed(self, backend: Backend) -> None:
        if not backend.supports.atomic:
            return
        claim = self.claimed(backend)
        backend.deregister(claim.worker_id)
        self.lose(backend, claim)
        assert self._rolled_back(backend, claim) == OutcomeKind.INTERRUPTED
        assert self.state(backend, claim.id) == "pending"
        again = self.claim_again(backend, claim.id, suspect=True)
        assert self._rolled_back(backend, claim) == OutcomeKind.INTERRUPTED
        assert backend.settle([settlement(again)]) == [Settled.WRITTEN]

    def test_a_cancel_wins_over_a_completion_in_its_own_transaction(self, backend: Backend) -> None:
        if not backend.supports.atomic:
            return
        claim = self.claimed(backend)
        backend.cancel(claim.id)
        assert self._rolled_back(backend, claim) == OutcomeKind.CANCELLED
        assert self.state(backend, claim.id) == "cancel_requested"
        assert backend.settle([settlement(claim, OutcomeKind.CANCELLED)]) == [Settled.CANCELLED]

    def _fail(self, backend: Backend, claim: Claim, completes: bool) -> None:
        with backend.completing(claim) as complete:
            if completes:
                complete(Outcome(OutcomeKind.COMPLETED))
            raise ZeroDivisionError

    def _rolled_back(self, backend: Backend, claim: Claim) -> str:
        try:
            with backend.completing(claim) as complete:
                complete(Outcome(OutcomeKind.COMPLETED))
        except RolledBack as rolled_back:
            return rolled_back.outcome.kind
        raise AssertionError("it was completed")


class LawsContract(Contract):
    """Whatever happens in whatever order, the laws hold."""

    def test_any_order_of_verbs_keeps_the_laws(self, backend: Backend) -> None:
        for seed in range(3):
            self._run(backend, random.Random(seed))

    def _run(self, backend: Backend, rng: random.Random) -> None:
        ids = backend.enqueue_many(
            [definition(max_attempts=rng.randint(1, 3), delay=rng.choice([0, 5])) for _ in range(4)]
        )
        claims: list[Claim] = []
        settled: Counter[tuple[str, int]] = Counter()
        numbers = dict.fromkeys(ids, 0)
        worker = self.worker(backend)
        kinds = [*OutcomeKind]
        for _ in range(40):
            match rng.randrange(9):
                case 0 | 1 | 2:
                    claims += backend.claim(QUEUE, worker, rng.randint(1, 3), suspect=rng.random() < 0.5)
                case 3 | 4 | 5 if claims:
                    claim, kind = rng.choice(claims), rng.choice(kinds)
                    if backend.settle([settlement(claim, kind, retry_after=rng.choice([None, 0, 5]))]) == [
                        Settled.WRITTEN
                    ]:
                        settled[claim.id, claim.claim_no] += 1
                case 6:
                    self.advance(backend, rng.choice([3, LEASE_SECONDS + 1]))
                    backend.promote_due()
                    if not self.renew(backend, worker):
                        worker = self.worker(backend)
                case 7:
                    for lost in backend.lost_claims():
                        claims.append(lost)
                        if backend.settle([settlement(lost, OutcomeKind.LOST)]) == [Settled.WRITTEN]:
                            settled[lost.id, lost.claim_no] += 1
                    if not self.renew(backend, worker):
                        worker = self.worker(backend)
                case _:
                    target = rng.choice(ids)
                    failed = self.state(backend, target) == "failed"
                    if failed:
                        backend.retry(target, resign=True)
                    elif rng.random() < 0.2:
                        backend.cancel(target)
            for job_id in ids:
                record = self.record(backend, job_id)
                assert 0 <= record.attempt <= record.max_attempts
                assert record.claim_no >= numbers[job_id], "a claim number never falls"
                assert 0 <= record.crashes <= 3
                numbers[job_id] = record.claim_no
        assert not settled or max(settled.values()) == 1, "a claim is settled once"
        self.assert_each_in_one_place(backend, ids)
        for job_id in ids:
            backend.delete(job_id, force=True)


class BackendContract(
    EnqueueContract,
    ClaimContract,
    SettleContract,
    LeaseContract,
    UniqueContract,
    PeopleContract,
    AtomicContract,
    LawsContract,
):
    """The whole contract."""
