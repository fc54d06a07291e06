"""Running jobs within a test: in its own thread, over its own connection, within its own transaction."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any

from django.db import connections, transaction
from django.db.transaction import TransactionManagementError

from ..api import Jobs
from ..backends import Backend, Settled, WorkerInfo, get_backend
from ..backends.completing import Unrecorded
from ..context import Controls, NoControls
from ..defaults import with_defaults
from ..envelope import seal
from ..ids import new_id
from ..maintenance.reap import reap
from ..retry import CANCEL, OutcomeKind, Target
from ..runtime import (
    Claim,
    Complete,
    ErrorRecord,
    Outcome,
    RolledBack,
    Store,
    run_attempt,
    run_hooks,
    timeline_note,
    wants_hooks,
)
from ..settlement import Settlement, conclude
from ..worker.services import pause, spare

FAULTS = ("after_claim", "before_settle", "lost_lease")
"""Where a worker may be lost, once per job, in `run_jobs(fault=...)`:

- `after_claim`: it is killed when it has claimed the job, before the handler starts
- `before_settle`: it is killed when the handler has done its work, before the outcome is written
- `lost_lease`: it is taken for lost meanwhile, and tries to write the outcome all the same

The job is reaped and runs again: a handler that is safe against being run twice passes all three.
"""
LEASE_SECONDS = 3600.0
MOST_RUNS = 1000


@dataclass(frozen=True)
class JobRun:
    """What one attempt came to. `outcome` is its kind, `then` what becomes of the job."""

    id: str
    handler: str
    queue: str
    outcome: str
    then: str
    result: Any = None
    error: ErrorRecord | None = None
    attempt: int = 1
    delay: float = 0.0
    events: list[tuple[str, str]] = field(default_factory=list)

    @property
    def succeeded(self) -> bool:
        """Whether the job is completed."""
        return self.then == "completed"


class JobsFailed(AssertionError):
    """An attempt failed in `run_jobs(check=True)`."""


def run_jobs(
    *queues: str,
    until_empty: bool = True,
    backend: str | None = None,
    fault: str | None = None,
    check: bool = False,
    rng: Callable[[], float] = lambda: 0.5,
) -> list[JobRun]:
    """Run the jobs that are due, as a worker would, with their hooks; answers the attempts in order.

    Without names it serves every queue. What runs may dispatch more jobs: they run too, unless `until_empty` is False.
    Jobs that are due later wait: `travel()` brings them near. Callbacks of `transaction.on_commit` that a `TestCase`
    keeps back are called first, as its transaction never commits.

    A failed attempt is an outcome like any other; with `check` it raises `JobsFailed` with its traceback. `fault` is
    one of `FAULTS`. `rng` is the jitter of backoffs: 0.5 is none. Deadlines are not enforced here.
    """
    if fault is not None and fault not in FAULTS:
        raise TypeError(f"{fault!r} is no fault. There are {', '.join(FAULTS)}.")
    store = get_backend(backend)
    if not store.supports.claim:
        raise TypeError(f"the backend {store.alias!r} keeps no jobs to run")
    runner = _Runner(store, fault, rng)
    runs: list[JobRun] = []
    most = 0
    with contextlib.closing(runner):
        while (some := runner.round(queues)) is not None:
            runs += some
            if check:
                _check(some)
            most = most or (len(runs) + MOST_RUNS if runs else 0)  # many may wait at the start
            if len(runs) > most:
                raise AssertionError(f"{len(runs)} attempts, and no end: do jobs dispatch one another?")
            if not until_empty:
                break
    return runs


def _check(runs: Sequence[JobRun]) -> None:
    for run in runs:
        if run.error is not None and run.outcome != "snoozed":
            raise JobsFailed(f"{run.handler} {run.id}: {run.outcome}, {run.then}\n{run.error.traceback}")


def run_job(handler: Any, payload: Any = None, *, attempt: int = 1, **options: Any) -> JobRun:
    """Run one attempt of a job that is stored nowhere: for the tests of a handler.

    run = run_job(SendWelcomeEmail, {"user_id": 1}, attempt=3, max_attempts=3)
    assert (run.outcome, run.then) == ("retry", "failed")
    """
    definition = Jobs.define(handler, payload).with_options(**options).to_definition()
    clean = getattr(Jobs.handler(definition.handler), "clean_payload", lambda given: given)
    whole = with_defaults(definition).changed({"payload": clean(payload), "id": definition.id or new_id()})
    body, signature = seal(whole)
    now = time.time()
    claim = Claim(str(whole.id), whole.queue, whole.handler, "", 1, attempt, 0, False, body, signature, "", now, now)
    controls = _Controls()
    outcome = run_attempt(claim, _no_guard, controls, Unrecorded())
    return _run_of(conclude(claim, outcome, rng=lambda: 0.5), outcome, controls)


class _Controls(NoControls):
    """Keeps what a job notes."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, str, dict[str, Any]]] = []

    def note(self, kind: str, message: str, data: Any) -> None:
        self.notes.append((kind, *timeline_note(kind, message, data)))


class _Runner:
    """A worker that has no process."""

    def __init__(self, backend: Backend, fault: str | None, rng: Callable[[], float]) -> None:
        self.backend = backend
        self.fault = fault
        self.rng = rng
        self.worker_id = ""
        self._spared: set[str] = set()  # jobs whose worker has been lost once

    def round(self, queues: Sequence[str]) -> list[JobRun] | None:
        """Claim what is due and run it; None where nothing is due."""
        _call_on_commit()
        self.backend.promote_due()
        waiting = {stats.queue: stats.counts.get("pending", 0) for stats in self.backend.stats(queues or None)}
        if not any(waiting.values()):
            return None
        claims = (claim for queue, number in waiting.items() for claim in self._claims(queue, number))
        return [run for claim in claims for run in self._run(claim)]

    def _claims(self, queue: str, most: int) -> Iterator[Claim]:
        """One at a time, as a worker that is lost must not take the others with it."""
        for _ in range(most):
            for suspect in (True, False):
                if claims := self.backend.claim(queue, self._worker(), 1, suspect=suspect):
                    started, put_off = spare(self.backend, claims)
                    self.backend.settle_anyway(put_off)
                    yield from started
                    break

    def _worker(self) -> str:
        if not self.worker_id:
            self.worker_id = str(uuid.uuid4())
            self.backend.register(WorkerInfo(self.worker_id, "test", 0, []), LEASE_SECONDS)
        return self.worker_id

    def close(self) -> None:
        """Deregister, if that is still possible: what broke the test's transaction is the error to be shown."""
        with contextlib.suppress(TransactionManagementError):
            self.leave()

    def leave(self) -> None:
        """Deregister."""
        if self.worker_id:
            self.backend.deregister(self.worker_id)
            self.worker_id = ""

    def _run(self, claim: Claim) -> Iterator[JobRun]:
        strikes = self.fault is not None and claim.id not in self._spared
        if strikes:
            self._spared.add(claim.id)
        if strikes and self.fault == "after_claim":
            self._lose_worker()
            return
        controls = _Controls()
        outcome = _attempt(claim, controls, _Doomed(self.backend) if strikes else self.backend)
        settlement = conclude(claim, outcome, rng=self.rng)
        if strikes:
            self._lose_worker()
            if self.fault == "lost_lease":
                answer = self.backend.settle_anyway([settlement])
                assert answer == [Settled.LOST], "a lost worker wrote an outcome"  # noqa: S101
            return
        yield self._settled(settlement, outcome, controls)

    def _lose_worker(self) -> None:
        self.leave()
        reap(self.backend)

    def _settled(self, settlement: Settlement, outcome: Outcome, controls: _Controls) -> JobRun:
        (answer,) = self.backend.settle_anyway([settlement])
        if answer is Settled.CANCELLED:
            settlement = settlement._replace(transition=CANCEL, result="")
        claim = settlement.claim
        self.backend.record_events([(claim.id, claim.queue, *note) for note in controls.notes])
        pause(self.backend, [settlement])
        if answer and wants_hooks(claim.handler, settlement.transition):
            run_hooks(claim, settlement.transition, settlement.result, settlement.error)
        return _run_of(settlement, outcome, controls)


def _run_of(settlement: Settlement, outcome: Outcome, controls: _Controls) -> JobRun:
    claim, transition = settlement.claim, settlement.transition
    waits = transition.target is Target.WAITING
    return JobRun(
        id=claim.id,
        handler=claim.handler,
        queue=claim.queue,
        outcome=str(outcome.kind),
        then="waiting" if waits else str(transition.target),
        result=_loaded(settlement.result),
        error=settlement.error,
        attempt=claim.attempt,
        delay=transition.delay,
        events=[(kind, message) for kind, message, _ in controls.notes],
    )


def _loaded(result: str) -> Any:
    return json.loads(result) if result else None


@dataclass(frozen=True)
class _Doomed:
    """The store of a worker that is lost before an atomic job's transaction is committed."""

    backend: Backend
    longest_transaction: float | None = None

    @contextlib.contextmanager
    def completing(self, claim: Claim) -> Iterator[Complete]:
        with self.backend.completing(claim):
            yield self._die

    def _die(self, outcome: Outcome) -> Outcome:
        raise RolledBack(outcome)


def _attempt(claim: Claim, controls: Controls, store: Store) -> Outcome:
    """One attempt. A failed one that broke the test's transaction is rolled back, so that the test can go on."""
    with ExitStack() as stack:
        within = [c for c in connections.all(initialized_only=True) if c.in_atomic_block]
        for connection in within:
            stack.enter_context(transaction.atomic(using=connection.alias))
            connection.errors_occurred = False
        outcome = run_attempt(claim, _no_guard, controls, store)
        for connection in within:
            if connection.errors_occurred and outcome.kind != OutcomeKind.COMPLETED:
                transaction.set_rollback(True, using=connection.alias)
    return outcome


def _call_on_commit() -> None:
    """Call what waits for a commit that a `TestCase` never makes."""
    for connection in connections.all(initialized_only=True):
        while connection.in_atomic_block and connection.run_on_commit:
            callbacks, connection.run_on_commit = connection.run_on_commit, []
            for _, act, *_ in callbacks:
                act()


def _no_guard(timeout: float | None) -> AbstractContextManager[Any]:
    return nullcontext()


__all__ = ["FAULTS", "Controls", "JobRun", "JobsFailed", "run_job", "run_jobs"]
