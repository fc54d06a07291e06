"""Atomic handlers in real workers: whatever kills their processes, and whenever, each job has its effect once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from django_jobs import Jobs
from django_jobs.api import JobRef
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import JobEvent
from tests.support.waiting import wait_until
from tests.support.worker import ISOLATIONS, counts, lines, one_database_will_do, registered, worker


def push(proof: Path, **payload: Any) -> JobRef:
    return Jobs.push("trial.atomic", {"path": str(proof), **payload})


def effects(queue: DatabaseBackend) -> list[str]:
    """The ids of the jobs that have left their entries, one for each entry."""
    return [str(row.job_id) for row in JobEvent.objects.using(queue.database).filter(type="effect")]


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_each_outcome(queue: DatabaseBackend, proof: Path, isolation: str) -> None:
    one_database_will_do(queue, isolation)
    done = push(proof, result=7)
    failed = push(proof, then="raise")
    napped = push(proof, then="snooze")
    follows = push(proof, then="raise after the commit")
    with worker(queue, "default", "--isolation", isolation, "--stop-when-empty", "--max-workers", "1") as w:
        assert w.wait() == 0, w.text
    records = [ref.refresh() for ref in (done, napped, follows)]
    assert [(r.state, r.attempt) for r in records] == [("completed", 1)] * 3
    assert (failed.refresh().state, failed.refresh().attempt) == ("failed", 2)
    assert done.result() == 7
    assert sorted(effects(queue)) == sorted(map(str, (done, napped, follows)))
    hooks = ["on_failure as asked", "on_retry as asked", "on_success 7", "on_success None", "on_success None"]
    assert sorted(lines(proof)) == hooks
    assert counts(queue) == {"completed": 3, "failed": 1}
    assert "not ours any more" not in w.text


@pytest.mark.parametrize("concurrency", [1, 4])
def test_coroutines_beside_each_other_have_a_transaction_each(queue: DatabaseBackend, concurrency: int) -> None:
    if connections[queue.database].vendor == "sqlite" and concurrency > 1:
        pytest.skip("one at a time has the write lock")
    refs = [Jobs.push("trial.atomic_coroutine", n % 2) for n in range(12)]
    queues = {"default": {"max_workers": 1, "concurrency": concurrency}}
    with worker(queue, "default", "--stop-when-empty", JOBS_QUEUES=queues) as w:
        assert w.wait() == 0, w.text
    assert [ref.refresh().state for ref in refs] == ["completed", "failed"] * 6
    assert sorted(effects(queue)) == sorted(map(str, refs[::2]))


def test_one_that_dies_before_its_commit_leaves_nothing_and_runs_again(queue: DatabaseBackend, proof: Path) -> None:
    ref = push(proof, then="die")
    with worker(queue, "default", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    record = ref.refresh()
    assert (record.state, record.attempt, record.crashes, record.claim_no) == ("completed", 1, 1, 2)
    assert effects(queue) == [str(ref)]


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("end", ["return", "raise"])
def test_a_copy_that_a_handler_has_forked_ends_where_the_handler_does(
    queue: DatabaseBackend, proof: Path, isolation: str, end: str
) -> None:
    """Else it would commit, or roll back, on the connection of both, and be a second worker in `inline`."""
    one_database_will_do(queue, isolation)
    ref = push(proof, then=f"let a copy of its process {end}")
    others = [Jobs.push("trial.noop") for _ in range(20)]
    with worker(queue, "default", "--isolation", isolation, "--stop-when-empty", "--max-workers", "1") as w:
        assert w.wait() == 0, w.text
    assert {(r.refresh().state, r.refresh().claim_no) for r in (ref, *others)} == {("completed", 1)}, w.text
    assert effects(queue) == [str(ref)]
    assert w.text.count("[acked]") == 21
    assert "not ours any more" not in w.text


def test_one_that_dies_between_its_commit_and_its_report_is_completed_and_has_its_hook(
    queue: DatabaseBackend, proof: Path
) -> None:
    ref = push(proof, then="die after the commit", result="done")
    with worker(queue, "default", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    record = ref.refresh()
    assert (record.state, record.result, record.crashes, record.claim_no) == ("completed", "done", 0, 1)
    assert effects(queue) == [str(ref)]
    assert lines(proof) == ["on_success done"]
    assert "[acked] default" in w.text
    assert "requeued" not in w.text
    assert "not ours any more" not in w.text


def test_a_timeout_rolls_back(queue: DatabaseBackend, proof: Path) -> None:
    ref = Jobs.define("trial.atomic", {"path": str(proof), "then": "sleep", "seconds": 60})
    late = ref.timeout(0.5).max_attempts(1).dispatch()
    with worker(queue, "default", "--stop-when-empty", JOBS_KILL_GRACE=20) as w:
        assert w.wait() == 0, w.text
    assert late.refresh().reason == "timed_out"
    assert effects(queue) == []


@pytest.mark.parametrize("isolation", ["pool", "inline"])
def test_a_cancel_rolls_back(queue: DatabaseBackend, proof: Path, isolation: str) -> None:
    if connections[queue.database].vendor == "sqlite":
        pytest.skip("nobody can write a cancel while the job has the only write lock")
    ref = push(proof, then="sleep", seconds=60)
    with worker(queue, "default", "--isolation", isolation, JOBS_KILL_GRACE=20) as w:
        wait_until(lambda: lines(proof), "the job to start")
        assert ref.cancel() == "requested"
        wait_until(lambda: ref.refresh().is_finished, "the job to end", 15)
        wait_until(lambda: "on_cancel" in lines(proof), "its hook to run")
        assert w.stop() == 0, w.text
    assert ref.refresh().state == "cancelled"
    assert effects(queue) == []


def test_on_sqlite_one_that_keeps_the_write_lock_is_ended_before_a_lease_can_end(
    queue: DatabaseBackend, proof: Path
) -> None:
    if connections[queue.database].vendor != "sqlite":
        pytest.skip("the others lock rows")
    ref = push(proof, then="sleep", seconds=60)
    with worker(queue, "default", "--stop-when-empty", "--max-workers", "1") as w:
        assert w.wait() == 0, w.text
    assert (ref.refresh().reason, ref.refresh().claim_no) == ("timed_out", 2)
    assert registered(queue, "lost") == []


def test_a_worker_that_stops_rolls_back_what_does_not_end_in_time(queue: DatabaseBackend, proof: Path) -> None:
    ref = Jobs.define("trial.atomic", {"path": str(proof), "then": "sleep", "seconds": 60}).timeout(0.9).dispatch()
    with worker(queue, "default", "--max-workers", "1", JOBS_SHUTDOWN_TIMEOUT=0.2) as w:
        wait_until(lambda: lines(proof), "the job to start")
        assert w.stop() == 0, w.text
    assert (ref.refresh().state, ref.refresh().attempt) == ("pending", 0)
    assert effects(queue) == []
