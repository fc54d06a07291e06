"""A job ends when its time is up, a crash hurts only its own job, and nothing outlives the worker."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import FailedJob, Job, Worker
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess, counts, lines, live, registered, wait_finished, worker


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_job_is_told_when_its_time_is_up(queue: DatabaseBackend) -> None:
    ref = Jobs.define("trial.sleep", {"seconds": 60}).timeout(0.5).dispatch()
    with worker(queue, "default", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    record = ref.refresh()
    assert (record.state, record.reason) == ("failed", "timed_out")
    assert record.error_class == "django_jobs.exceptions.JobTimeout"
    assert "time.sleep" in record.traceback


@pytest.mark.parametrize("isolation", ["pool", "fork", "inline"])
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_worker_may_be_given_another_timeout_than_the_jobs_have(queue: DatabaseBackend, isolation: str) -> None:
    refs = [Jobs.define("trial.sleep", {"seconds": 60}).timeout(seconds).dispatch() for seconds in (50, None)]
    with worker(queue, "default", "--timeout", "0.3", "--isolation", isolation, "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    assert [ref.refresh().reason for ref in refs] == ["timed_out"] * 2
    assert "time of 0.3 seconds is up" in refs[0].refresh().error_message


def test_a_job_that_does_not_listen_is_killed_and_its_neighbours_are_not(queue: DatabaseBackend) -> None:
    neighbours = [Jobs.push("trial.sleep", {"seconds": 0.05}) for _ in range(10)]
    deaf = Jobs.define("trial.deaf", {"seconds": 60}).timeout(0.5).dispatch()
    neighbours += [Jobs.push("trial.sleep", {"seconds": 0.05}) for _ in range(10)]
    started = time.monotonic()
    with worker(queue, "default", "--max-workers", "2", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    assert time.monotonic() - started < 30
    record = deaf.refresh()
    assert (record.state, record.reason, record.crashes) == ("failed", "timed_out", 0)
    assert all((r.refresh().state, r.refresh().attempt) == ("completed", 1) for r in neighbours)


def test_a_coroutine_that_does_not_listen_does_not_work_on_beside_the_next_job(
    queue: DatabaseBackend, proof: Path
) -> None:
    deaf = Jobs.define("trial.deaf_coroutine", {"seconds": 60, "path": str(proof)}).timeout(0.3).dispatch()
    with worker(queue, "default", "--max-workers", "1") as w:
        wait_until(lambda: deaf.refresh().is_finished, "the deaf job to be ended", seconds=20)
        pid = int(lines(proof)[0])
        wait_until(lambda: not alive(pid), "its process to be ended", seconds=20)
        after = Jobs.push("trial.noop")
        wait_until(lambda: after.refresh().is_finished, "the next job", seconds=20)
        assert deaf.refresh().reason == "timed_out", w.text


def test_a_timed_out_job_with_attempts_left_runs_again(queue: DatabaseBackend, proof: Path) -> None:
    ref = (
        Jobs.define("trial.sleep", {"seconds": 60, "path": str(proof)})
        .timeout(0.3)
        .max_attempts(2)
        .backoff(0)
        .dispatch()
    )
    with worker(queue, "default", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    assert [line.split()[2] for line in lines(proof)] == ["1", "2"]
    assert [e["outcome"] for e in ref.refresh().attempts] == ["timed_out", "timed_out"]


def test_a_poison_job_ends_as_crashed_and_its_neighbours_are_not_charged(queue: DatabaseBackend, proof: Path) -> None:
    good = [Jobs.push("trial.noop") for _ in range(60)]
    poison = Jobs.define("trial.die", {"path": str(proof)}).backoff("none").dispatch()
    good += [Jobs.push("trial.noop") for _ in range(60)]
    with worker(queue, "default", "--max-workers", "2", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    record = poison.refresh()
    assert (record.state, record.reason, record.crashes) == ("failed", "crashed", 3)
    assert "killed by SIGKILL" in record.error_message
    assert len(lines(proof)) == 3
    assert {(r.refresh().state, r.refresh().attempt, r.refresh().crashes) for r in good} == {("completed", 1, 0)}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_job_that_dies_of_a_signal_without_a_name_is_a_crash_like_any_other(queue: DatabaseBackend) -> None:
    poison = Jobs.define("trial.die", {"signal": signal.SIGRTMIN + 6}).backoff("none").dispatch()
    with worker(queue, "default", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    record = poison.refresh()
    assert (record.state, record.reason, record.crashes) == ("failed", "crashed", 3)
    assert f"killed by signal {signal.SIGRTMIN + 6}" in record.error_message


def test_a_killed_child_is_replaced_and_its_job_runs_again(queue: DatabaseBackend, proof: Path) -> None:
    ref = Jobs.define("trial.sleep", {"seconds": 1.5, "path": str(proof)}).backoff("none").dispatch()
    with worker(queue, "default", "--max-workers", "1") as w:
        start = wait_until(lambda: lines(proof), "the job to start")[0]
        os.kill(int(start.split()[-1]), signal.SIGKILL)
        wait_until(lambda: ref.refresh().is_finished, "the job to run again")
        assert w.stop() == 0
    record = ref.refresh()
    assert (record.state, record.attempt, record.crashes, record.claim_no) == ("completed", 1, 1, 2)


def test_a_killed_template_is_replaced_and_nothing_is_lost(queue: DatabaseBackend, proof: Path) -> None:
    refs = [Jobs.push("trial.sleep", {"seconds": 0.3, "path": str(proof)}) for _ in range(10)]
    with worker(queue, "default", "--max-workers", "2") as w:
        wait_until(lambda: lines(proof), "a job to start")
        os.kill(w.template(), signal.SIGKILL)
        wait_finished(queue)
        assert w.stop() == 0, w.text
    assert {r.refresh().state for r in refs} == {"completed"}
    assert {r.refresh().crashes for r in refs} == {0}


def test_a_machine_without_a_process_to_spare_is_waited_for(
    queue: DatabaseBackend, proof: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = tmp_path / "spent"
    monkeypatch.setenv("WITHOUT_FORKS", str(spent))
    with WorkerProcess(queue.database, "default", "--max-workers", "2", program="tests/support/without_forks.py") as w:
        for dies, says in ((lambda: w.children()[0], "a child could not"), (w.template, "the template could not")):
            wait_until(lambda: len(w.children()) == 2, "the children")
            victim = dies()
            spent.touch()
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: says in w.text, "the worker to say that it can't fork")  # noqa: B023
            spent.unlink()
            ref = Jobs.push("trial.write", {"path": str(proof)})
            wait_until(lambda: ref.refresh().is_finished, "a job to be done")  # noqa: B023
        wait_until(lambda: len(w.children()) == 2, "the children to be back")
        assert w.stop() == 0, w.text
    assert counts(queue) == {"completed": 2}


def test_a_job_for_which_no_child_could_be_forked_runs_once_there_is_a_process_to_spare(
    queue: DatabaseBackend, proof: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = tmp_path / "spent"
    monkeypatch.setenv("WITHOUT_FORKS", str(spent))
    arguments = ("default", "--isolation", "fork", "--max-workers", "2")
    with WorkerProcess(queue.database, *arguments, program="tests/support/without_forks.py") as w:
        Jobs.push("trial.noop")
        wait_finished(queue)
        spent.touch()
        refs = [Jobs.push("trial.write", {"path": str(proof), "n": n}) for n in range(3)]
        wait_until(lambda: "a child could not" in w.text, "the worker to say that it can't fork")
        spent.unlink()
        wait_finished(queue)
        assert w.stop() == 0, w.text
    assert {(r.refresh().state, r.refresh().attempt, r.refresh().crashes) for r in refs} == {("completed", 1, 0)}
    assert len(lines(proof)) == 3


def test_no_process_outlives_a_killed_coordinator(queue: DatabaseBackend, proof: Path) -> None:
    Jobs.push("trial.sleep", {"seconds": 60, "path": str(proof)})
    with worker(queue, "default", "--max-workers", "2") as w:
        wait_until(lambda: lines(proof), "the job to start")
        family = [w.template(), *w.children()]
        w.kill()
        wait_until(lambda: not any(alive(pid) for pid in family), "the template and the children to end", 5)


@pytest.mark.quick_on("postgresql")
def test_a_killed_coordinators_jobs_are_another_workers_soon(queue: DatabaseBackend, proof: Path) -> None:
    refs = [Jobs.push("trial.sleep", {"seconds": 0.5, "path": str(proof)}) for _ in range(10)]
    with worker(queue, "default", "--max-workers", "2") as first:
        running = Job.objects.using(queue.database).filter(state="running")
        wait_until(lambda: len(lines(proof)) >= 3 and running.exists(), "some jobs to be done, and some to run")
        first.kill()
    assert running.exists()
    with worker(queue, "default", "--max-workers", "2") as second:
        wait_finished(queue)
        assert second.stop() == 0
    assert {(r.refresh().state, r.refresh().attempt, r.refresh().crashes) for r in refs} == {("completed", 1, 0)}
    assert Worker.objects.using(queue.database).filter(state="lost").count() == 1


def test_sigterm_under_load_exits_0_loses_nothing_and_charges_nothing(queue: DatabaseBackend, proof: Path) -> None:
    Jobs.dispatch_many([Jobs.define("trial.write", {"path": str(proof)}) for _ in range(3000)])
    with worker(queue, "default", "--max-workers", "2", "--show", "quiet") as w:
        wait_until(lambda: len(lines(proof)) > 100, "some jobs to be done", every=0.002)
        assert w.stop() == 0, w.text
    seen = counts(queue)
    assert set(seen) <= {"completed", "pending"}
    assert seen["completed"] == len(lines(proof)) == len({line.split()[0] for line in lines(proof)})
    assert set(Job.objects.using(queue.database).values_list("attempt", flat=True)) <= {0}
    assert sum(seen.values()) == 3000
    assert registered(queue) == []


def test_what_outlasts_the_shutdown_is_given_back_uncharged(queue: DatabaseBackend, proof: Path) -> None:
    ref = Jobs.push("trial.sleep", {"seconds": 60, "path": str(proof)})
    with worker(queue, "default", "--max-workers", "1", JOBS_SHUTDOWN_TIMEOUT=0.5) as w:
        wait_until(lambda: lines(proof), "the job to start")
        assert w.stop() == 0, w.text
    record = ref.refresh()
    assert (record.state, record.attempt, record.crashes) == ("pending", 0, 0)


def test_a_second_signal_shortens_the_wait(queue: DatabaseBackend, proof: Path) -> None:
    ref = Jobs.push("trial.sleep", {"seconds": 60, "path": str(proof)})
    with worker(queue, "default", "--max-workers", "1", JOBS_SHUTDOWN_TIMEOUT=60) as w:
        wait_until(lambda: lines(proof), "the job to start")
        w.signal(signal.SIGTERM)
        wait_until(lambda: "stop signal received" in w.text, "the worker to say that it stops")
        w.signal(signal.SIGTERM)
        assert w.wait(20) == 0, w.text
    assert ref.refresh().state == "pending"


def test_a_running_job_may_finish_within_the_shutdown(queue: DatabaseBackend, proof: Path) -> None:
    ref = Jobs.push("trial.sleep", {"seconds": 1.0, "path": str(proof)})
    with worker(queue, "default", "--max-workers", "1") as w:
        wait_until(lambda: lines(proof), "the job to start")
        assert w.stop() == 0
    assert ref.refresh().state == "completed"


@pytest.mark.quick_on("postgresql")
def test_a_worker_stopped_past_its_lease_writes_nothing_for_what_it_lost(queue: DatabaseBackend, proof: Path) -> None:
    refs = [Jobs.push("trial.sleep", {"seconds": 0.4, "path": str(proof)}) for _ in range(6)]
    with worker(queue, "default", "--max-workers", "2", "--show", "json") as sleeper:
        wait_until(lambda: lines(proof), "a job to start")
        first = registered(queue)[0]
        os.kill(sleeper.pid, signal.SIGSTOP)  # the coordinator alone: its children go on, and nobody renews
        wait_until(
            lambda: Worker.objects.using(queue.database).filter(id=first.id, lease_expires_at__lt=_now(queue)).exists(),
            "the lease to end",
        )
        from django_jobs.maintenance.reap import reap

        taken = {s.claim.id for s in reap(queue)}
        assert taken
        before = {ref: (ref.refresh().state, ref.refresh().claim_no) for ref in refs}
        os.kill(sleeper.pid, signal.SIGCONT)
        wait_finished(queue)  # it has registered again, and claims the same jobs anew
        assert sleeper.stop() == 0, sleeper.text
    for ref in refs:
        record = ref.refresh()
        assert record.state == "completed"
        if str(ref) in taken:
            assert record.claim_no > before[ref][1], "the outcome of the old claim was taken"
            assert record.worker_id != str(first.id)
    assert counts(queue) == {"completed": 6}
    assert "taken for lost" in sleeper.text


def _now(queue: DatabaseBackend):
    from django.db.models.expressions import RawSQL

    return RawSQL(f"({queue.sql.now})", [])


@pytest.mark.quick_on("sqlite")
def test_a_deaf_job_run_inline_gives_up_the_process_and_comes_back(queue: DatabaseBackend) -> None:
    ref = Jobs.define("trial.deaf", {"seconds": 30}).timeout(0.3).dispatch()
    with worker(queue, "default", "--isolation", "inline") as w:
        assert w.wait(20) == 70
    assert live(queue) == 1
    with worker(queue, "default", "--max-workers", "1") as w:
        wait_until(lambda: ref.refresh().is_finished, "the job to be ended by a pool")
        assert w.stop() == 0
    assert ref.refresh().reason == "timed_out"


def test_inline_ends_a_sleeper_in_time(queue: DatabaseBackend) -> None:
    ref = Jobs.define("trial.sleep", {"seconds": 30}).timeout(0.3).dispatch()
    with worker(queue, "default", "--isolation", "inline", "--stop-when-empty") as w:
        assert w.wait(20) == 0, w.text
    assert ref.refresh().reason == "timed_out"


def test_children_of_a_job_end_with_it(queue: DatabaseBackend, proof: Path) -> None:
    ref = Jobs.define("trial.grandchild", {"path": str(proof)}).timeout(0.5).dispatch()
    with worker(queue, "default", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    assert ref.refresh().reason == "timed_out"
    wait_until(lambda: not alive(int(lines(proof)[0])), "the program that the job started to end", 5)


@pytest.mark.quick_on("postgresql")
def test_leases_are_renewed_while_a_long_job_runs(queue: DatabaseBackend, proof: Path) -> None:
    ref = Jobs.push("trial.sleep", {"seconds": 4.5, "path": str(proof)})  # half again as long as the lease
    with worker(queue, "default", "--max-workers", "1"), worker(queue, "default", "--max-workers", "1"):
        wait_finished(queue)
    assert (ref.refresh().state, ref.refresh().claim_no) == ("completed", 1)
    inline = Jobs.push("trial.sleep", {"seconds": 4.5})
    with worker(queue, "default", "--isolation", "inline"), worker(queue, "default", "--isolation", "inline"):
        wait_finished(queue)
    assert (inline.refresh().state, inline.refresh().claim_no) == ("completed", 1)
    assert FailedJob.objects.using(queue.database).count() == 0


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_template_that_dies_at_its_start_is_not_replaced_in_a_hurry(queue: DatabaseBackend, tmp_path: Path) -> None:
    """As where the system is short of memory."""
    ref, dying = Jobs.push("trial.noop"), tmp_path / "dying"
    dying.touch()
    program, environment = "tests/support/dying_forks.py", {"FORKS_DIE": str(dying)}
    with WorkerProcess(queue.database, "default", program=program, environment=environment) as w:
        wait_until(lambda: "starting another" in w.text, "the first template to die")
        first = time.monotonic()
        wait_until(lambda: w.text.count("starting another") > 3, "others to die")
        assert time.monotonic() - first > 1.5
        dying.unlink()
        wait_until(lambda: ref.refresh().state == "completed", "the job to be done after all")
        assert w.stop() == 0, w.text
