"""The commands of the schedule say and do what they say, on every database."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_jobs.backends.database import DatabaseBackend
from django_jobs.maintenance.cleanup import expire
from django_jobs.management.commands.jobs_cronjob_history import as_text
from django_jobs.models import CompletedJob, Job, ScheduleEntry, ScheduleTick
from django_jobs.scheduler.builder import Scheduler
from tests.integration.conftest import work_off
from tests.support.clock import advance_database


def declare(s: Scheduler) -> None:
    s.define("trial.noop").named("often").every_minute().queue("default")
    s.define("trial.fail").named("here").every_minute()
    s.define("trial.noop").named("nightly").daily_at("02:00").queue("default").description("tidies up")
    s.define("trial.noop").named("elsewhere").hourly().queue("default").environments("elsewhere")


@pytest.fixture(autouse=True)
def schedule(settings: Any) -> None:
    settings.JOBS_SCHEDULE = declare


def said(*command: str) -> str:
    out = StringIO()
    call_command(*command, stdout=out, stderr=out)
    return out.getvalue()


def told(*command: str) -> Any:
    out = StringIO()
    call_command(*command, "--json", stdout=out, stderr=StringIO())
    return json.loads(out.getvalue())


def test_the_first_run_notes_what_is_new_and_the_next_dispatches(jobs_on: DatabaseBackend) -> None:
    assert "new: often, which starts from now" in said("jobs_cronjob_run")
    advance_database(jobs_on, 60)
    told_of = told("jobs_cronjob_run")
    assert told_of["new"] == told_of["problems"] == []
    by_name = {tick["name"]: tick for tick in told_of["ticks"]}
    assert by_name["often"]["state"] == "dispatched"
    assert by_name["often"]["job_id"] == str(Job.objects.using(jobs_on.database).get().pk)
    assert (by_name["here"]["state"], by_name["here"]["reason"]) == ("failed", "dead")
    assert "this job fails" in by_name["here"]["error"]
    assert datetime.fromisoformat(by_name["often"]["at"]).second == 0


def test_where_it_is_to_be_quiet_it_says_what_went_wrong(jobs_on: DatabaseBackend) -> None:
    assert said("jobs_cronjob_run", "--verbosity", "0") == ""
    advance_database(jobs_on, 60)
    (line,) = said("jobs_cronjob_run", "--verbosity", "0").splitlines()
    assert line.startswith("failed: here, due ")


def test_only_narrows_it_and_must_name_an_entry(jobs_on: DatabaseBackend) -> None:
    said("jobs_cronjob_run")
    advance_database(jobs_on, 60)
    assert [tick["name"] for tick in told("jobs_cronjob_run", "--only", "often,nightly")["ticks"]] == ["often"]
    with pytest.raises(CommandError, match="no entry 'nothing'") as failure:
        said("jobs_cronjob_run", "--only", "nothing")
    assert failure.value.returncode == 1


def test_a_dry_run_writes_nothing(jobs_on: DatabaseBackend) -> None:
    assert "new: often" in said("jobs_cronjob_run", "--dry-run")
    assert not ScheduleEntry.objects.using(jobs_on.database).exists()
    said("jobs_cronjob_run")
    advance_database(jobs_on, 60)
    assert "due: often, at " in said("jobs_cronjob_run", "--dry-run")
    assert not ScheduleTick.objects.using(jobs_on.database).exists()
    assert not Job.objects.using(jobs_on.database).exists()


def test_a_dry_run_says_what_a_run_would_do_where_a_timing_has_changed(jobs_on: DatabaseBackend, settings: Any) -> None:
    """The run begins that entry anew; so nothing of the days before is due, or was missed."""

    def as_it_is_now(s: Scheduler) -> None:
        s.define("trial.noop").named("often").hourly().catch_up("all").queue("default")

    said("jobs_cronjob_run")
    advance_database(jobs_on, 48 * 3600)
    settings.JOBS_SCHEDULE = as_it_is_now
    foretold = told("jobs_cronjob_run", "--dry-run")
    done = told("jobs_cronjob_run")
    assert len(done["ticks"]) <= 1, "an hour may just have begun"
    assert [(t["name"], t["at"]) for t in foretold["ticks"]] == [(t["name"], t["at"]) for t in done["ticks"]]


def test_a_dry_run_says_what_a_run_would_do_where_the_clock_was_ahead(jobs_on: DatabaseBackend) -> None:
    said("jobs_cronjob_run", "--only", "often")
    advance_database(jobs_on, -48 * 3600)
    foretold = told("jobs_cronjob_run", "--dry-run", "--only", "often")
    done = told("jobs_cronjob_run", "--only", "often")
    assert done["ticks"]
    assert [(t["name"], t["at"]) for t in foretold["ticks"]] == [(t["name"], t["at"]) for t in done["ticks"]]


def test_an_entry_that_was_disabled_before_any_scheduler_saw_it_is_new(jobs_on: DatabaseBackend) -> None:
    said("jobs_cronjob_disable", "often")
    foretold = told("jobs_cronjob_run", "--dry-run")["new"]
    assert "often" in foretold
    assert sorted(foretold) == sorted(told("jobs_cronjob_run")["new"])


def test_no_name_turns_a_line_round(jobs_on: DatabaseBackend, settings: Any, caplog: Any) -> None:
    name = "a\u202eb\u2066c"

    def turning(s: Scheduler) -> None:
        s.define("trial.noop").named(name).every_minute().queue("default").when(lambda: 1 / 0)
        s.define("no.such").named("\u202ebroken").every_minute()

    settings.JOBS_SCHEDULE = turning
    call_command("jobs_cronjob_disable", name, stdout=StringIO())
    outputs = [said("jobs_cronjob_list"), said("jobs_cronjob_disable", name), said("jobs_cronjob_enable", name)]
    for _ in range(2):
        out = StringIO()
        with pytest.raises(CommandError):
            call_command("jobs_cronjob_run", stdout=out, stderr=out)
        outputs.append(out.getvalue())
        advance_database(jobs_on, 60)
    outputs.append(said("jobs_cronjob_history", name, "--full"))
    assert "failed" in outputs[-1]
    for output in (*outputs, caplog.text):
        assert output
        assert not {"\u202e", "\u2066"} & set(output)
    assert "a�b�c" in outputs[0]


def test_force_inline_queues_nothing(jobs_on: DatabaseBackend) -> None:
    said("jobs_cronjob_run")
    advance_database(jobs_on, 60)
    assert "ran often, due " in said("jobs_cronjob_run", "--only", "often", "--force-inline")
    assert not Job.objects.using(jobs_on.database).exists()
    assert CompletedJob.objects.using(jobs_on.database).get().name == "often"


def test_a_test_time_runs_what_is_due_then_and_leaves_no_tick(jobs_on: DatabaseBackend) -> None:
    rehearsed = told("jobs_cronjob_run", "--test-time", "2026-06-03 02:00:00", "--dry-run")
    assert [(t["name"], t["state"], t["at"]) for t in rehearsed["ticks"]] == [
        (name, "due", "2026-06-03T02:00:00+00:00") for name in ("often", "here", "nightly")
    ]
    assert not Job.objects.using(jobs_on.database).exists()
    ran = told("jobs_cronjob_run", "--test-time", "2026-06-03 02:00:30", "--only", "nightly,here")
    assert [(t["name"], t["state"]) for t in ran["ticks"]] == [("here", "failed"), ("nightly", "dispatched")]
    assert Job.objects.using(jobs_on.database).get().name == "nightly"
    assert not ScheduleTick.objects.using(jobs_on.database).exists()
    assert said("jobs_cronjob_run", "--test-time", "2026-06-03 02:01", "--only", "nightly") == "Nothing is due.\n"


def test_it_ends_with_1_where_an_entry_could_not_start(jobs_on: DatabaseBackend, settings: Any) -> None:
    def broken(s: Scheduler) -> None:
        declare(s)
        s.define("trial.noop").named("broken").every_minute().queue("default").when(lambda: 1 / 0)
        s.define("no.such.handler").named("unknown").every_minute()

    settings.JOBS_SCHEDULE = broken
    with pytest.raises(CommandError, match="1 could not be started"):
        said("jobs_cronjob_run")
    advance_database(jobs_on, 60)
    out = StringIO()
    with pytest.raises(CommandError, match="2 could not be started") as failure:
        call_command("jobs_cronjob_run", stdout=out, stderr=out)
    assert failure.value.returncode == 1
    assert "the entry 'unknown' is left out: " in out.getvalue()
    assert "failed: broken, due " in out.getvalue()
    assert "dispatched often, due " in out.getvalue()


def test_the_list_has_the_next_and_the_last_run(jobs_on: DatabaseBackend) -> None:
    said("jobs_cronjob_run")
    advance_database(jobs_on, 60)
    said("jobs_cronjob_run")
    said("jobs_cronjob_disable", "nightly")
    entries = {entry["name"]: entry for entry in told("jobs_cronjob_list")["entries"]}
    assert list(entries)[-2:] == ["nightly", "elsewhere"]  # what does not run comes last
    assert (entries["often"]["last_state"], entries["often"]["enabled"]) == ("dispatched", True)
    assert entries["here"]["last_state"] == "failed"
    assert entries["often"]["next"] > entries["often"]["last"]
    assert (entries["nightly"]["enabled"], entries["nightly"]["next"]) == (False, None)
    assert (entries["elsewhere"]["here"], entries["nightly"]["description"]) == (False, "tidies up")
    lines = said("jobs_cronjob_list").splitlines()
    assert lines[0].split() == ["entry", "when", "next", "run", "last", "run", "where"]
    assert "disabled" in next(line for line in lines if line.startswith("nightly"))
    assert "only in elsewhere" in next(line for line in lines if line.startswith("elsewhere"))
    assert next(line for line in lines if line.startswith("here")).endswith("inline")


def test_moments_at_the_ends_of_the_calendar_are_refused(jobs_on: DatabaseBackend) -> None:
    for command in (
        ("jobs_cronjob_test", "* * * * *", "--after", "0001-01-01T00:00:00+00:00"),
        ("jobs_cronjob_run", "--test-time", "0001-01-01T00:00:00+00:00"),
        ("jobs_cronjob_run", "--test-time", "9999-12-31T23:59:00+00:00"),
    ):
        with pytest.raises(CommandError, match="is not a moment"):
            said(*command)


def test_the_history_has_the_latest_ticks_first(jobs_on: DatabaseBackend) -> None:
    assert said("jobs_cronjob_history", "often") == "No tick yet.\n"
    said("jobs_cronjob_run")
    for _ in range(3):
        advance_database(jobs_on, 60)
        said("jobs_cronjob_run")
        work_off(jobs_on)
    said("jobs_cronjob_run", "--only", "nightly")
    ticks = told("jobs_cronjob_history", "often", "--limit", "2")["ticks"]
    assert [tick["state"] for tick in ticks] == ["succeeded", "succeeded"]
    assert ticks[0]["due_at"] > ticks[1]["due_at"]
    assert ticks[0]["seconds"] >= 0
    assert len(told("jobs_cronjob_history", "here", "--status", "failed")["ticks"]) == 3
    assert told("jobs_cronjob_history", "here", "--status", "succeeded")["ticks"] == []
    assert "this job fails" not in said("jobs_cronjob_history", "here")
    full = said("jobs_cronjob_history", "here", "--full")
    assert "this job fails" in full
    assert "    job " in full
    with pytest.raises(CommandError, match="no entry 'nothing'"):
        said("jobs_cronjob_history", "nothing")
    for odd in ("nul \x00", "undecodable \udc80", "escape \x1b[2J"):
        with pytest.raises(CommandError) as caught:
            said("jobs_cronjob_history", odd)
        assert odd not in str(caught.value)
        with pytest.raises(CommandError) as caught:
            said("jobs_cronjob_run", "--only", odd)
        assert odd not in str(caught.value)
    with pytest.raises(CommandError, match=r"'odd' is no state of a tick\. There are: waiting, ") as failure:
        said("jobs_cronjob_history", "here", "--status", "odd")
    assert failure.value.returncode == 2


def test_the_history_has_what_is_recorded_of_the_jobs(jobs_on: DatabaseBackend, settings: Any) -> None:
    def with_payloads(s: Scheduler) -> None:
        s.define("trial.noop", {"month": 6, "api_key": "k-1"}).named("queued").every_minute().queue("default")
        s.define("trial.fail", {"n": 1}).named("inline").every_minute()
        s.define("trial.noop").named("never").every_minute().when(lambda: False)

    settings.JOBS_SCHEDULE = with_payloads
    said("jobs_cronjob_run")
    advance_database(jobs_on, 60)
    said("jobs_cronjob_run")
    assert "payload" not in said("jobs_cronjob_history", "queued", "--full")
    plain = said("jobs_cronjob_history", "queued", "--payload")
    assert '    payload: {"month": 6, "api_key": "********"}\n' in plain
    assert "k-1" not in plain
    assert "handler" not in plain
    (waiting,) = told("jobs_cronjob_history", "queued", "--extended")["ticks"]
    assert (waiting["job"]["state"], waiting["job"]["handler"]) == ("pending", "trial.noop")
    assert "payload" not in waiting
    work_off(jobs_on)
    (done,) = told("jobs_cronjob_history", "queued", "--extended", "--payload")["ticks"]
    assert (done["job"]["state"], done["job"]["attempt"], done["job"]["max_attempts"]) == ("completed", 1, 1)
    assert done["job"]["waited_seconds"] >= 0
    assert done["payload"] == {"month": 6, "api_key": "********"}
    lines = said("jobs_cronjob_history", "inline", "--extended", "--payload").splitlines()
    for line in ('payload: {"n": 1}', "state: failed", "handler: trial.fail", "error_message: this job fails"):
        assert f"    {line}" in lines
    assert not any(line.startswith("    result") for line in lines), "what there is not is left out"
    assert as_text("one\ntwo") == '"one\\ntwo"'
    assert as_text("one") == "one"
    (skipped,) = told("jobs_cronjob_history", "never", "--extended", "--payload")["ticks"]
    assert (skipped["payload"], skipped["job"]) == (None, None)
    CompletedJob.objects.using(jobs_on.database).all().delete()
    assert told("jobs_cronjob_history", "queued", "--extended")["ticks"][0]["job"] is None
    ScheduleTick.objects.using(jobs_on.database).update(backend="gone")
    assert told("jobs_cronjob_history", "queued", "--payload")["ticks"][0]["payload"] is None


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["jobs_cronjob_history", "often", "--limit", "0"], "'0' is not a whole number from 1 to 2147483647"),
        (["jobs_cronjob_history", "often", "--limit", "9" * 30], "from 1 to 2147483647"),
        (["jobs_cronjob_history", "often", "--limit", "9" * 5000], "from 1 to 2147483647"),
        (["jobs_cronjob_history", "often", "--status", ""], "'' names nothing"),
        (["jobs_cronjob_test", "* * * * *", "--count", "10001"], "from 1 to 10000"),
        (["jobs_cronjob_run", "--only", ""], "'' names nothing"),
        (["jobs_cronjob_run", "--only", " , "], "' , ' names nothing"),
        (["jobs_cronjob_enable", ""], "'' names nothing"),
    ],
)
def test_arguments_that_can_not_be_meant(jobs_on: DatabaseBackend, command: list[str], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        said(*command)


def test_as_many_ticks_as_a_limit_can_say(jobs_on: DatabaseBackend) -> None:
    assert said("jobs_cronjob_history", "often", "--limit", str(2**31 - 1)) == "No tick yet.\n"


def test_what_is_left_out_is_said_once_for_each_reason(jobs_on: DatabaseBackend, settings: Any) -> None:
    def broken(s: Scheduler) -> None:
        raise ValueError("half way")

    settings.JOBS_SCHEDULE = broken
    definition = {"handler": "trial.noop", "dayly": True, "queue": "No Queue"}
    ScheduleEntry.objects.using(jobs_on.database).create(name="made", definition=definition)
    lines = said("jobs_cronjob_list").splitlines()
    assert lines[0] == "The schedule has no entries. Give it some in JOBS_SCHEDULE."
    assert "JOBS_SCHEDULE: schedule() failed: ValueError: half way" in lines
    made = [line for line in lines if line.startswith("database: the entry 'made' is left out: ")]
    assert [line.split(": ")[2] for line in made] == [
        "'dayly' is not a key of an entry. Is 'daily' meant? There are",
        "queue",
    ]
    assert said("jobs_cronjob_enable", "--all") == "The schedule has no entries.\n"


def test_only_none_is_no_run_of_nothing(jobs_on: DatabaseBackend) -> None:
    with pytest.raises(CommandError, match="--only: give the name of an entry") as failure:
        call_command("jobs_cronjob_run", only=[])
    assert failure.value.returncode == 2


def test_entries_are_disabled_and_enabled_by_name(jobs_on: DatabaseBackend) -> None:
    assert said("jobs_cronjob_disable", "often") == "often is disabled now.\n"
    assert said("jobs_cronjob_disable", "often") == "often was disabled already.\n"
    said("jobs_cronjob_run")
    advance_database(jobs_on, 60)
    assert [tick["name"] for tick in told("jobs_cronjob_run")["ticks"]] == ["here"]
    assert told("jobs_cronjob_enable", "--all")["changed"] == ["often"]
    advance_database(jobs_on, 60)
    assert {tick["name"] for tick in told("jobs_cronjob_run")["ticks"]} == {"here", "often"}
    for wrong in ([], ["often", "--all"]):
        with pytest.raises(CommandError) as failure:
            said("jobs_cronjob_enable", *wrong)
        assert failure.value.returncode == 2
    with pytest.raises(CommandError, match="no entry 'nothing'") as failure:
        said("jobs_cronjob_disable", "nothing")
    assert failure.value.returncode == 1


# -- keeping ---------------------------------------------------------------------------------------------------


def make_ticks(store: DatabaseBackend) -> None:
    """Of one entry, a tick a day for five days, the newest today; of another, one that is open."""
    now = datetime.now(UTC).replace(microsecond=0)
    for n in range(5):
        ScheduleTick.objects.using(store.database).create(
            id=f"00000000-0000-0000-0000-00000000000{n}",
            name="old",
            instant=now - timedelta(days=n + 10),
            state="succeeded",
            decided_at=now,
        )
    for n in range(2):
        ScheduleTick.objects.using(store.database).create(
            id=f"00000000-0000-0000-0000-00000000001{n}",
            name="open",
            instant=now - timedelta(days=n + 30),
            state="dispatched",
            decided_at=now,
            look_at=now,
        )


def left(store: DatabaseBackend, name: str) -> int:
    return ScheduleTick.objects.using(store.database).filter(name=name).count()


def test_old_ticks_go_but_for_the_last_of_an_entry_and_open_ones(jobs_on: DatabaseBackend, settings: Any) -> None:
    make_ticks(jobs_on)
    expire(jobs_on)
    assert (left(jobs_on, "old"), left(jobs_on, "open")) == (4, 2)  # 14 days is the default
    settings.JOBS_KEEP_TICKS = None
    expire(jobs_on)
    assert left(jobs_on, "old") == 4
    settings.JOBS_KEEP_TICKS = 0
    expire(jobs_on)
    assert (left(jobs_on, "old"), left(jobs_on, "open")) == (1, 2)


def test_the_cleanup_takes_ticks_where_it_is_asked_to(jobs_on: DatabaseBackend) -> None:
    make_ticks(jobs_on)
    assert "tick" not in said("jobs_cleanup", "--days", "11.5")
    assert left(jobs_on, "old") == 5
    assert "Would delete 3 ticks." in said("jobs_cleanup", "--days", "11.5", "--ticks", "--dry-run")
    assert told("jobs_cleanup", "--days", "11.5", "--ticks")["deleted"] == {"completed": 0, "ticks": 3}
    assert left(jobs_on, "old") == 2
