"""What each isolation promises, on SQLite: what a job starts, keeps or breaks is gone with its process."""

from __future__ import annotations

from pathlib import Path

import pytest

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from tests.processes.test_ends import alive
from tests.support.waiting import wait_until
from tests.support.worker import counts, lines, wait_finished, worker


@pytest.fixture
def database() -> str:
    """The tests of the other databases are in the torture tier: children know nothing of them."""
    return "default"


ENDS = {"told": {"seconds": 60}, "killed": {"seconds": 60, "deaf": True}, "dead": {"die": True}}

# -- what jobs leave behind ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["told", "killed", "dead"])
def test_a_daemon_of_a_job_ends_with_it_and_a_neighbours_does_not(
    queue: DatabaseBackend, proof: Path, end: str
) -> None:
    neighbour = proof.with_name("neighbour")
    other = Jobs.define("trial.daemon", {"path": str(neighbour), "seconds": 60}).dispatch()
    bad = Jobs.define("trial.daemon", {"path": str(proof), **ENDS[end]}).timeout(1).dispatch()
    with worker(queue, "default", "--max-workers", "2", JOBS_MAX_CRASHES=1) as w:
        wait_until(lambda: bad.refresh().is_finished, "the job to be ended")
        wait_until(lambda: not alive(int(lines(proof)[0])), "its daemon to be ended", 5)
        assert alive(int(wait_until(lambda: lines(neighbour), "the neighbour")[0])), "a neighbour's daemon was ended"
        w.kill()
        wait_until(lambda: not alive(int(lines(neighbour)[0])), "it to end with its worker", 5)
    assert other.refresh().state == "running"


def test_a_child_that_has_grown_is_replaced_when_its_job_is_done(queue: DatabaseBackend, proof: Path) -> None:
    for mb in (1, 1, 300, 1, 1):
        Jobs.push("trial.hoard", {"mb": mb, "path": str(proof)})
    queues = {"default": {"max_workers": 1, "max_memory_mb": 250}}
    with worker(queue, "default", JOBS_QUEUES=queues) as w:
        wait_finished(queue)
        assert w.stop() == 0, w.text
    pids = lines(proof)
    assert counts(queue) == {"completed": 5}
    assert len(set(pids[:3])) == 1
    assert len(set(pids[3:])) == 1
    assert pids[2] != pids[3]
