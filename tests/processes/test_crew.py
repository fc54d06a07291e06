"""Children that run several jobs at once: coroutines in one event loop, others in threads."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import CompletedJob
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess, counts, lines, wait_finished, worker


@pytest.fixture
def database() -> str:
    """The tests of the other databases are in the torture tier: children know nothing of them."""
    return "default"


@contextmanager
def crew(queue: DatabaseBackend, concurrency: int, children: int = 1, **options: Any) -> Iterator[WorkerProcess]:
    """A worker whose children run so many jobs at once."""
    queues = {"default": {"max_workers": children, "concurrency": concurrency, **options}}
    with worker(queue, "default", JOBS_QUEUES=queues) as w:
        yield w
        assert w.stop() == 0, w.text


def most_at_once(proof: Path) -> int:
    """How many jobs have run at the same time, by what they wrote."""
    return max(accumulate(1 if line.startswith("start") else -1 for line in lines(proof)))


@pytest.mark.parametrize("handler", ["trial.nap", "trial.sleep"])
def test_a_child_runs_as_many_at_once_as_it_is_told(queue: DatabaseBackend, proof: Path, handler: str) -> None:
    for _ in range(24):
        Jobs.push(handler, {"seconds": 0.4, "path": str(proof)})
    with crew(queue, 8) as w:
        wait_finished(queue)
        assert len(w.children()) == 1
    assert counts(queue) == {"completed": 24}
    assert 4 <= most_at_once(proof) <= 8
    if handler == "trial.nap":
        assert len({tuple(line.split()[2:]) for line in lines(proof)}) == 1, "more than one process or event loop"


def test_its_jobs_do_not_disturb_each_other_where_its_output_is_read(queue: DatabaseBackend) -> None:
    Jobs.push_many("trial.noop", [None] * 300)
    queues = {"default": {"max_workers": 1, "concurrency": 16}}
    with WorkerProcess(queue.database, "default", "--stop-when-empty", stdout=subprocess.PIPE, JOBS_QUEUES=queues) as w:
        printed, _ = w.process.communicate(timeout=60)
    assert set(CompletedJob.objects.using(queue.database).values_list("claim_no", flat=True)) == {1}, printed


def test_a_coroutine_is_cancelled_when_its_time_is_up_and_nobody_else_is(queue: DatabaseBackend, proof: Path) -> None:
    slow = Jobs.define("trial.nap", {"seconds": 60, "path": str(proof)}).timeout(0.5).dispatch()
    others = [Jobs.push(h, {"seconds": 1.2, "path": str(proof)}) for h in ("trial.nap", "trial.sleep")]
    with crew(queue, 4) as w:
        wait_finished(queue)
        assert len(w.children()) == 1
    assert (slow.refresh().reason, slow.refresh().error_class) == ("timed_out", "django_jobs.exceptions.JobTimeout")
    assert f"end {slow}" in proof.read_text(), "it could not clean up"
    assert {(r.refresh().state, r.refresh().claim_no) for r in others} == {("completed", 1)}


def test_a_cancel_interrupts_a_coroutine_and_nobody_else(queue: DatabaseBackend, proof: Path) -> None:
    asleep = Jobs.push("trial.nap", {"seconds": 60, "path": str(proof)})
    others = [Jobs.push(h, {"seconds": 1.2, "path": str(proof)}) for h in ("trial.nap", "trial.sleep")]
    with crew(queue, 4):
        wait_until(lambda: len(lines(proof)) == 3, "all to start")
        Jobs.cancel(asleep)
        wait_until(lambda: f"end {asleep}" in proof.read_text(), "it to be interrupted")
        wait_finished(queue)
    assert asleep.refresh().state == "cancelled"
    assert {(r.refresh().state, r.refresh().claim_no) for r in others} == {("completed", 1)}


@pytest.mark.parametrize("deaf", ["trial.deaf", "trial.deaf_coroutine"])
def test_what_can_not_be_interrupted_is_killed_and_those_beside_it_run_again_uncharged(
    queue: DatabaseBackend, proof: Path, deaf: str
) -> None:
    bad = Jobs.define(deaf, {"seconds": 60, "path": str(proof.with_name("deaf"))}).timeout(0.5).dispatch()
    beside = [Jobs.push("trial.sleep", {"seconds": 2, "path": str(proof)}) for _ in range(2)]
    with crew(queue, 4):
        wait_finished(queue)
    assert (bad.refresh().reason, bad.refresh().crashes) == ("timed_out", 0)
    seen = [r.refresh() for r in beside]
    assert {(r.state, r.attempt, r.crashes) for r in seen} == {("completed", 1, 0)}
    assert [r.claim_no for r in seen] == [2, 2]


@pytest.mark.parametrize("victim", ["trial.nap", "trial.sleep"])
@pytest.mark.parametrize("how", ["blocks", "holds"])
def test_who_keeps_a_whole_crew_from_working_has_no_neighbour_charged_for_it(
    queue: DatabaseBackend, proof: Path, victim: str, how: str
) -> None:
    """The time of a neighbour is up while nobody in the crew can do anything. Which of them it was, their next runs
    tell: each is alone then.
    """
    beside = [Jobs.define(victim, {"seconds": 0.8, "path": str(proof)}).timeout(2).dispatch() for _ in range(2)]
    with crew(queue, 4) as w:
        wait_until(lambda: len(lines(proof)) == 2, "those beside it to run")
        payload = {"seconds": 4, "path": str(proof.with_name("bad")), "how": "holds_the_interpreter"}
        bad = Jobs.define("trial.block" if how == "blocks" else "trial.hostile", payload).timeout(3).dispatch()
        wait_finished(queue)
    assert {(r.refresh().state, r.refresh().attempt, r.refresh().crashes) for r in beside} == {("completed", 1, 0)}
    assert (bad.refresh().reason, bad.refresh().attempt, bad.refresh().crashes) == ("timed_out", 1, 0)
    is_alone = (victim, how) == ("trial.sleep", "blocks")  # threads go on while the event loop is blocked
    assert len(lines(proof.with_name("bad"))) == (1 if is_alone else 2), w.text


def test_a_poison_job_is_stopped_and_those_beside_it_are_suspects_but_not_charged(
    queue: DatabaseBackend, proof: Path
) -> None:
    beside = [Jobs.push("trial.sleep", {"seconds": 1.5, "path": str(proof)}) for _ in range(3)]
    with crew(queue, 4):
        wait_until(lambda: len(lines(proof)) == 3, "those beside it to run")
        poison = Jobs.define("trial.die").backoff("none").dispatch()
        wait_finished(queue)
    record = poison.refresh()
    assert (record.state, record.reason, record.crashes) == ("failed", "crashed", 3)
    assert [entry["outcome"] for entry in record.attempts] == ["lost", "crashed", "crashed", "crashed"]
    assert {(r.refresh().state, r.refresh().attempt, r.refresh().crashes) for r in beside} == {("completed", 1, 0)}


def test_a_crew_is_replaced_after_so_many_jobs_once_those_at_work_are_done(queue: DatabaseBackend, proof: Path) -> None:
    for _ in range(12):
        Jobs.push("trial.nap", {"seconds": 0.3, "path": str(proof)})
    with crew(queue, 3, max_jobs_per_child=5):
        wait_finished(queue)
    assert counts(queue) == {"completed": 12}
    assert len({line.split()[2] for line in lines(proof)}) == 3


def test_no_job_waits_for_a_crew_that_only_ends_what_it_has(queue: DatabaseBackend, tmp_path: Path) -> None:
    """Another worker has it, however long that takes."""
    gate = tmp_path / "gate"
    slow, quick = Jobs.push("trial.gate", {"gate": str(gate)}), Jobs.push("trial.noop")
    with crew(queue, 2, max_jobs_per_child=2) as w:
        wait_until(lambda: quick.refresh().state == "completed", "the crew to have had its last job")
        later = [Jobs.push("trial.noop") for _ in range(5)]
        wait_until(lambda: any(ref.refresh().state == "running" for ref in later), "it to be claimed")
        with worker(queue, "default", "--max-workers", "1"):
            wait_until(lambda: all(ref.refresh().state == "completed" for ref in later), "the others to be done")
        assert slow.refresh().state == "running"
        gate.touch()
        wait_finished(queue)
    assert "not ours any more" not in w.text
