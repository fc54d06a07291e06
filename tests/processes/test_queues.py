"""One worker on several queues: their order, prefixes, pauses."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.core.management import call_command

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from tests.support.waiting import wait_until
from tests.support.worker import lines, registered, worker


def queues_of(proof: Path, names: dict[str, str]) -> list[str]:
    """The queues of the jobs that have run, in their order."""
    return [names[line.split()[0]] for line in lines(proof)]


def fill(proof: Path, **jobs: int) -> dict[str, str]:
    """So many jobs on each queue; their queues by id."""
    return {
        str(Jobs.push("trial.write", {"path": str(proof)}, queue=queue)): queue
        for queue, n in jobs.items()
        for _ in range(n)
    }


ONE_BY_ONE = ("--max", "12", "--show", "quiet")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # the order is the worker's own
def test_the_order_is_strict_unless_told_otherwise(queue: DatabaseBackend, proof: Path) -> None:
    names = fill(proof, a=6, b=6, c=6)
    with worker(queue, "b,c", "a", *ONE_BY_ONE) as w:
        assert w.wait() == 0, w.text
    assert queues_of(proof, names) == ["b"] * 6 + ["c"] * 6


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_fair_and_weighted_queues_share_the_worker(queue: DatabaseBackend, proof: Path) -> None:
    names = fill(proof, a=20, b=20)
    with worker(queue, "a", "b", "--fair", *ONE_BY_ONE) as w:
        assert w.wait() == 0, w.text
    assert queues_of(proof, names) == ["a", "b"] * 6
    proof.unlink()
    with worker(queue, "a:3", "b", *ONE_BY_ONE) as w:
        assert w.wait() == 0, w.text
    assert sorted(queues_of(proof, names)) == ["a"] * 9 + ["b"] * 3


@pytest.mark.quick_on("postgresql")
def test_a_prefix_is_served_with_what_comes_to_be_on_it(queue: DatabaseBackend, proof: Path) -> None:
    with worker(queue, "mail.*", "--max-workers", "1") as w:
        wait_until(lambda: registered(queue), "the worker to register")
        fill(proof, other=1)
        for name in ("mail.de", "mail.at"):
            ref = Jobs.push("trial.write", {"path": str(proof)}, queue=name)
            wait_until(lambda: ref.refresh().is_finished, "the job on a queue that was not known")  # noqa: B023
        assert registered(queue)[0].queues == "mail.*"
        assert w.stop() == 0
    assert len(lines(proof)) == 2


def test_a_pause_and_a_resume_take_effect_within_a_second(queue: DatabaseBackend, proof: Path) -> None:
    with worker(queue, "default", "mail", "--max-workers", "2", JOBS_POLL_INTERVAL=1.0) as w:
        first = Jobs.push("trial.write", {"path": str(proof)}, queue="mail")
        wait_until(lambda: first.refresh().is_finished, "the worker to work")
        call_command("jobs_pause", "mail", stdout=io.StringIO())
        held = Jobs.push("trial.write", {"path": str(proof)}, queue="mail")
        others = [Jobs.push("trial.write", {"path": str(proof)}) for _ in range(5)]
        wait_until(lambda: all(ref.refresh().is_finished for ref in others), "the other queue to go on")
        assert held.refresh().state == "pending"
        call_command("jobs_resume", "mail", stdout=io.StringIO())
        wait_until(lambda: held.refresh().is_finished, "the job to be done", seconds=5)
        assert w.stop() == 0
