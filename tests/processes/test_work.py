"""`jobs_work` does what it says, on every database, with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import CompletedJob, FailedJob, Job, JobEvent, Queue, Worker
from tests.support.site import site_env
from tests.support.waiting import wait_until
from tests.support.worker import ISOLATIONS, QUICK, ROOT, counts, lines, places, registered, wait_finished, worker


def test_it_runs_what_is_enqueued_and_records_it(queue: DatabaseBackend) -> None:
    refs = Jobs.dispatch_many([Jobs.define("trial.add", {"a": n, "b": 1}) for n in range(50)])
    with worker(queue, "default", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    assert counts(queue) == {"completed": 50}
    record = refs[7].refresh()
    assert (record.state, record.result, record.attempt, record.claim_no) == ("completed", 8, 1, 1)
    assert record.started_at is not None
    assert record.finished_at is not None
    assert "[Worker] processing queue 'default'" in w.text
    assert "[acked] default (attempt 1)\n" in w.text
    assert w.text.rstrip().endswith("[Worker] graceful shutdown complete.")


def test_a_job_enqueued_while_the_worker_idles_is_taken(queue: DatabaseBackend) -> None:
    with worker(queue, JOBS_POLL_INTERVAL=0.5) as w:
        wait_until(lambda: registered(queue), "the worker to register")
        ref = Jobs.push("trial.add", [1, 2])
        wait_until(lambda: ref.refresh().is_finished, "the job to be done")
        assert ref.result() == 3
        assert w.stop() == 0


def test_retries_run_until_one_succeeds_and_the_history_tells(queue: DatabaseBackend) -> None:
    ref = Jobs.push("trial.flaky", {"good": 3, "after": 0.1})
    with worker(queue, "default", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    record = ref.refresh()
    assert (record.state, record.result, record.attempt) == ("completed", {"attempt": 3}, 3)
    assert [(e["attempt"], e["outcome"], e["message"]) for e in record.attempts] == [
        (1, "retry", "not yet"),
        (2, "retry", "not yet"),
    ]
    events = JobEvent.objects.using(queue.database).filter(job_id=str(ref)).values_list("type", flat=True)
    assert list(events) == ["retried", "retried"]


def test_attempts_used_up_make_a_dead_letter_with_its_traceback(queue: DatabaseBackend) -> None:
    ref = Jobs.define("trial.fail").max_attempts(2).backoff("none").dispatch()
    with worker(queue, "default", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    failed = FailedJob.objects.using(queue.database).get(id=str(ref))
    assert (failed.reason, failed.attempt, failed.error_class) == ("dead", 2, "ValueError")
    assert "this job fails" in failed.error_message
    assert 'raise ValueError("this job fails")' in failed.traceback
    assert "[requeued] default (attempt 1)" in w.text
    assert "[dead-lettered] default (attempt 2)" in w.text


@pytest.mark.parametrize(
    ("handler", "payload", "state", "reason"),
    [
        ("trial.refuse", None, "failed", "failed"),
        ("trial.exit", None, "failed", "dead"),
        ("trial.cancelled", None, "cancelled", ""),
        ("trial.context", ["hello"], "completed", ""),
        ("trial.sql", None, "completed", ""),
        ("command", "clearsessions", "completed", ""),
        ("command", "flush", "failed", "failed"),
    ],
)
def test_each_outcome_is_recorded(
    queue: DatabaseBackend, handler: str, payload: object, state: str, reason: str
) -> None:
    ref = Jobs.push(handler, payload)
    with worker(queue, "default", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    record = ref.refresh()
    assert (record.state, record.reason) == (state, reason)


def test_hooks_run_after_the_outcome_and_their_errors_change_nothing(queue: DatabaseBackend, proof: Path) -> None:
    ref = Jobs.push("trial.hooks", {"path": str(proof), "failures": 1})
    with worker(queue, "default", "--max-workers", "1", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    assert ref.refresh().state == "completed"
    assert lines(proof) == ["before_run", "on_retry as asked", "before_run", "after_run", "on_success done"]


def test_on_failure_runs_once_at_the_end(queue: DatabaseBackend, proof: Path) -> None:
    Jobs.push("trial.hooks", {"path": str(proof), "failures": 9})
    with worker(queue, "default", "--isolation", "inline", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    assert lines(proof) == ["before_run", "on_retry as asked", "before_run", "on_failure as asked"]


def test_a_snooze_costs_no_attempt(queue: DatabaseBackend, proof: Path) -> None:
    ref = Jobs.push("trial.snooze", {"path": str(proof)})
    with worker(queue) as w:
        wait_until(lambda: ref.refresh().claim_no >= 3, "three claims of the snoozing job")
        proof.write_text("now")
        wait_until(lambda: ref.refresh().is_finished, "the job to wake up")
        assert w.stop() == 0
    assert (ref.result(), ref.refresh().attempt) == ("awake", 1)


def test_priority_then_due_time_decide_the_order(queue: DatabaseBackend, proof: Path) -> None:
    past = datetime.now(UTC) - timedelta(hours=1)
    names = {}
    for name, options in {
        "late": {},
        "early": {"available_at": past},
        "high": {"priority": 10},
        "low": {"priority": -10},
    }.items():
        names[str(Jobs.push("trial.write", {"path": str(proof)}, **options))] = name
    with worker(queue, "default", "--max-workers", "1", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    assert [names[line.split()[0]] for line in lines(proof)] == ["high", "early", "late", "low"]


def test_a_delayed_job_waits_for_its_time(queue: DatabaseBackend) -> None:
    ref = Jobs.push("trial.noop", delay=1.0)
    assert ref.refresh().state == "scheduled"
    with worker(queue, "default", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    record = ref.refresh()
    assert record.state == "completed"
    assert record.started_at >= record.available_at


def test_queues_are_served_in_the_order_given_and_others_are_left(queue: DatabaseBackend, proof: Path) -> None:
    order = {str(Jobs.push("trial.write", {"path": str(proof)}, queue=q)): q for q in ("c", "b", "a", "b")}
    with worker(queue, "b,a", "--max-workers", "1", "--stop-when-empty") as w:
        assert w.wait() == 0, w.text
    assert [order[line.split()[0]] for line in lines(proof)] == ["b", "b", "a"]
    assert counts(queue) == {"completed": 3, "pending": 1}


def test_nothing_is_claimed_from_a_paused_queue(queue: DatabaseBackend) -> None:
    Queue.objects.using(queue.database).create(name="default", paused=True)
    ref = Jobs.push("trial.noop")
    with worker(queue, "default", "--stop-when-empty") as w:
        assert w.wait() == 0
    assert ref.refresh().state == "pending"


@pytest.mark.quick_on("sqlite")
def test_once_claims_one_job_and_max_so_many(queue: DatabaseBackend) -> None:
    Jobs.dispatch_many([Jobs.define("trial.noop") for _ in range(6)])
    with worker(queue, "default", "--once") as w:
        assert w.wait() == 0
    assert counts(queue) == {"completed": 1, "pending": 5}
    with worker(queue, "default", "--max", "2") as w:
        assert w.wait() == 0
    assert counts(queue) == {"completed": 3, "pending": 3}
    with worker(queue, "default", "--max-jobs", "2") as w:
        assert w.wait() == 0
    assert counts(queue) == {"completed": 5, "pending": 1}
    with worker(queue, "mail", "--once") as w:
        assert w.wait() == 0
    assert "[empty] mail" in w.text


def test_max_time_ends_an_idle_worker(queue: DatabaseBackend) -> None:
    with worker(queue, "default", "--max-time", "0.5") as w:
        assert w.wait() == 0
    with worker(queue, "default", "--max-memory", "1") as w:
        assert w.wait() == 0


def test_a_service_is_left_alone_for_as_long_as_one_of_its_jobs_was_told(queue: DatabaseBackend, proof: Path) -> None:
    def push(seconds: float) -> str:
        return str(Jobs.push("trial.limited", {"path": str(proof), "seconds": seconds}))

    first = push(1.5)
    with worker(queue) as w:
        wait_until(lambda: len(lines(proof)) == 1, "the first job's run")
        wait_until(lambda: "[requeued]" in w.text, "its settlement")
        others = [push(0) for _ in range(3)]
        wait_finished(queue)
    runs = [line.split() for line in lines(proof)]
    assert sorted(run[0] for run in runs) == sorted([first, first, *others])
    told = float(runs[0][2])
    assert all(float(run[2]) - told > 1.4 for run in runs[1:]), "one of them did not wait"
    assert "[rate-limited] default (attempt 1)" in w.text


def test_json_lines_can_be_read_by_a_machine(queue: DatabaseBackend) -> None:
    ref = Jobs.push("trial.fail")
    quiet = {"version": 1, "loggers": {"django_jobs": {"level": "CRITICAL"}}}  # the log goes to stderr, and here too
    with worker(queue, "default", "--stop-when-empty", "--show", "json", LOGGING=quiet) as w:
        assert w.wait() == 0
    started, settled, stopped = (json.loads(line) for line in w.text.splitlines())
    assert (started["event"], started["queues"], started["pid"]) == ("started", ["default"], w.pid)
    assert {"event": "settled", "outcome": "dead-lettered", "id": str(ref), "reason": "dead"}.items() <= settled.items()
    assert (stopped["event"], stopped["settled"]) == ("stopped", 1)
    assert {started["worker"], settled["worker"], stopped["worker"]} == {started["worker"]}


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_what_jobs_print_is_not_between_the_lines_of_json(queue: DatabaseBackend, isolation: str) -> None:
    Jobs.push("trial.loud", "a word")
    arguments = ["default", "--stop-when-empty", "--json", "--isolation", isolation]
    done = run(arguments, site_env(queue.database))
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == ["started", "settled", "stopped"]
    assert "a word" in done.stderr


def test_jobs_that_print_succeed_when_nobody_reads_the_json(queue: DatabaseBackend) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    Jobs.push("trial.loud", "a word")
    command = [sys.executable, "manage.py", "jobs_work", "default", "--stop-when-empty", "--json"]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=site_env(queue.database), stdout=writer, stderr=subprocess.DEVNULL, timeout=60
        )
    finally:
        os.close(writer)
    assert done.returncode == 0
    assert counts(queue) == {"completed": 1}


def test_what_cannot_run_never_runs_and_never_stops_its_neighbours(queue: DatabaseBackend, proof: Path) -> None:
    def write(**options: object) -> str:
        return str(Jobs.push("trial.write", {"path": str(proof)}, **options))

    good = [write() for _ in range(5)]
    bad = {write(expires=datetime.now(UTC) - timedelta(seconds=1)): "expired"}
    rows = Job.objects.using(queue.database)
    for reason, change in {
        "rejected": {"envelope": "replaced"},
        "corrupt": {"envelope": "{not json", "signature": "resigned"},
        "handler_missing": {"handler": "gone", "envelope": "renamed", "signature": "resigned"},
    }.items():
        job_id = write()
        bad[job_id] = reason
        row = rows.get(id=job_id)
        body = {
            "replaced": row.envelope.replace("proof.txt", "prank.txt"),
            "renamed": row.envelope.replace('"handler":"trial.write"', '"handler":"gone"'),
        }.get(change["envelope"], change["envelope"])
        assert body != row.envelope
        from django_jobs.envelope import sign

        row.envelope = body
        row.signature = sign(body) if "signature" in change else row.signature
        row.handler = change.get("handler", row.handler)
        row.save(using=queue.database)
    moved = write()
    rows.filter(id=moved).update(queue="mail")
    bad[moved] = "corrupt"
    with worker(queue, "default", "mail", "--stop-when-empty", JOBS_MISSING_HANDLER_GRACE=0) as w:
        assert w.wait() == 0, w.text
    assert {line.split()[0] for line in lines(proof)} == set(good)
    failed = {str(f.id): f.reason for f in FailedJob.objects.using(queue.database).all()}
    assert failed == bad
    assert counts(queue) == {"completed": 5, "failed": 5}


def test_a_missing_handler_is_waited_for_while_a_deploy_may_roll(queue: DatabaseBackend) -> None:
    ref = Jobs.push("trial.noop")
    from django_jobs.envelope import sign

    row = Job.objects.using(queue.database).get(id=str(ref))
    row.envelope = row.envelope.replace('"handler":"trial.noop"', '"handler":"soon"')
    row.handler, row.signature = "soon", sign(row.envelope)
    row.save(using=queue.database)
    with worker(queue, "default", JOBS_MISSING_HANDLER_GRACE=10) as w:
        wait_until(lambda: ref.refresh().claim_no >= 2, "two claims of the job without a handler")
        assert w.stop() == 0
    record = ref.refresh()
    assert (record.state, record.attempt) == ("scheduled", 0)
    with worker(queue, "default", JOBS={"soon": "testproject.trials.jobs.NoOp"}) as w:
        wait_until(lambda: ref.refresh().is_finished, "the job to find its handler")
    assert ref.refresh().state == "completed"


def test_children_are_replaced_after_so_many_jobs(queue: DatabaseBackend, proof: Path) -> None:
    Jobs.dispatch_many([Jobs.define("trial.sleep", {"path": str(proof), "seconds": 0}) for _ in range(12)])
    queues = {"default": {"max_workers": 1, "max_jobs_per_child": 5}}
    with worker(queue, "default", "--stop-when-empty", JOBS_QUEUES=queues) as w:
        assert w.wait() == 0, w.text
    assert counts(queue) == {"completed": 12}
    assert len({line.split()[-1] for line in lines(proof)}) >= 2


def test_the_worker_says_what_to_do_when_the_tables_are_missing(queue: DatabaseBackend, tmp_path: Path) -> None:
    env = {**os.environ, "TESTPROJECT_DATABASE": "sqlite", "TESTPROJECT_ALL_DATABASES": "0", "TESTPROJECT_NAME": "bare"}
    env["TESTPROJECT_VAR"] = str(tmp_path)
    done = run(["default"], env)
    assert done.returncode == 1
    assert "manage.py migrate" in done.stderr


@pytest.mark.parametrize("arguments", [["--max-workers", "0"], ["Bad Name"], ["--show", "x"], ["--sleep", "soon"]])
def test_bad_arguments_are_usage_errors(queue: DatabaseBackend, arguments: list[str]) -> None:
    done = run(arguments, site_env(queue.database))
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_not_there_or_has_no_effect_is_told(queue: DatabaseBackend) -> None:
    done = run(["--backend", "none"], site_env(queue.database))
    assert (done.returncode, "none" in done.stderr) == (1, True)
    done = run(["--once", "--max-workers", "4", "elsewhere"], site_env(queue.database))
    assert done.returncode == 0
    assert "--max-workers is ignored" in done.stderr
    assert "'elsewhere' is not in JOBS_QUEUES" in done.stderr
    done = run(["--max-workers", "1", "--stop-when-empty", "--json"], site_env(queue.database))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout.splitlines()[0])["event"] == "started"


def run(arguments: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    settings = {"TESTPROJECT_SETTINGS": json.dumps(QUICK)}
    command = [sys.executable, "manage.py", "jobs_work", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**env, **settings}, capture_output=True, text=True, timeout=60)


def test_the_worker_row_tells_of_its_life(queue: DatabaseBackend) -> None:
    with worker(queue, "default", "mail", "--max-workers", "2") as w:
        row = wait_until(lambda: registered(queue), "the worker to register")[0]
        assert (row.pid, row.queues, row.children) == (w.pid, "default,mail", 2)
        assert row.lease_expires_at > row.renewed_at
        Jobs.push("trial.noop")
        wait_finished(queue)
        w.signal(signal.SIGINT)
        assert w.wait() == 0
    row = Worker.objects.using(queue.database).get(id=row.id)
    assert (row.state, row.settled) == ("stopped", 1)
    assert "[Worker] stop signal received, finishing current cycle..." in w.text


def test_a_completed_record_is_kept_as_long_as_asked(queue: DatabaseBackend) -> None:
    kept = Jobs.define("trial.noop").ttl(3600).dispatch()
    forever = Jobs.define("trial.noop").ttl(None).dispatch()
    dropped = Jobs.define("trial.noop").ttl(0).dispatch()
    with worker(queue, "default", "--stop-when-empty") as w:
        assert w.wait() == 0
    assert str(dropped) not in places(queue)
    rows = {str(r.id): r for r in CompletedJob.objects.using(queue.database).all()}
    assert rows[str(forever)].keep_until is None
    assert rows[str(kept)].keep_until - rows[str(kept)].finished_at == timedelta(hours=1)


@pytest.mark.parametrize(
    "command", ["jobs_work", "jobs_reap", "jobs_retry", "jobs_cleanup", "jobs_purge", "jobs_stats"]
)
def test_every_command_helps(queue: DatabaseBackend, command: str) -> None:
    arguments = [sys.executable, "manage.py", command, "--help"]
    done = subprocess.run(arguments, cwd=ROOT, env=site_env(queue.database), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout
