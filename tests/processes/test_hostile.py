"""Jobs and rows that mean harm hurt only themselves: the worker goes on, and so do their neighbours."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from django_jobs import Jobs
from django_jobs.backends import Settled, WorkerInfo
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import CompletedJob, FailedJob, Job, JobEvent, Worker
from django_jobs.worker.housekeeping import bare_claim
from tests.support.database_log import LOGGING
from tests.support.site import site_env
from tests.support.waiting import wait_until
from tests.support.worker import ROOT, counts, lines, wait_finished, worker


def warm_up(jobs: int = 300, handler: str = "trial.mixed") -> None:
    """So many quick runs that the handler counts as quick, and its jobs travel several to a message."""
    Jobs.dispatch_many([Jobs.define(handler, {"n": -1}).priority(100) for _ in range(jobs)])


def test_payloads_at_the_limit_travel_whatever_company_they_keep(queue: DatabaseBackend) -> None:
    warm_up(handler="trial.noop")
    Jobs.dispatch_many([Jobs.define("trial.noop", "x" * 60_000).meta(more="y" * 40_000) for _ in range(40)])
    with worker(queue, "default", "--max-workers", "2", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    assert counts(queue) == {"completed": 340}


def test_results_at_and_over_the_limit_are_completed(queue: DatabaseBackend) -> None:
    refs = [Jobs.push("trial.big", {"bytes": n}) for n in (65_000, 65_534, 10_000_000)]
    with worker(queue, "default", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    assert len(refs[0].result()) == 65_000
    assert len(refs[1].result()) == 65_534
    assert refs[2].result()["truncated"] is True


ODD: dict[str, dict[str, Any]] = {
    "negative attempt": {"attempt": -10},
    "negative crashes": {"crashes": -10, "suspect": True},
    "history that nests": {"history": "[" * 100_000},
    "history of a lone surrogate": {"history": '[{"message": "\\ud800"}]'},
    "history of an absurd time": {"history": '[{"outcome": "handler_missing", "at_epoch": 1' + "0" * 400 + "}]"},
    "history that no message carries": {"history": json.dumps([{"message": "x" * 1_500_000}])},
    "crashes at the end of the scale": {"crashes": 32_767, "suspect": True},
}


@pytest.mark.parametrize("odd", list(ODD))
def test_a_row_that_somebody_has_edited_does_not_stop_the_worker(queue: DatabaseBackend, odd: str) -> None:
    bad = [str(Jobs.define(h).max_attempts(3).backoff("table").dispatch()) for h in ("trial.fail", "trial.die")]
    Job.objects.using(queue.database).filter(id__in=bad).update(**ODD[odd])
    good = [Jobs.push("trial.noop") for _ in range(20)]
    with worker(queue, "default", "--max-workers", "2") as w:
        wait_until(lambda: all(ref.refresh().state == "completed" for ref in good), "the neighbours to be done")
        fresh = Jobs.push("trial.noop")
        wait_until(lambda: fresh.refresh().state == "completed", "a later job to be done")
        assert w.stop() == 0, w.text


def test_a_lost_row_that_cannot_be_written_does_not_keep_the_others(queue: DatabaseBackend) -> None:
    refs = [str(Jobs.push("trial.noop")) for _ in range(5)]
    lost = "00000000-0000-4000-8000-000000000001"
    rows = Job.objects.using(queue.database)
    rows.filter(id__in=refs).update(state="running", worker_id=lost, claim_no=1, attempt=1)
    rows.filter(id=refs[2]).update(crashes=32_767, suspect=True)
    with worker(queue, "default") as w:
        wait_finished(queue)
        assert w.stop() == 0, w.text
    assert counts(queue) == {"completed": 4, "failed": 1}


def test_a_transaction_that_a_job_leaves_open_is_not_the_next_jobs(queue: DatabaseBackend) -> None:
    leak = Jobs.push("trial.leak", priority=5)
    after = [Jobs.push("trial.sql") for _ in range(5)]
    with worker(queue, "default", "--max-workers", "1") as w:
        wait_finished(queue, 30)
        assert w.stop() == 0, w.text
    assert {ref.refresh().state for ref in (leak, *after)} == {"completed"}
    assert not Worker.objects.using(queue.database).filter(host="leaked").exists()


def test_a_timeout_in_the_middle_of_a_query_does_not_fail_the_next_job(queue: DatabaseBackend) -> None:
    slow = Jobs.define("trial.pg_sleep").timeout(0.5).priority(5).dispatch()
    after = [Jobs.push("trial.sql") for _ in range(3)]
    with worker(queue, "default", "--max-workers", "1") as w:
        wait_finished(queue, 40)
        assert w.stop() == 0, w.text
    assert slow.refresh().reason == "timed_out"
    assert {ref.refresh().state for ref in after} == {"completed"}


@pytest.mark.parametrize("text", ["garbage", "The end", "None", "Sorry", ". . .", "(\x01\x00\x00\x00N"])
def test_garbage_in_the_workers_sockets_stops_nobody(queue: DatabaseBackend, text: str) -> None:
    """Some of it can be read as a message, and is none of ours."""
    Jobs.push("trial.garbage", text, priority=5)
    good = [Jobs.push("trial.noop") for _ in range(20)]
    with worker(queue, "default", "--max-workers", "2") as w:
        wait_until(lambda: all(ref.refresh().state == "completed" for ref in good), "the neighbours to be done")
        assert w.stop() == 0, w.text


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_job_whose_message_is_gone_does_not_wait_for_a_neighbour(queue: DatabaseBackend, tmp_path: Path) -> None:
    """Nor for other messages to be taken after it."""
    gate = tmp_path / "gate"
    warm_up(handler="trial.noop")  # so that more is claimed than children can start
    slow = Jobs.push("trial.gate", {"gate": str(gate)})
    with worker(queue, "default", "--max-workers", "2", JOBS_MESSAGE_JOBS=1) as w:
        wait_until(lambda: slow.refresh().state == "running", "a child to be busy")
        _thief, robbed = Jobs.dispatch_many(Jobs.define(handler) for handler in ("trial.steal", "trial.noop"))
        wait_until(lambda: robbed.refresh().state == "completed", "the job to be done all the same")
        assert robbed.refresh().claim_no > 1, "nobody has robbed it"
        gate.touch()
        assert w.stop() == 0, w.text
    assert slow.refresh().state == "completed"


@pytest.mark.parametrize("isolation", ["pool", "fork"])
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_worker_whose_sockets_a_job_has_shut_makes_new_ones(queue: DatabaseBackend, isolation: str) -> None:
    """At once: nobody can report anything until then, and each look at them is in vain."""
    bad = Jobs.define("trial.shut").max_attempts(1).dispatch()
    with worker(queue, "default", "--max-workers", "1", "--isolation", isolation, JOBS_MAX_CRASHES=1) as w:
        before = w.template()
        wait_until(lambda: bad.refresh().is_finished, "the job to be ended")
        wait_until(lambda: w.template() != before, "a new template, though no other job has come")
        good = Jobs.push("trial.noop")
        wait_until(lambda: good.refresh().state == "completed", "a neighbour to be done")
        assert w.stop() == 0, w.text


@pytest.mark.parametrize("database", ["postgresql", "mysql"], indirect=True)
def test_the_log_of_a_rejected_job_gives_its_neighbours_no_connection(queue: DatabaseBackend) -> None:
    """The processes of a queue with `fork` have one parent: what it has open, all of them have."""
    forged = Jobs.push("trial.noop", priority=50)
    Job.objects.using(queue.database).filter(id=str(forged)).update(signature="none:00")
    good = [Jobs.push("trial.sql") for _ in range(6)]
    with worker(queue, "default", "--max-workers", "2", "--isolation", "fork", LOGGING=LOGGING) as w:
        wait_finished(queue)
        assert w.stop() == 0, w.text
    assert forged.refresh().reason == "rejected"
    assert {ref.refresh().state for ref in good} == {"completed"}


def test_what_a_job_has_left_open_keeps_no_other_from_opening_anything(queue: DatabaseBackend, proof: Path) -> None:
    for _ in range(3):
        Jobs.push("trial.open")
        Jobs.push_many("trial.write", [{"path": str(proof)}] * 20)
    with worker(queue, "default", "--max-workers", "1", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    assert counts(queue) == {"completed": 63}
    assert w.text.count("hardly any descriptor free") == 3, w.text


def test_what_has_finished_is_not_run_again_when_a_neighbour_dies(queue: DatabaseBackend, proof: Path) -> None:
    warm_up()
    Jobs.dispatch_many(
        [Jobs.define("trial.mixed", {"n": n, "die": [7], "path": str(proof)}).backoff("none") for n in range(20)]
    )
    with worker(queue, "default", "--max-workers", "1", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    runs = Counter(line.split()[1] for line in lines(proof))
    assert {n: runs[str(n)] for n in range(20) if runs[str(n)] != 1} == {7: 3}
    assert FailedJob.objects.using(queue.database).get().reason == "crashed"


def test_jobs_that_wait_behind_a_slow_one_go_to_an_idle_child(queue: DatabaseBackend, proof: Path) -> None:
    warm_up()
    slow = {"slow": [7], "seconds": 15, "path": str(proof)}
    Jobs.dispatch_many([Jobs.define("trial.mixed", {"n": n, **slow}) for n in range(20)])
    with worker(queue, "default", "--max-workers", "2") as w:
        wait_until(lambda: len(lines(proof)) >= 20, "every other job to run beside the slow one", 12)
        completed = CompletedJob.objects.using(queue.database)
        wait_until(lambda: completed.count() == 319, "them to be recorded", 5)
        w.signal(9)
    assert {line.split()[1] for line in lines(proof)} == {str(n) for n in range(20)}


@pytest.mark.quick_on("sqlite")
def test_jobs_that_wait_behind_long_ones_are_given_back_once(queue: DatabaseBackend) -> None:
    warm_up()
    Jobs.dispatch_many([Jobs.define("trial.sleep", {"seconds": 6}).priority(50) for _ in range(2)])
    waiting = Jobs.dispatch_many([Jobs.define("trial.mixed", {"n": n}) for n in range(300)])
    with worker(queue, "default", "--max-workers", "2") as w:
        wait_finished(queue)
        assert w.stop() == 0, w.text
    assert max(ref.refresh().claim_no for ref in waiting) <= 3
    assert JobEvent.objects.using(queue.database).filter(type="released").count() <= 600


@pytest.mark.quick_on("sqlite")
def test_the_template_ends_what_a_stuck_coordinator_does_not(queue: DatabaseBackend, proof: Path) -> None:
    """Somebody locks a row that the worker must write: children still end at their deadlines."""
    ref = Jobs.define("trial.deaf", {"seconds": 60}).timeout(0.5).dispatch()
    with worker(queue, "default", "--max-workers", "1") as w:
        wait_until(lambda: ref.refresh().state == "running", "the job to run")
        child = w.children()[0]
        w.signal(19)  # SIGSTOP: as stuck as can be
        wait_until(lambda: not Path(f"/proc/{child}").exists() or _is_zombie(child), "the child to be ended", 10)
        w.signal(18)
        wait_until(lambda: ref.refresh().is_finished, "the outcome to be recorded")
        assert w.stop() == 0, w.text
    assert ref.refresh().reason == "timed_out"


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_full_disk_behind_stdout_stops_nothing(queue: DatabaseBackend) -> None:
    refs = [Jobs.push("trial.noop") for _ in range(5)]
    command = [sys.executable, "manage.py", "jobs_work", "default", "--stop-when-empty"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, cwd=ROOT, env=site_env(queue.database), stdout=full, timeout=60, check=False)
    assert done.returncode in (0, 120)  # 120: Python could not flush stdout as it ended
    assert {ref.refresh().state for ref in refs} == {"completed"}


def test_once_and_max_jobs_count_suspects_too(queue: DatabaseBackend) -> None:
    refs = [str(Jobs.push("trial.noop")) for _ in range(4)]
    Job.objects.using(queue.database).filter(id=refs[3]).update(suspect=True)
    with worker(queue, "default", "--once") as w:
        assert w.wait() == 0, w.text
    assert counts(queue)["completed"] == 1
    with worker(queue, "default", "--max-jobs", "2") as w:
        assert w.wait() == 0, w.text
    assert counts(queue)["completed"] == 3


def test_the_history_survives_a_claim_that_is_given_back(queue: DatabaseBackend) -> None:
    ref = Jobs.push("trial.flaky", {"good": 2, "after": 3600})
    with worker(queue, "default", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    assert len(ref.refresh().attempts) == 1
    rows = Job.objects.using(queue.database).filter(id=str(ref))
    rows.update(state="pending")
    me = str(uuid.uuid4())
    queue.register(WorkerInfo(me, "host", 1, ["default"]), 30)
    (claim,) = queue.claim("default", me, 1)
    assert queue.release([bare_claim(claim.id, me, claim.claim_no)]) == [Settled.WRITTEN]
    assert len(ref.refresh().attempts) == 1


@pytest.mark.quick_on("postgresql")
def test_a_job_that_writes_its_timeline_without_end_keeps_nobody(queue: DatabaseBackend) -> None:
    chatter = [Jobs.define("trial.chatter").timeout(3).dispatch() for _ in range(2)]
    with worker(queue, "default", "--max-workers", "2") as w:
        wait_until(
            lambda: JobEvent.objects.using(queue.database).filter(type="progress").count() == 2,
            "progress, while it runs",
        )
        assert {ref.refresh().state for ref in chatter} == {"running"}
        good = [Jobs.push("trial.noop") for _ in range(10)]
        wait_finished(queue, 40)
        assert w.stop() == 0, w.text
    assert {ref.refresh().reason for ref in chatter} == {"timed_out"}
    assert {ref.refresh().state for ref in good} == {"completed"}
    assert JobEvent.objects.using(queue.database).count() <= 2100
