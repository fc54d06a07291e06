"""A cancel of a running job reaches it, ends it, and hurts nobody else."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from django_jobs import Jobs
from django_jobs.api import JobRef
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import JobEvent
from tests.processes.test_ends import alive
from tests.support.waiting import wait_until
from tests.support.worker import ISOLATIONS, counts, lines, one_database_will_do, registered, wait_finished, worker

GRACEFUL = {"JOBS_KILL_GRACE": 20}
"""So that a test which ends soon has not seen a kill."""


def start(proof: Path, handler: str = "trial.cancellable", **payload: object) -> JobRef:
    return Jobs.push(handler, {"seconds": 60, "path": str(proof), **payload})


def started(proof: Path) -> None:
    wait_until(lambda: lines(proof), "the job to start")


def ended(ref: JobRef) -> None:
    wait_until(lambda: ref.refresh().is_finished, "the job to end", 15)


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_sleeper_is_interrupted_and_its_hook_follows(queue: DatabaseBackend, proof: Path, isolation: str) -> None:
    one_database_will_do(queue, isolation)
    ref = start(proof)
    with worker(queue, "default", "--isolation", isolation, **GRACEFUL) as w:
        started(proof)
        assert ref.cancel("not needed") == "requested"
        assert ref.refresh().state == "cancel_requested"
        ended(ref)
        wait_until(lambda: len(lines(proof)) == 3, "its hook to run")
        assert w.stop() == 0, w.text
    record = ref.refresh()
    assert (record.state, record.attempt, record.claim_no) == ("cancelled", 1, 1)
    assert lines(proof) == [f"started {ref}", "JobCancelled True", "on_cancel"]
    assert "[cancelled] default (attempt 1)" in w.text
    events = JobEvent.objects.using(queue.database).filter(job_id=str(ref)).order_by("id")
    assert [(e.type, e.message) for e in events] == [
        ("cancel_requested", "not needed"),
        ("cancelled", "a cancel was asked for"),
    ]


def test_a_job_that_swallows_the_cancel_and_returns_is_cancelled_all_the_same(
    queue: DatabaseBackend, proof: Path
) -> None:
    ref = start(proof, swallows=True)
    with worker(queue, "default", **GRACEFUL) as w:
        started(proof)
        ref.cancel()
        ended(ref)
        wait_until(lambda: "on_cancel" in lines(proof), "its hook to run")
        assert w.stop() == 0, w.text
    assert ref.refresh().state == "cancelled"
    assert "on_success" not in lines(proof)


def test_a_coroutine_is_interrupted(queue: DatabaseBackend, proof: Path) -> None:
    ref = start(proof, "trial.cancellable_coroutine")
    with worker(queue, **GRACEFUL) as w:
        started(proof)
        ref.cancel()
        ended(ref)
        assert w.stop() == 0, w.text
    assert ref.refresh().state == "cancelled"
    assert lines(proof)[1:] == ["CancelledError"]


def test_a_job_in_the_middle_of_a_query_is_cancelled_and_the_child_goes_on(queue: DatabaseBackend) -> None:
    ref = Jobs.push("trial.pg_sleep")
    with worker(queue, "default", "--max-workers", "1") as w:
        wait_until(lambda: ref.refresh().state == "running", "the job to start")
        ref.cancel()
        ended(ref)
        after = Jobs.push("trial.sql")
        ended(after)
        assert w.stop() == 0, w.text
    assert (ref.refresh().state, after.refresh().result) == ("cancelled", 42)


def test_a_job_that_does_not_listen_is_killed_with_what_it_started_and_its_neighbours_are_not(
    queue: DatabaseBackend, proof: Path
) -> None:
    neighbours = [Jobs.push("trial.sleep", {"seconds": 0.05}) for _ in range(10)]
    deaf = Jobs.push("trial.grandchild", {"path": str(proof)})
    neighbours += [Jobs.push("trial.sleep", {"seconds": 0.05}) for _ in range(10)]
    with worker(queue, "default", "--max-workers", "2") as w:
        started(proof)
        deaf.cancel()
        wait_finished(queue)
        assert w.stop() == 0, w.text
    record = deaf.refresh()
    assert (record.state, record.crashes) == ("cancelled", 0)
    assert record.attempts[-1]["message"] == "the job did not stop when its cancel was asked for, and was killed"
    wait_until(lambda: not alive(int(lines(proof)[0])), "the program that the job started to end", 5)
    assert {(r.refresh().state, r.refresh().attempt, r.refresh().claim_no) for r in neighbours} == {("completed", 1, 1)}


@pytest.mark.quick_on("mysql")
def test_a_job_run_inline_that_does_not_listen_gives_up_the_process_and_ends_cancelled(
    queue: DatabaseBackend,
) -> None:
    ref = Jobs.push("trial.deaf", {"seconds": 60})
    with worker(queue, "default", "--isolation", "inline") as w:
        wait_until(lambda: ref.refresh().state == "running", "the job to start")
        ref.cancel()
        assert w.wait(20) == 70, w.text
    with worker(queue):
        ended(ref)
    assert ref.refresh().state == "cancelled"


def test_what_a_worker_has_in_hand_and_no_child_has_started_is_never_run(
    queue: DatabaseBackend, proof: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    quick = Jobs.push_many("trial.mixed", [{"n": -1}] * 300, priority=100)
    with worker(queue, "default", "--max-workers", "1") as w:
        wait_until(lambda: quick[-1].refresh().is_finished, "the worker to know the handler as quick")
        Jobs.push("trial.gate", {"gate": str(gate)}, priority=50)
        behind = Jobs.push_many("trial.mixed", [{"n": n, "path": str(proof)} for n in range(20)])
        held = wait_until(lambda: [r for r in behind if r.refresh().state == "running"], "some to be claimed", 5)
        outcomes = {ref.cancel() for ref in behind}
        assert outcomes <= {"requested", "cancelled"}
        wait_until(lambda: all(r.refresh().state == "cancelled" for r in held), "those in hand to be cancelled", 10)
        gate.touch()
        wait_finished(queue)
        assert w.stop() == 0, w.text
    assert lines(proof) == []
    assert counts(queue) == {"completed": 301, "cancelled": 20}


@pytest.mark.quick_on("mysql")
def test_the_job_of_a_dead_worker_whose_cancel_was_asked_for_is_cancelled_when_it_is_reaped(
    queue: DatabaseBackend, proof: Path
) -> None:
    ref = start(proof)
    with worker(queue, "default", "--max-workers", "1") as dead:
        started(proof)
        dead.signal(signal.SIGSTOP)
        ref.cancel()
        dead.kill()
    assert ref.refresh().state == "cancel_requested"
    with worker(queue) as w:
        ended(ref)
        wait_until(lambda: "on_cancel" in lines(proof), "its hook to run")
        assert w.stop() == 0, w.text
    assert (ref.refresh().state, ref.refresh().claim_no) == ("cancelled", 1)


@pytest.mark.parametrize("rounds", [4, pytest.param(100, marks=pytest.mark.torture)])
def test_a_cancel_as_its_job_ends_hits_no_other_job(queue: DatabaseBackend, proof: Path, rounds: int) -> None:
    """Each job ends by itself at about the moment at which the grace of its cancel is over, and others follow it in the
    same child."""
    seconds = 0.3
    with worker(queue, "default", "--max-workers", "1", JOBS_KILL_GRACE=seconds, JOBS_CANCEL_INTERVAL=0.05) as w:
        wait_until(lambda: registered(queue), "the worker to be up")
        cancelled, others = [], []
        for n in range(rounds):
            ref = Jobs.push("trial.deaf", {"seconds": seconds + 0.08 * n / rounds})
            others.append(Jobs.push("trial.sleep", {"seconds": 0.01}))
            wait_until(lambda: ref.refresh().state != "pending", "the job to start", every=0.002)  # noqa: B023
            ref.cancel()
            cancelled.append(ref)
            wait_until(lambda: others[-1].refresh().is_finished, "the one after it", every=0.002)
        assert w.stop() == 0, w.text
    assert {r.refresh().state for r in cancelled} == {"cancelled"}
    assert {(r.refresh().state, r.refresh().attempt, r.refresh().crashes) for r in others} == {("completed", 1, 0)}


@pytest.mark.parametrize("rounds", [3, pytest.param(100, marks=pytest.mark.torture)])
def test_a_cancel_takes_effect_within_a_second(queue: DatabaseBackend, proof: Path, rounds: int) -> None:
    """From the call in this process to the record in the store."""
    rng = random.Random(1)
    took = []
    with worker(queue, "default", "--max-workers", "2", JOBS_POLL_INTERVAL=1.0, **GRACEFUL) as w:
        for n in range(rounds):
            ref = start(proof)
            wait_until(lambda: len([x for x in lines(proof) if "started" in x]) == n + 1, "the job to start")  # noqa: B023
            moment = time.monotonic() + rng.uniform(0.0, 0.5)  # of the worker's round of looks
            wait_until(lambda: time.monotonic() >= moment, "it to have run for a while")  # noqa: B023
            began = time.monotonic()
            ref.cancel()
            wait_until(lambda: ref.refresh().is_finished, "the job to end", 15, every=0.005)  # noqa: B023
            took.append(time.monotonic() - began)
        assert w.stop() == 0, w.text
    took.sort()
    p50, p95 = (1000 * took[int(len(took) * share)] for share in (0.5, 0.95))
    print(f"{queue.database}: cancelled after {p50:.0f} ms (p50), {p95:.0f} ms (p95), {took[-1] * 1000:.0f} ms at most")
    assert (p95 if rounds > 50 else p50) < 1000
