"""The commands, on every database: what they do, what they print, how they end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F
from django.utils import timezone

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from django_jobs.maintenance.cleanup import Expiry, cleanup, expire
from django_jobs.maintenance.retry import FailedFilter, matching, retry_failed
from django_jobs.maintenance.stats import gather
from django_jobs.management.base import age, aligned
from django_jobs.models import CompletedJob, FailedJob, Job, JobEvent, Queue, Worker
from django_jobs.store import clock
from tests.support.site import site_env
from tests.support.threads import run_together
from tests.support.waiting import wait_until

from .conftest import claim_all, lose, work_off

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [
    "jobs_cancel",
    "jobs_delete",
    "jobs_reap",
    "jobs_retry",
    "jobs_cleanup",
    "jobs_purge",
    "jobs_stats",
    "jobs_run_job",
    "jobs_dispatch",
    "jobs_test",
    "jobs_test_monitor",
]
Failed = Callable[..., str]


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(command: str, *arguments: str) -> Ran:
    """Run a command as `manage.py` does, but in this process."""
    out, err = StringIO(), StringIO()
    try:
        call_command(command, *arguments, stdout=out, stderr=err, no_color=True)
    except CommandError as error:
        # Django's parser ends with 2 on the command line, and raises this without a code where it is called.
        code = 2 if str(error).startswith("Error: ") else error.returncode
        return Ran(code, out.getvalue(), err.getvalue() + str(error))
    return Ran(0, out.getvalue(), err.getvalue())


def manage(database: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=site_env(database),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def place_of(job_id: str) -> str:
    return Jobs.get(job_id).state


def ids(model: Any, store: DatabaseBackend) -> set[str]:
    return {str(pk) for pk in model.objects.using(store.database).values_list("pk", flat=True)}


@pytest.fixture
def store(store: DatabaseBackend, settings: Any) -> DatabaseBackend:
    """The database that the commands work on, too."""
    settings.JOBS_DATABASE_ALIAS = store.database
    return store


# -- all of them --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_what_no_command_knows_is_a_usage_error(command: str) -> None:
    assert run(command, "--no-such-flag", "30").code == 2


@pytest.mark.parametrize("text", ["a\x00b", "\udc80", "\x1b[2J"], ids=["nul", "undecodable", "escape"])
@pytest.mark.parametrize("flag", ["--handler", "--group", "--tag"])
@pytest.mark.parametrize("command", ["jobs_cancel", "jobs_delete", "jobs_retry"])
def test_a_filter_that_no_job_can_match_is_a_usage_error(command: str, flag: str, text: str) -> None:
    ran = run(command, "--dry-run", f"{flag}={text}")
    assert ran.code == 2
    assert text not in ran.err


@pytest.mark.django_db
@pytest.mark.parametrize("command", ["jobs_reap", "jobs_cleanup", "jobs_stats"])
def test_an_unknown_backend_is_a_thing_not_found(command: str) -> None:
    ran = run(command, "--backend", "nowhere")
    assert ran.code == 1
    assert "nowhere" in ran.err
    assert "default" in ran.err


def test_exit_codes_of_real_processes(store: DatabaseBackend, failed: Failed) -> None:
    job = failed()
    assert manage(store.database, "jobs_retry", job).returncode == 0
    missing = manage(store.database, "jobs_retry", str(uuid.uuid4()))
    assert missing.returncode == 1
    assert missing.stdout == "Retried 0 jobs.\n"
    assert "No failed job has the id" in missing.stderr
    usage = manage(store.database, "jobs_retry")
    assert usage.returncode == 2
    assert "usage:" in usage.stderr
    refused = manage(store.database, "jobs_cleanup", "--status", "failed")
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    stats = manage(store.database, "jobs_stats")
    assert stats.returncode == 0
    assert "\x1b" not in stats.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_does(command: str) -> None:
    from django.core.management import load_command_class

    text = load_command_class("django_jobs", command).create_parser("manage.py", command).format_help()
    assert "--backend" in text
    assert "jobs" in text.split("\n\n")[1].lower()


# -- jobs_reap ------------------------------------------------------------------------------------------------------


def test_reap_gives_back_what_a_lost_worker_held(store: DatabaseBackend) -> None:
    lost = [Jobs.push("trial.noop"), Jobs.push("trial.noop"), Jobs.push("trial.noop", queue="mail")]
    lose(store, "default", "mail")
    ran = run("jobs_reap")
    assert ran == (
        0,
        "Reaped 2 expired message(s) from queue 'default'.\nReaped 1 expired message(s) from queue 'mail'.\n",
        "",
    )
    assert {place_of(job) for job in lost} == {"pending"}


def test_reap_of_named_queues_leaves_the_others(store: DatabaseBackend) -> None:
    Jobs.push("trial.noop")
    other = Jobs.push("trial.noop", queue="mail")
    lose(store, "default", "mail")
    ran = run("jobs_reap", "default", "census")
    assert ran.out == (
        "Reaped 1 expired message(s) from queue 'default'.\nReaped 0 expired message(s) from queue 'census'.\n"
    )
    assert place_of(other) == "running"


def test_reap_where_nothing_was_lost(store: DatabaseBackend) -> None:
    held = Jobs.push("trial.noop")
    claim_all(store, "default")
    assert run("jobs_reap", "--all") == (0, "No job was lost.\n", "")
    assert place_of(held) == "running"


def test_reap_leaves_what_was_claimed_too_lately(store: DatabaseBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_jobs.maintenance.reap.BATCH", 2)
    jobs = Jobs.push_many("trial.noop", range(7))
    lose(store, "default")
    rows = Job.objects.using(store.database).filter(pk__in=[jobs[1], *jobs[5:]])
    rows.update(started_at=F("started_at") - timedelta(minutes=10))
    assert run("jobs_reap", "--visibility", "9m", "--dry-run").out == "Would reap 3 job(s) from queue 'default'.\n"
    assert run("jobs_reap", "--visibility", "9m", "--json").json["reaped"] == {"default": 3}
    assert [place_of(job) for job in jobs] == ["running", "pending", *["running"] * 3, "pending", "pending"]
    assert run("jobs_reap", "--visibility", "9m").out == "No job was lost.\n"
    assert run("jobs_reap").out == "Reaped 4 expired message(s) from queue 'default'.\n"


def test_a_dry_run_of_reap_changes_nothing(store: DatabaseBackend) -> None:
    Jobs.push("trial.noop", queue="mail")
    lose(store, "mail")
    lapsed = Jobs.push("trial.noop")
    claim_all(store, "default")
    workers = Worker.objects.using(store.database)
    workers.filter(state="running").update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    nobodys = Jobs.push("trial.noop")
    Job.objects.using(store.database).filter(pk=nobodys).update(state="running")
    ran = run("jobs_reap", "--dry-run", "--json")
    assert ran.json == {"dry_run": True, "reaped": {"default": 2, "mail": 1}, "total": 3}
    assert run("jobs_reap", "mail", "--dry-run").out == "Would reap 1 job(s) from queue 'mail'.\n"
    assert {place_of(lapsed), place_of(nobodys)} == {"running"}
    assert workers.filter(state="lost").count() == 0
    assert run("jobs_reap", "--json").json["reaped"] == {"default": 2, "mail": 1}


@pytest.mark.parametrize(
    "arguments", [["--dry-run", "--loop", "1"], ["default", "--all"], ["No Queue"], ["--loop", "0"], ["--loop", "soon"]]
)
def test_reap_usage(arguments: list[str]) -> None:
    assert run("jobs_reap", *arguments).code == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_reap_loop_ends_cleanly_at_a_signal(store: DatabaseBackend, tmp_path: Path, number: signal.Signals) -> None:
    job = Jobs.push("trial.noop")
    lose(store, "default")
    output = tmp_path / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "jobs_reap", "--loop", "3600"],
            cwd=ROOT,
            env=site_env(store.database),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: "Reaped 1" in output.read_text(), "the first round")
        process.send_signal(number)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in output.read_text()
    assert place_of(job) == "pending"


# -- jobs_retry -----------------------------------------------------------------------------------------------------


def test_retry_by_id_keeps_id_and_history(store: DatabaseBackend, failed: Failed) -> None:
    job, other = failed(), failed()
    assert run("jobs_retry", job) == (0, "Retried 1 job.\n", "")
    record = Jobs.get(job)
    assert (record.state, record.attempt, len(record.attempts)) == ("pending", 0, 1)
    assert place_of(other) == "failed"


def test_retry_of_ids_goes_on_after_one_that_is_missing(store: DatabaseBackend, failed: Failed) -> None:
    job, missing, waiting = failed(), str(uuid.uuid4()), str(Jobs.push("trial.noop"))
    ran = run("jobs_retry", missing, waiting, job, "--json")
    assert ran.code == 1
    assert ran.json == {"dry_run": False, "retried": [job], "skipped": [], "not_found": [missing, waiting]}
    assert missing in ran.err
    assert place_of(job) == "pending"


def test_retry_with_a_delay(store: DatabaseBackend, failed: Failed) -> None:
    job = failed()
    assert run("jobs_retry", job, "--delay", "10m").code == 0
    record = Jobs.get(job)
    assert record.state == "scheduled"
    assert record.available_at is not None
    assert timedelta(minutes=9) < record.available_at - clock(store) <= timedelta(minutes=10)


def test_retry_filters(store: DatabaseBackend, failed: Failed) -> None:
    dead, refused, mail = failed(), failed("trial.refuse"), failed(queue="mail")
    assert run("jobs_retry", "mail", "--dry-run").out == f"{mail}\nWould retry 1 job.\n"
    assert run("jobs_retry", "--queue", "mail,census", "--json", "--dry-run").json["retried"] == [mail]
    assert run("jobs_retry", "--status", "failed", "--json", "--dry-run").json["retried"] == [refused]
    assert run("jobs_retry", "--status", "failure", "--json", "--dry-run").json["retried"] == [refused]
    assert run("jobs_retry", "--status", "dead,crashed", "--json", "--dry-run").json["retried"] == [dead, mail]
    assert run("jobs_retry", "--handler", "trial.fail", "default", "--json", "--dry-run").json["retried"] == [dead]
    assert ids(FailedJob, store) == {dead, refused, mail}
    assert run("jobs_retry", "--all").out == "Retried 3 jobs.\n"
    assert ids(Job, store) == {dead, refused, mail}


@pytest.mark.parametrize("flags", [["--group", "night"], ["--tag", "red"], ["--older-than", "1h"]])
def test_retry_narrows_by_what_a_job_is_labelled_and_by_age(
    store: DatabaseBackend, failed: Failed, flags: list[str]
) -> None:
    meant, other = failed(), failed()
    rows = FailedJob.objects.using(store.database)
    rows.filter(pk=meant).update(group="night", tags=" red ", finished_at=F("finished_at") - timedelta(hours=2))
    rows.filter(pk=other).update(group="Night", tags=" Red ")
    assert run("jobs_retry", *flags).out == "Retried 1 job.\n"
    assert (place_of(meant), place_of(other)) == ("pending", "failed")


def test_retry_tells_its_progress(store: DatabaseBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    Jobs.push_many("trial.fail", range(5), max_attempts=1)
    work_off(store)
    monkeypatch.setattr("django_jobs.maintenance.retry.PROGRESS_JOBS", 2)
    seen: list[int] = []
    assert len(retry_failed(store, FailedFilter(), progress=seen.append).retried) == 5
    assert seen == [2, 4]


def test_progress_is_for_terminals_alone(store: DatabaseBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("django_jobs.management.commands.jobs_dispatch.SLICE", 2)
    for stream, watched in ((StringIO(), False), (Terminal(), True)):
        call_command("jobs_dispatch", "trial.noop", "--count", "3", stdout=StringIO(), stderr=stream)
        assert ("\r3 " in stream.getvalue()) is watched
        assert stream.getvalue().endswith(f"\r{'':12}\r") is watched, "the line is taken away in the end"


def test_retry_takes_the_oldest_failures_up_to_the_limit(store: DatabaseBackend, failed: Failed) -> None:
    first, second, third = failed(), failed(), failed()
    later = clock(store) + timedelta(hours=1)
    FailedJob.objects.using(store.database).filter(pk=first).update(finished_at=later)
    assert run("jobs_retry", "default", "--limit", "2", "--json").json["retried"] == [second, third]
    assert place_of(first) == "failed"


def test_retry_is_limited_unless_all_is_said(store: DatabaseBackend) -> None:
    Jobs.dispatch_many([Jobs.define("trial.fail") for _ in range(120)])
    work_off(store, "default")
    assert len(run("jobs_retry", "default", "--dry-run", "--json").json["retried"]) == 100
    assert len(run("jobs_retry", "--all", "--limit", "7", "--dry-run", "--json").json["retried"]) == 7
    assert run("jobs_retry", "--all", "default").out == "Retried 120 jobs.\n"
    assert Job.objects.using(store.database).filter(state="pending").count() == 120


def test_rejected_jobs_need_resign(store: DatabaseBackend, failed: Failed) -> None:
    good, tampered = failed(), Jobs.push("trial.noop")
    Job.objects.using(store.database).filter(pk=tampered).update(signature="forged:00")
    work_off(store, "default")
    assert Jobs.get(tampered).reason == "rejected"
    assert run("jobs_retry", "--all", "--dry-run", "--json").json["retried"] == [good]
    assert run("jobs_retry", "--status", "rejected").code == 2
    named = run("jobs_retry", tampered, "--json")
    assert named.code == 1
    assert named.json["skipped"][0]["id"] == tampered
    assert run("jobs_retry", tampered, "--dry-run").code == 1
    assert place_of(tampered) == "failed"
    assert run("jobs_retry", "--status", "rejected", "--resign").out == "Retried 1 job.\n"
    work_off(store, "default")
    assert place_of(tampered) == "completed"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give ids of failed jobs"),
        (["nonsense"], "neither the id of a job nor a configured queue"),
        (["default", str(uuid.uuid4())], "not both"),
        ([str(uuid.uuid4()), "--limit", "3"], "--limit"),
        (["--status", "green"], "green"),
        (["--all", "--limit", "0"], "from 1 to"),
        (["--all", "--delay", "tomorrow"], "tomorrow"),
        (["--queue", "No Queue"], "No Queue"),
    ],
)
def test_retry_usage(arguments: list[str], says: str) -> None:
    ran = run("jobs_retry", *arguments)
    assert ran.code == 2
    assert says in ran.err


def test_a_conflict_stops_no_other_job_of_a_filter(store: DatabaseBackend, failed: Failed) -> None:
    blocked, other = failed(), failed()
    row = FailedJob.objects.using(store.database).get(pk=blocked)
    Jobs.delete(blocked)
    Jobs.push("trial.noop", uuid=blocked)  # the same id waits again: the failed one may not
    row.save(using=store.database, force_insert=True)
    ran = run("jobs_retry", "--all", "--json")
    assert ran.code == 0
    assert ran.json["retried"] == [other]
    assert [skipped["id"] for skipped in ran.json["skipped"]] == [blocked]
    assert "Skipped" in ran.err


def test_a_retry_by_filter_reads_its_jobs_once(store: DatabaseBackend, failed: Failed) -> None:
    job = failed()
    assert matching(store, FailedFilter()) == [job]
    report = retry_failed(store, FailedFilter(queues=["census"]), limit=None)
    assert (report.retried, report.missing, report.skipped) == ([], [], {})


# -- jobs_cleanup ---------------------------------------------------------------------------------------------------


def finished(store: DatabaseBackend, failed: Failed) -> dict[str, str]:
    """One job of each kind, all of them finished 40 days ago, and their live neighbours."""
    done, cancelled = Jobs.push("trial.noop"), Jobs.push("trial.noop", delay=60)
    cancelled.cancel()
    jobs = {"failed": failed(), "completed": str(done), "cancelled": str(cancelled)}
    for model in (FailedJob, CompletedJob):
        long_ago = clock(store) - timedelta(days=40)
        model._default_manager.using(store.database).update(finished_at=long_ago)
    return jobs


def test_cleanup_takes_completed_jobs_by_default(store: DatabaseBackend, failed: Failed) -> None:
    jobs = finished(store, failed)
    live = str(Jobs.push("trial.noop"))
    assert run("jobs_cleanup") == (0, "Deleted 1 completed job.\n", "")
    assert ids(CompletedJob, store) == {jobs["cancelled"]}
    assert ids(FailedJob, store) == {jobs["failed"]}
    assert ids(Job, store) == {live}


@pytest.mark.parametrize("command", ["jobs_cleanup", "jobs_purge"])
def test_cleanup_of_everything(store: DatabaseBackend, failed: Failed, command: str) -> None:
    finished(store, failed)
    recent = failed()
    live = str(Jobs.push("trial.noop"))
    Job.objects.using(store.database).update(enqueued_at=clock(store) - timedelta(days=400))
    dry = run(command, "--status", "all", "--dry-run", "--json").json
    assert dry["deleted"] == {"completed": 1, "cancelled": 1, "failed": 1}
    assert dry["dry_run"] is True
    assert ids(CompletedJob, store)
    wet = run(command, "--status", "all", "--force", "--json").json
    assert (wet["deleted"], wet["total"]) == (dry["deleted"], 3)
    assert datetime.fromisoformat(wet["before"]).tzinfo is not None
    assert ids(CompletedJob, store) == set()
    assert ids(FailedJob, store) == {recent}
    assert ids(Job, store) == {live}


@pytest.mark.parametrize(
    ("status", "state"),
    [("done", "completed"), ("success", "completed"), ("failure", "failed"), ("canceled", "cancelled")],
)
def test_cleanup_knows_other_words_for_states(store: DatabaseBackend, failed: Failed, status: str, state: str) -> None:
    finished(store, failed)
    assert run("jobs_cleanup", "--status", status, "--dry-run", "--json").json["deleted"] == {state: 1}


def test_cleanup_by_queue_days_and_moment(store: DatabaseBackend, failed: Failed) -> None:
    finished(store, failed)
    assert run("jobs_cleanup", "--queue", "mail").out == "Deleted 0 completed jobs.\n"
    assert run("jobs_cleanup", "--days", "41").out == "Deleted 0 completed jobs.\n"
    before = (clock(store) - timedelta(days=41)).isoformat()
    assert run("jobs_cleanup", "--before", before).out == "Deleted 0 completed jobs.\n"
    assert run("jobs_cleanup", "--before", "2999-01-01").out == "Deleted 1 completed job.\n"


def test_a_moment_without_an_offset_is_in_the_sites_time_zone(store: DatabaseBackend) -> None:
    with timezone.override("America/New_York"):
        said = run("jobs_cleanup", "--before", "2030-01-31T12:00", "--dry-run", "--json").json["before"]
    assert datetime.fromisoformat(said) == datetime(2030, 1, 31, 17, tzinfo=UTC)


def test_cleanup_goes_in_batches(store: DatabaseBackend) -> None:
    Jobs.dispatch_many([Jobs.define("trial.noop") for _ in range(25)])
    work_off(store, "default")
    seen: list[int] = []
    before = clock(store) + timedelta(seconds=1)
    assert cleanup(store, before=before, batch_size=10, progress=seen.append) == {"completed": 25}
    assert seen == [10, 20, 25]


def test_cleanup_of_failed_jobs_asks_first(store: DatabaseBackend, failed: Failed) -> None:
    jobs = finished(store, failed)
    ran = run("jobs_cleanup", "--status", "failed")
    assert ran.code == 2
    assert "--force" in ran.err
    assert ids(FailedJob, store) == {jobs["failed"]}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--status", "pending"],
        ["--days", "-1"],
        ["--days", "many"],
        ["--before", "yesterday"],
        ["--before", "2030-02-30"],
        ["--before", "2030-01-01", "--days", "3"],
        ["--batch-size", "0"],
    ],
)
def test_cleanup_usage(arguments: list[str]) -> None:
    assert run("jobs_cleanup", *arguments).code == 2


def test_cleanup_where_no_database_is(settings: Any) -> None:
    settings.JOBS_BACKENDS = {"default": {"BACKEND": "django_jobs.backends.memory.MemoryBackend"}}
    assert run("jobs_cleanup").code == 1


# -- what the worker calls ------------------------------------------------------------------------------------------


@pytest.fixture(params=["once", "as a worker does"])
def expiring(request: pytest.FixtureRequest, store: DatabaseBackend) -> Callable[[], int]:
    """What deletes what was kept long enough."""
    return partial(expire, store) if request.param == "once" else Expiry(store)


def test_expire_deletes_what_was_kept_long_enough(store: DatabaseBackend, expiring: Callable[[], int]) -> None:
    gone, kept, forever = (
        Jobs.push("trial.noop", ttl=60),
        Jobs.push("trial.noop", ttl=7200),
        Jobs.push("trial.noop", ttl=None),
    )
    work_off(store, "default")
    rows = CompletedJob.objects.using(store.database)
    rows.filter(pk=gone).update(keep_until=clock(store) - timedelta(seconds=1))
    store.record_events([(str(gone), "default", "old", "", {}), (str(kept), "default", "new", "", {})])
    long_ago = clock(store) - timedelta(days=15)
    JobEvent.objects.using(store.database).filter(type="old").update(at=long_ago)
    assert expiring() == 2
    assert ids(CompletedJob, store) == {str(kept), str(forever)}
    assert [event.type for event in JobEvent.objects.using(store.database)] == ["new"]
    assert expiring() == 0


def test_expire_forgets_workers_that_are_gone_and_hold_nothing(
    store: DatabaseBackend, expiring: Callable[[], int]
) -> None:
    Jobs.push("trial.noop")
    [holding] = {claim.worker_id for claim in claim_all(store, "default")}
    claim_all(store, "default")  # one that holds nothing
    workers = Worker.objects.using(store.database)
    long_ago = clock(store) - timedelta(days=2)
    workers.update(renewed_at=long_ago, lease_expires_at=long_ago)
    assert expiring() == 0  # nobody has called them lost yet
    workers.update(state="lost")
    assert expiring() == 1
    assert ids(Worker, store) == {holding}
    workers.update(state="stopped", renewed_at=clock(store), lease_expires_at=clock(store))
    Job.objects.using(store.database).all().delete()
    assert expiring() == 0  # it stopped only just


def test_expire_is_bounded_per_call(store: DatabaseBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_jobs.maintenance.cleanup.BATCH", 4)
    monkeypatch.setattr("django_jobs.maintenance.cleanup.MOST_PER_CALL", 10)
    Jobs.dispatch_many([Jobs.define("trial.noop") for _ in range(12)])
    work_off(store, "default")
    CompletedJob.objects.using(store.database).update(keep_until=clock(store) - timedelta(hours=1))
    assert [expire(store), expire(store), expire(store)] == [10, 2, 0]


def test_many_hosts_may_expire_at_once(store: DatabaseBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_jobs.maintenance.cleanup.BATCH", 7)
    Jobs.dispatch_many([Jobs.define("trial.noop") for _ in range(300)])
    work_off(store, "default")
    CompletedJob.objects.using(store.database).update(keep_until=clock(store) - timedelta(hours=1))
    counts = run_together(*[lambda: expire(store)] * 4)
    assert sum(counts) + expire(store) == 300
    assert ids(CompletedJob, store) == set()


@pytest.mark.parametrize("backend", ["memory.MemoryBackend", "null.NullBackend"])
def test_expire_has_nothing_to_do_without_a_database(settings: Any, backend: str) -> None:
    settings.JOBS_BACKENDS = {"default": {"BACKEND": f"django_jobs.backends.{backend}"}}
    assert expire(Jobs.backend()) == 0


# -- jobs_stats -----------------------------------------------------------------------------------------------------


def test_stats_counts_every_state(store: DatabaseBackend, failed: Failed) -> None:
    failed()
    Jobs.push("trial.noop")
    work_off(store, "default")
    Jobs.push("trial.noop", delay=60).cancel()
    Jobs.push("trial.noop", delay=60)
    running = Jobs.push("trial.noop")
    claim_all(store, "default")
    running.cancel()
    Jobs.push("trial.noop")
    Queue.objects.using(store.database).create(name="mail", paused=True)
    numbers = run("jobs_stats", "--json").json
    assert [queue["queue"] for queue in numbers["queues"]] == ["census", "default", "mail"]
    default = numbers["queues"][1]
    assert 0 <= default.pop("oldest_pending_seconds") < 60
    assert default == {
        "queue": "default",
        "pending": 1,
        "scheduled": 1,
        "blocked": 0,
        "running": 0,
        "cancel_requested": 1,
        "failed": 1,
        "completed": 1,
        "cancelled": 1,
        "paused": False,
    }
    assert numbers["queues"][2]["paused"] is True
    assert numbers["totals"]["pending"] == 1
    assert numbers["workers_alive"] == 3
    assert numbers["long_running"] == []


def test_stats_as_a_table(store: DatabaseBackend) -> None:
    Jobs.push("trial.noop")
    lines = run("jobs_stats").out.splitlines()
    assert [line.split()[0] for line in lines] == ["queue", "census", "default", "mail", "total", "Workers"]
    assert lines[2].split()[1] == "1"
    assert lines[5] == "Workers alive: 0"
    assert not any(line != line.rstrip() for line in lines)


def test_a_dispatch_to_a_queue_of_no_settings_is_told_of(store: DatabaseBackend) -> None:
    done = run("jobs_dispatch", "trial.noop", "--queue", "mial")
    assert (done.code, "'mial' is not in JOBS_QUEUES" in done.err) == (0, True)
    assert run("jobs_dispatch", "trial.noop").err == ""


def test_stats_of_one_queue(store: DatabaseBackend) -> None:
    Jobs.push("trial.noop")
    assert [queue["queue"] for queue in run("jobs_stats", "--queue", "mail", "--json").json["queues"]] == ["mail"]
    ran = run("jobs_stats", "--queue", "nowhere")
    assert ran.code == 1
    assert "nowhere" in ran.err


def test_stats_warn_of_jobs_that_run_too_long(store: DatabaseBackend) -> None:
    long, unlimited, quick = (
        Jobs.push("trial.noop", timeout=10),
        Jobs.push("trial.noop", timeout=None),
        Jobs.push("trial.noop", timeout=600),
    )
    claim_all(store, "default")
    Job.objects.using(store.database).update(started_at=clock(store) - timedelta(seconds=125))
    assert [job.id for job in gather(store).long_running] == [long]
    ran = run("jobs_stats")
    warnings = [line for line in ran.out.splitlines() if line.startswith("Warning")]
    assert len(warnings) == 1
    assert f"job {long} (trial.noop, queue 'default') has run for 2 minutes, 5 seconds" in warnings[0]
    assert {place_of(unlimited), place_of(quick)} == {"running"}


def test_stats_of_a_backend_without_a_database(settings: Any) -> None:
    settings.JOBS_BACKENDS = {"default": {"BACKEND": "django_jobs.backends.memory.MemoryBackend"}}
    Jobs.push("trial.noop")
    numbers = run("jobs_stats", "--json").json
    assert (numbers["totals"]["pending"], numbers["workers_alive"]) == (1, None)


# -- texts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"),
        (0, "0 seconds"),
        (1.9, "1 second"),
        (60, "1 minute"),
        (3725, "1 hour, 2 minutes"),
        (86_405, "1 day"),
        (200_000, "2 days, 7 hours"),
    ],
)
def test_ages_in_words(seconds: float | None, words: str) -> None:
    assert age(seconds) == words


def test_aligned_columns() -> None:
    assert aligned([["a", "bb", "c"], ["long", "1", "22"]]) == ["a     bb   c", "long   1  22"]


def test_the_checks_of_a_command_ask_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else none would start while one of the site's databases is away: Django asks MySQL about the fields of models."""
    asked = []
    monkeypatch.setattr("django.core.checks.run_checks", lambda **how: asked.append(how["databases"]) or [])
    call_command("jobs_cronjob_test", "* * * * *", skip_checks=False, stdout=StringIO())
    assert asked == [[]]
