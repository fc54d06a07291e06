"""One turn of the schedule, on every database: what is dispatched, run, skipped, made up for; and once."""

from __future__ import annotations

import dataclasses
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connections

from django_jobs import Jobs, signals
from django_jobs.backends import Supports, get_backend
from django_jobs.backends.database import DatabaseBackend
from django_jobs.backends.memory import MemoryBackend
from django_jobs.conf import DEFAULT_BACKENDS
from django_jobs.exceptions import StoreUnavailable
from django_jobs.models import CompletedJob, FailedJob, Job, ScheduleEntry, ScheduleTick
from django_jobs.scheduler.builder import EntryBuilder, Scheduler
from django_jobs.scheduler.desk import Desk, make_desk
from django_jobs.scheduler.ledger import Ledger
from django_jobs.scheduler.runner import Runner
from django_jobs.scheduler.runs import Runs
from django_jobs.scheduler.turns import Turn
from tests.integration.conftest import work_off
from tests.support.jobs import run


class Site:
    """A site with a schedule, whose time is the test's."""

    def __init__(self, store: DatabaseBackend, settings: Any) -> None:
        self.store = store
        self.settings = settings
        self.now = datetime(2026, 6, 3, 1, 59, 30, tzinfo=UTC)

    def has(self, declare: Callable[[Scheduler], object]) -> Runner:
        """This is the schedule now. Answers a scheduler that has seen it."""
        self.settings.JOBS_SCHEDULE = declare
        runner = self.scheduler()
        runner.register()
        assert runner.desk.schedule.problems == ()
        return runner

    def scheduler(self, **options: Any) -> Runner:
        """A scheduler whose ledger has the test's clock."""
        desk: Desk = make_desk(**options)
        desk.ledger.now = lambda: self.now  # type: ignore[method-assign]
        return Runner(desk)

    def passes(self, **span: float) -> None:
        self.now += timedelta(**span)

    def ticks(self, name: str | None = None) -> list[tuple[str, str, str]]:
        """Minute and second, state and reason of each tick."""
        rows = ScheduleTick.objects.using(self.store.database).order_by("instant", "name")
        rows = rows.filter(name=name) if name else rows
        return [(f"{tick.instant:%H:%M:%S}", tick.state, tick.reason) for tick in rows]

    def jobs(self) -> int:
        return Job.objects.using(self.store.database).count()


@pytest.fixture
def site(jobs_on: DatabaseBackend, settings: Any) -> Site:
    return Site(jobs_on, settings)


def states(turn: Turn) -> list[tuple[str, str]]:
    return [(report.name, report.state) for report in turn.reports]


class Died(BaseException):
    """The process ends here: nothing that it would have done follows."""


@contextmanager
def died_in(owner: type, method: str) -> Iterator[None]:
    """A process dies as it calls this."""

    def die(*_: Any, **__: Any) -> None:
        raise Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, method, die)
        yield


def nightly(s: Scheduler) -> None:
    s.define("trial.noop").named("nightly").daily_at("02:00").queue("default")


def every_second(s: Scheduler) -> EntryBuilder:
    return s.define("trial.noop").named("tick").cron("* * * * * *", seconds=True).queue("default")


def every_minute(s: Scheduler) -> None:
    s.define("trial.noop").named("often").every_minute().queue("default")


# -- once ------------------------------------------------------------------------------------------------------


def test_a_tick_is_dispatched_when_it_is_due_and_once(site: Site) -> None:
    first, second = site.has(nightly), site.scheduler()
    second.register()
    assert states(first.turn()) == []
    site.passes(seconds=31)
    assert states(first.turn()) == [("nightly", "dispatched")]
    assert states(second.turn()) == states(first.turn()) == []
    assert site.ticks() == [("02:00:00", "dispatched", "")]
    job = Job.objects.using(site.store.database).get()
    assert (job.name, job.source) == ("nightly", "cron")
    assert job.definition is not None
    assert job.definition.meta == {"schedule": "nightly", "due_at": "2026-06-03T02:00:00+00:00"}


def test_a_job_that_is_over_closes_its_tick(site: Site) -> None:
    runner = site.has(nightly)
    site.passes(minutes=1)
    runner.turn()
    work_off(site.store)
    runner.turn()
    assert site.ticks() == [("02:00:00", "succeeded", "")]


def test_a_tick_whose_job_failed_has_failed(site: Site) -> None:
    runner = site.has(lambda s: s.define("trial.fail").named("bad").daily_at("02:00").queue("default"))
    site.passes(minutes=1)
    runner.turn()
    work_off(site.store)
    runner.turn()
    assert site.ticks() == [("02:00:00", "failed", "dead")]
    assert "this job fails" in ScheduleTick.objects.using(site.store.database).get().notes


# -- what was missed -------------------------------------------------------------------------------------------


def outage(site: Site, policy: str, limit: int = 10) -> tuple[Turn, list[tuple[str, str, str]]]:
    """Ten minutes without a scheduler, for an entry of each minute."""
    runner = site.has(lambda s: every_minute_with(s, policy, limit))
    site.passes(minutes=10)
    return runner.turn(), site.ticks()


def every_minute_with(s: Scheduler, policy: str, limit: int) -> None:
    s.define("trial.noop").named("often").every_minute().queue("default").catch_up(policy, limit)


def test_after_an_outage_skip_runs_what_is_on_time_and_says_what_was_missed(site: Site) -> None:
    turn, ticks = outage(site, "skip")
    # It is 02:09:30: what is up to 90 seconds late is on time.
    assert ticks == [("02:07:00", "skipped", "missed"), ("02:08:00", "dispatched", ""), ("02:09:00", "dispatched", "")]
    assert turn.reports[0].passed_over == 7  # from 02:00 on
    assert site.jobs() == 2


def test_after_an_outage_one_makes_up_for_the_last(site: Site) -> None:
    turn, ticks = outage(site, "one")
    assert ticks == [("02:08:00", "skipped", "missed"), ("02:09:00", "dispatched", "")]
    assert turn.reports[0].passed_over == 8
    assert site.jobs() == 1


def test_after_an_outage_all_makes_up_for_all(site: Site) -> None:
    _turn, ticks = outage(site, "all")
    assert ticks == [(f"02:0{n}:00", "dispatched", "") for n in range(10)]
    assert site.jobs() == 10


def test_all_is_bounded(site: Site) -> None:
    turn, ticks = outage(site, "all", limit=3)
    on_time = [("02:08:00", "dispatched", ""), ("02:09:00", "dispatched", "")]
    made_up_for = [(f"02:0{n}:00", "dispatched", "") for n in (5, 6, 7)]
    assert ticks == [("02:04:00", "skipped", "missed"), *made_up_for, *on_time]
    assert turn.reports[0].passed_over == 4


def test_an_outage_of_a_month_of_seconds_is_over_soon(site: Site) -> None:
    runner = site.has(
        lambda s: (
            s.define("trial.noop").named("tick").cron("* * * * * *", seconds=True).queue("default").catch_up("one")
        )
    )
    site.passes(days=30)
    turn = runner.turn()
    assert states(turn) == [("tick", "skipped"), ("tick", "dispatched")]
    assert turn.reports[0].passed_over > 5000


def test_a_new_entry_starts_from_now(site: Site) -> None:
    runner = site.has(every_minute)
    row = ScheduleEntry.objects.using(site.store.database).get()
    assert row.seen_at == site.now
    assert runner.register() == []


def test_an_entry_with_another_timing_starts_from_now(site: Site) -> None:
    site.has(nightly)
    site.passes(hours=10)
    runner = site.has(lambda s: s.define("trial.noop").named("nightly").every_minute().queue("default"))
    assert states(runner.turn()) == [("nightly", "dispatched")]  # of the last 90 seconds
    site.passes(minutes=1)
    assert states(runner.turn()) == [("nightly", "dispatched")]


def test_two_versions_of_the_code_that_take_turns_miss_nothing(site: Site) -> None:
    """While a new version is rolled out, schedulers of both find the timing changed again and again."""
    old = site.has(lambda s: s.define("trial.noop").named("often").cron("* * * * *").queue("default"))
    new = site.has(lambda s: s.define("trial.noop").named("often").cron("*/1 * * * *").queue("default"))
    for n in range(6):
        site.passes(minutes=1)
        (old, new)[n % 2].register()
        (old, new)[n % 2].turn()
    assert site.ticks() == [(f"02:0{n}:00", "dispatched", "") for n in range(6)]


# -- inline ----------------------------------------------------------------------------------------------------


def test_an_entry_without_a_queue_runs_here_and_is_recorded(site: Site, tmp_path: Path) -> None:
    proof = tmp_path / "proof.txt"
    runner = site.has(lambda s: s.define("trial.write", {"path": str(proof)}).named("here").daily_at("02:00"))
    site.passes(minutes=1)
    assert states(runner.turn()) == [("here", "succeeded")]
    assert site.ticks() == [("02:00:00", "succeeded", "")]
    tick = ScheduleTick.objects.using(site.store.database).get()
    done = CompletedJob.objects.using(site.store.database).get()
    assert (done.pk, done.source, done.name) == (tick.job_id, "cron", "here")
    assert len(proof.read_text().splitlines()) == 1
    assert tick.look_at is None


def test_an_inline_entry_that_fails_is_a_failed_job_and_stops_nothing(site: Site) -> None:
    def declare(s: Scheduler) -> None:
        s.define("trial.fail").named("bad").daily_at("02:00")
        s.define("trial.noop").named("good").daily_at("02:00")

    runner = site.has(declare)
    site.passes(minutes=1)
    assert states(runner.turn()) == [("bad", "failed"), ("good", "succeeded")]
    assert FailedJob.objects.using(site.store.database).get().error_message == "this job fails"
    assert site.ticks("bad") == [("02:00:00", "failed", "dead")]


def test_an_inline_run_that_is_lost_has_failed_and_is_not_run_again(site: Site) -> None:
    """At most once after its tick row: the process dies in the middle of the run."""

    runner = site.has(lambda s: s.define("trial.noop").named("here").daily_at("02:00"))
    site.passes(minutes=1)
    with pytest.raises(Died), died_in(Runs, "run"):
        runner.turn()
    assert site.ticks() == [("02:00:00", "running", "")]
    other = site.scheduler()
    other.register()
    other.turn()
    assert site.ticks() == [("02:00:00", "running", "")]
    site.passes(seconds=31)
    other.turn()
    assert site.ticks() == [("02:00:00", "failed", "lost")]
    assert not CompletedJob.objects.using(site.store.database).exists()


def test_an_outcome_that_comes_after_the_run_was_taken_for_lost_is_dropped(site: Site) -> None:
    other = site.scheduler()

    def slow(claim: Any, renew: Callable[[], bool]) -> Any:
        assert renew()
        site.passes(seconds=31)
        other.register()
        other.turn()
        assert not renew()
        return run(claim), []

    site.has(lambda s: s.define("trial.noop").named("here").daily_at("02:00"))
    runner = site.scheduler(execute=slow)
    runner.register()
    site.passes(minutes=1)
    heard: list[Any] = []

    def hear(**facts: Any) -> None:
        heard.append(facts)

    signals.job_succeeded.connect(hear)
    try:
        assert [report.state for report in runner.turn().reports] == ["lost"]
    finally:
        signals.job_succeeded.disconnect(hear)
    assert heard == []
    assert site.ticks() == [("02:00:00", "failed", "lost")]
    assert not CompletedJob.objects.using(site.store.database).exists()


def test_the_lease_of_an_inline_run_counts_from_its_start(site: Site) -> None:
    """Not from the start of the turn: the entry before it may have run for long."""
    other = site.scheduler(only=["neither"])

    def slow(claim: Any, renew: Callable[[], bool]) -> Any:
        if CompletedJob.objects.using(site.store.database).exists():
            other.turn()  # somebody looks for what was lost
        else:
            site.passes(seconds=50)
        return run(claim), []

    def declare(s: Scheduler) -> None:
        s.define("trial.noop").named("first").daily_at("02:00")
        s.define("trial.noop").named("second").daily_at("02:00")

    site.has(declare)
    runner = site.scheduler(execute=slow)
    runner.register()
    site.passes(minutes=1)
    assert states(runner.turn()) == [("first", "succeeded"), ("second", "succeeded")]


# -- order and requirements ------------------------------------------------------------------------------------


def test_an_entry_comes_after_those_that_it_depends_on(site: Site) -> None:
    def declare(s: Scheduler) -> None:
        s.define("trial.noop").named("third").daily_at("02:00").queue("default").depends_on("second")
        s.define("trial.noop").named("second").daily_at("02:00").depends_on("first")
        s.define("trial.noop").named("first").daily_at("02:00").queue("default")

    runner = site.has(declare)
    site.passes(minutes=1)
    assert states(runner.turn()) == [("first", "dispatched"), ("second", "succeeded"), ("third", "dispatched")]


def chain(s: Scheduler, first: str = "trial.noop", **options: Any) -> None:
    s.define(first).named("first").daily_at("02:00").queue("default")
    s.define("trial.noop").named("second").daily_at("02:00").queue("default").requires("first")


def test_a_tick_waits_for_the_success_of_what_it_requires(site: Site) -> None:
    runner = site.has(chain)
    site.passes(minutes=1)
    assert states(runner.turn()) == [("first", "dispatched"), ("second", "waiting")]
    site.passes(seconds=5)
    assert states(runner.follow_up()) == []
    work_off(site.store)
    site.passes(seconds=5)
    assert states(runner.follow_up()) == [("second", "dispatched")]
    work_off(site.store)
    runner.follow_up()
    assert [tick[1] for tick in site.ticks()] == ["succeeded", "succeeded"]


def test_a_tick_is_skipped_where_what_it_requires_has_failed(site: Site) -> None:
    runner = site.has(lambda s: chain(s, "trial.fail"))
    site.passes(minutes=1)
    runner.turn()
    work_off(site.store)
    site.passes(seconds=5)
    assert states(runner.turn()) == [("second", "skipped")]
    assert site.ticks("second") == [("02:00:00", "skipped", "requires first, whose tick is failed")]


def test_a_job_that_was_deleted_is_no_success(site: Site) -> None:
    runner = site.has(chain)
    site.passes(minutes=1)
    runner.turn()
    assert Jobs.delete(str(Job.objects.using(site.store.database).get().pk))
    site.passes(seconds=5)
    assert states(runner.turn()) == [("second", "skipped")]
    assert site.ticks("first") == [("02:00:00", "failed", "deleted")]


def test_a_job_whose_record_is_not_kept_has_succeeded(site: Site) -> None:
    runner = site.has(
        lambda s: s.define("trial.noop").named("a").daily_at("02:00").queue("default").with_options(ttl=0)
    )
    site.passes(minutes=1)
    runner.turn()
    work_off(site.store)
    assert not CompletedJob.objects.using(site.store.database).exists()
    runner.turn()
    assert site.ticks() == [("02:00:00", "succeeded", "the job left no record")]


def done_yesterday(site: Site) -> None:
    runner = site.has(chain)
    site.passes(minutes=1)
    for _ in range(3):
        runner.turn()
        work_off(site.store)
        site.passes(seconds=5)
    assert [tick[1] for tick in site.ticks()] == ["succeeded", "succeeded"]
    site.passes(days=1)


def test_an_entry_that_is_disabled_in_the_code_does_not_stand_for_its_last_success(site: Site) -> None:
    def declare(s: Scheduler) -> None:
        s.define("trial.noop").named("first").daily_at("02:00").queue("default").enabled(False)
        s.define("trial.noop").named("second").daily_at("02:00").queue("default").requires("first")

    done_yesterday(site)
    site.has(declare).turn()
    assert site.ticks("second")[-1] == ("02:00:00", "skipped", "requires first, which is disabled")


def test_an_entry_that_nobody_looks_at_is_not_waited_for_for_ever(site: Site) -> None:
    def declare(s: Scheduler) -> None:
        s.define("trial.noop").named("first").daily_at("02:00").queue("default").environments("elsewhere")
        s.define("trial.noop").named("second").daily_at("02:00").queue("default").requires("first")

    done_yesterday(site)
    runner = site.has(declare)
    assert states(runner.turn()) == [("second", "waiting")]  # somebody elsewhere may still decide
    site.passes(days=3)
    runner.follow_up()
    assert site.ticks("second")[-1] == ("02:00:00", "skipped", "requires first, which nobody runs here")


def test_yesterdays_success_does_not_count_while_todays_tick_is_undecided(site: Site) -> None:
    runner = site.has(chain)
    site.passes(minutes=1)
    runner.turn()
    work_off(site.store)
    site.passes(seconds=5)
    runner.turn()
    work_off(site.store)
    site.passes(days=1)
    other = site.scheduler(only=["second"])  # as if somebody else had the first one in hand
    other.register()
    assert states(other.turn()) == [("second", "waiting")]
    assert site.ticks("second")[-1] == ("02:00:00", "waiting", "requires")
    runner.turn()
    work_off(site.store)
    site.passes(seconds=5)
    assert states(runner.turn()) == [("second", "dispatched")]


def test_a_tick_that_waits_is_skipped_when_its_entry_is_gone(site: Site) -> None:
    runner = site.has(chain)
    site.passes(minutes=1)
    runner.turn()
    runner = site.has(nightly)
    site.passes(minutes=3)
    assert states(runner.turn()) == []  # perhaps a newer version of the code knows it
    site.passes(minutes=3)
    assert states(runner.turn()) == [("second", "skipped")]


# -- overlaps --------------------------------------------------------------------------------------------------


def test_a_queued_job_counts_as_overlapping_until_it_has_finished(site: Site) -> None:
    runner = site.has(
        lambda s: s.define("trial.noop").named("one").every_minute().queue("default").without_overlapping()
    )
    site.passes(minutes=1)
    runner.turn()
    site.passes(minutes=1)
    assert [(r.state, r.reason) for r in runner.turn().reports] == [("skipped", "overlap")]
    work_off(site.store)
    site.passes(minutes=1)
    assert states(runner.turn()) == [("one", "dispatched")]
    assert [tick[1] for tick in site.ticks()] == ["succeeded", "skipped", "dispatched"]


def test_entries_with_one_key_keep_each_other_out(site: Site) -> None:
    def declare(s: Scheduler) -> None:
        for name in ("a", "b"):
            s.define("trial.noop").named(name).every_minute().queue("default").single_instance("the press")

    runner = site.has(declare)
    site.passes(minutes=1)
    assert states(runner.turn()) == [("a", "dispatched"), ("b", "skipped")]


def test_an_inline_run_keeps_its_guard_by_renewing_it(site: Site) -> None:
    other = site.scheduler()
    seen: list[tuple[str, str]] = []

    def long(claim: Any, renew: Callable[[], bool]) -> Any:
        for _ in range(3):
            site.passes(seconds=50)
            assert renew()
            other.register()
            seen.extend((r.state, r.reason) for r in other.turn().reports)
        return run(claim), []

    site.has(lambda s: s.define("trial.noop").named("one").every_minute().without_overlapping(60))
    runner = site.scheduler(execute=long)
    runner.register()
    site.passes(minutes=1)
    assert states(runner.turn())[0] == ("one", "succeeded")
    assert seen == [("skipped", "overlap")] * 3
    site.passes(minutes=1)
    assert states(other.turn()) == [("one", "succeeded")]


# -- whether ---------------------------------------------------------------------------------------------------


def test_conditions_decide_and_get_the_occasion_if_they_take_it(site: Site) -> None:
    seen: list[Any] = []

    def declare(s: Scheduler) -> None:
        s.define("trial.noop").named("yes").daily_at("02:00").queue("default").when(lambda o: not seen.append(o))
        s.define("trial.noop").named("no").daily_at("02:00").queue("default").when(lambda: False)
        s.define("trial.noop").named("not now").daily_at("02:00").queue("default").skip(lambda: True)
        s.define("trial.noop").named("broken").daily_at("02:00").queue("default").when(lambda: 1 / 0)
        s.define("trial.noop").named("last").daily_at("02:00").queue("default")

    runner = site.has(declare)
    site.passes(minutes=1)
    turn = runner.turn()
    assert [(r.name, r.state, r.reason) for r in turn.reports] == [
        ("yes", "dispatched", ""),
        ("no", "skipped", "when"),
        ("not now", "skipped", "skip"),
        ("broken", "failed", "not started"),
        ("last", "dispatched", ""),
    ]
    assert [r.name for r in turn.reports if r.failed_to_start] == ["broken"]
    assert "ZeroDivisionError" in ScheduleTick.objects.using(site.store.database).get(name="broken").notes
    assert (seen[0].name, seen[0].local.hour) == ("yes", 2)


def test_code_of_the_site_that_exits_ends_no_scheduler(site: Site, settings: Any) -> None:
    def declare(s: Scheduler) -> None:
        s.define("trial.noop").named("a").daily_at("02:00").queue("default").when(lambda: sys.exit("no"))
        s.define("trial.noop").named("b").daily_at("02:00").queue("default").before(lambda: sys.exit("no"))
        s.define("trial.noop").named("c").daily_at("02:00").on_success(lambda: sys.exit("no"))
        s.define("trial.noop").named("d").daily_at("02:00").queue("default")

    runner = site.has(declare)
    settings.JOBS_MAINTENANCE = lambda: sys.exit("no")
    site.passes(minutes=1)
    assert sorted(states(runner.turn())) == [
        *(("a", "failed"), ("b", "dispatched"), ("c", "succeeded"), ("d", "dispatched")),
    ]
    notes = {tick.name: tick.notes for tick in ScheduleTick.objects.using(site.store.database).all()}
    assert all("SystemExit: no" in notes[name] for name in "abc")


@dataclasses.dataclass
class Is:
    """A condition that has no hash."""

    answer: bool

    def __call__(self) -> bool:
        return self.answer


async def no() -> bool:
    return False


def test_conditions_may_be_unhashable_or_asynchronous(site: Site) -> None:
    def declare(s: Scheduler) -> None:
        s.define("trial.noop").named("a").daily_at("02:00").when(Is(True))
        s.define("trial.noop").named("b").daily_at("02:00").when(no)

    runner = site.has(declare)
    site.passes(minutes=1)
    assert states(runner.turn()) == [("a", "succeeded"), ("b", "skipped")]


def test_in_maintenance_only_those_run_that_may(site: Site, settings: Any) -> None:
    def declare(s: Scheduler) -> None:
        s.define("trial.noop").named("usual").every_minute().queue("default")
        s.define("trial.noop").named("repair").every_minute().queue("default").run_in_maintenance()

    runner = site.has(declare)
    settings.JOBS_MAINTENANCE = lambda: True
    site.passes(minutes=1)
    assert states(runner.turn()) == [("usual", "skipped"), ("repair", "dispatched")]
    assert site.ticks("usual") == [("02:00:00", "skipped", "maintenance")]
    settings.JOBS_MAINTENANCE = "django_jobs.scheduler.maintenance.cache_flag"
    cache.set("django_jobs.maintenance", True)
    site.passes(minutes=1)
    assert states(runner.turn())[0] == ("usual", "skipped")
    cache.delete("django_jobs.maintenance")
    site.passes(minutes=1)
    assert states(runner.turn())[0] == ("usual", "dispatched")
    settings.JOBS_MAINTENANCE = lambda: 1 / 0
    site.passes(minutes=1)
    assert states(runner.turn())[0] == ("usual", "dispatched")


def test_entries_of_other_environments_are_left_alone(site: Site, settings: Any) -> None:
    settings.JOBS_ENVIRONMENT = "staging"
    runner = site.has(lambda s: every_minute_with(s, "skip", 1))
    site.has(lambda s: s.define("trial.noop").named("live").every_minute().queue("default").environments("production"))
    assert not ScheduleEntry.objects.using(site.store.database).filter(name="live").exists()
    site.passes(minutes=1)
    assert states(runner.turn()) == [("often", "dispatched")]


def test_the_ticks_of_a_disabled_entry_pass_by(site: Site) -> None:
    runner = site.has(lambda s: every_minute_with(s, "all", 10))
    assert runner.ledger.set_enabled(["often"], enabled=False, now=site.now) == ["often"]
    for _ in range(3):
        site.passes(minutes=1)
        assert states(runner.turn()) == []
    assert runner.ledger.set_enabled(["often"], enabled=True, now=site.now) == ["often"]
    assert runner.ledger.set_enabled(["often"], enabled=True, now=site.now) == []
    site.passes(minutes=1)
    assert states(runner.turn()) == [("often", "dispatched")]
    assert site.ticks() == [("02:03:00", "dispatched", "")]


# -- hooks and signals -----------------------------------------------------------------------------------------


def test_hooks_and_signals_follow_a_tick_and_what_they_raise_is_kept(site: Site) -> None:
    told: list[str] = []

    def note(word: str) -> Callable[[Any], None]:
        def hook(occasion: Any) -> None:
            told.append(f"{word} {occasion.name} {occasion.error[:12]}".strip())
            if word in ("before", "after"):
                raise ValueError(f"no {word}")

        return hook

    def hooked(entry: EntryBuilder) -> None:
        entry.before(note("before")).after(note("after"))
        entry.on_success(note("on_success")).on_failure(note("on_failure"))

    def declare(s: Scheduler) -> None:
        hooked(s.define("trial.noop").named("here").daily_at("02:00"))
        hooked(s.define("trial.fail").named("queued").daily_at("02:00").queue("default"))
        hooked(s.define("trial.noop").named("no").daily_at("02:00").when(lambda: False))

    def heard(signal: Any, sender: Any, **facts: Any) -> None:
        word = next(w for w in ("started", "skipped", "succeeded", "failed") if signal is getattr(signals, f"cron_{w}"))
        told.append(f"{word}: {facts['name']} {facts.get('reason', '')}".strip())

    runner = site.has(declare)
    for word in ("started", "skipped", "succeeded", "failed"):
        getattr(signals, f"cron_{word}").connect(heard)
    try:
        site.passes(minutes=1)
        runner.turn()
        work_off(site.store)
        runner.turn()
    finally:
        for word in ("started", "skipped", "succeeded", "failed"):
            getattr(signals, f"cron_{word}").disconnect(heard)
    by_entry = {name: [line for line in told if name in line] for name in ("here", "queued", "no ", ": no")}
    assert by_entry["here"] == [
        *("before here", "started: here", "on_success here", "after here", "succeeded: here"),
    ]
    assert by_entry["queued"] == [
        *("before queued", "started: queued", "on_failure queued ValueError:"),
        *("after queued ValueError:", "failed: queued"),
    ]
    assert by_entry[": no"] == ["skipped: no when"]
    notes = {t.name: t.notes for t in ScheduleTick.objects.using(site.store.database).all()}
    for name in ("here", "queued"):
        assert "ValueError: no before" in notes[name]
        assert "ValueError: no after" in notes[name]


# -- crashes between two steps ---------------------------------------------------------------------------------


def test_a_tick_whose_dispatch_was_interrupted_is_taken_up_again(site: Site) -> None:
    """The row is there, and the job is not: here because of the hook before it, elsewhere for want of transactions."""
    runner = site.has(
        lambda s: s.define("trial.noop").named("nightly").daily_at("02:00").queue("default").before(print)
    )
    site.passes(minutes=1)
    with pytest.raises(Died), died_in(Runs, "launch"):
        runner.turn()
    assert site.ticks() == [("02:00:00", "waiting", "")]
    other = site.scheduler()
    other.register()
    assert states(other.turn()) == []
    site.passes(seconds=31)
    assert states(other.turn()) == [("nightly", "dispatched")]
    assert site.jobs() == 1


def test_a_backend_that_cannot_join_gets_the_job_of_a_tick_once(site: Site, settings: Any) -> None:
    settings.JOBS_BACKENDS = {
        **DEFAULT_BACKENDS,
        "elsewhere": {"BACKEND": "tests.integration.test_schedule.Elsewhere", "OPTIONS": {}},
    }
    runner = site.has(
        lambda s: s.define("trial.noop").named("nightly").daily_at("02:00").queue("default").using("elsewhere")
    )
    elsewhere: Any = get_backend("elsewhere")
    elsewhere.clear()
    site.passes(minutes=1)
    with pytest.raises(Died), died_in(Ledger, "mark_dispatched"):  # the job is stored; that it is, nobody has noted
        runner.turn()
    assert len(elsewhere.records()) == 1
    other = site.scheduler()
    other.register()
    site.passes(seconds=31)
    assert states(other.turn()) == [("nightly", "dispatched")]
    (job,) = elsewhere.records()
    site.passes(seconds=2)
    other.turn()
    assert site.ticks() == [("02:00:00", "dispatched", "")]
    elsewhere.delete(job.id)  # it has left no record, as a completed job that nobody keeps
    site.passes(minutes=1)
    other.turn()
    assert site.ticks() == [("02:00:00", "succeeded", "the job left no record")]


class Elsewhere(MemoryBackend):
    """A backend outside of the database that pretends that others see its jobs."""

    supports = Supports(transactional=False, shared=True)


def test_a_store_that_is_away_delays_a_tick(site: Site, settings: Any) -> None:
    settings.JOBS_BACKENDS = {
        **DEFAULT_BACKENDS,
        "away": {"BACKEND": "tests.integration.test_schedule.Away", "OPTIONS": {}},
    }
    runner = site.has(lambda s: s.define("trial.noop").named("far").daily_at("02:00").queue("default").using("away"))
    Away.is_away = True
    site.passes(minutes=1)
    turn = runner.turn()
    assert [(r.state, r.failed_to_start) for r in turn.reports] == [("waiting", True)]
    Away.is_away = False
    site.passes(seconds=31)
    assert states(runner.turn()) == [("far", "dispatched")]


class Away(Elsewhere):
    """A backend that is away at times."""

    is_away = False

    def enqueue_many(self, definitions: Any) -> list[str]:
        if self.is_away:
            raise StoreUnavailable("away")
        return super().enqueue_many(definitions)


def test_ticks_behind_one_that_a_process_died_with_are_decided_anew(site: Site) -> None:
    runner = site.has(lambda s: s.define("trial.noop").named("here").every_minute().catch_up("all", 10))
    site.passes(minutes=3)
    runs = Runs.run

    def dies_at_the_second(self: Runs, tick: ScheduleTick, at: datetime, entry: Any) -> Any:
        if at.minute == 1:
            raise Died
        return runs(self, tick, at, entry)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runs, "run", dies_at_the_second)
        with pytest.raises(Died):
            runner.turn()
    assert site.ticks() == [("02:00:00", "succeeded", ""), ("02:01:00", "running", "")]
    other = site.scheduler()
    other.register()
    assert states(other.turn()) == [("here", "succeeded")]
    assert site.ticks()[2:] == [("02:02:00", "succeeded", "")]


def test_a_plan_is_void_where_its_entry_has_moved_on(site: Site) -> None:
    runner = site.has(nightly)
    site.passes(minutes=1)
    plans = runner.planner.plans(site.now)
    for enabled in (False, True):  # what was missed in between passes by
        runner.ledger.set_enabled(["nightly"], enabled=enabled, now=site.now)
    turn = Turn(site.now)
    runner._carry_out(plans, turn)
    assert (turn.reports, turn.was_in_the_way, site.jobs()) == ([], True, 0)


def test_a_waiting_tick_is_taken_by_one(site: Site) -> None:
    runner = site.has(chain)
    site.passes(minutes=1)
    runner.turn()
    work_off(site.store)
    tick = ScheduleTick.objects.using(site.store.database).get(name="second")
    one, other = uuid.uuid4(), uuid.uuid4()
    assert runner.ledger.take(tick, one, now=site.now, lease=30)
    assert not runner.ledger.take(tick, other, now=site.now, lease=30)


def test_a_tick_that_others_have_taken_gets_no_second_job(site: Site) -> None:
    runner = site.has(chain)
    site.passes(minutes=1)
    runner.turn()
    tick = ScheduleTick.objects.using(site.store.database).get(name="second")
    assert runner.ledger.take(tick, uuid.uuid4(), now=site.now, lease=30)
    entry = runner.desk.schedule.entries["second"]
    assert runner.runs.launch(tick, tick.instant, entry).state == "lost"
    assert site.jobs() == 1  # the first one's


# -- errors ----------------------------------------------------------------------------------------------------


def test_one_entry_that_can_not_be_stored_does_not_stop_the_others(site: Site, settings: Any) -> None:
    def declare(s: Scheduler) -> None:
        for name in ("a", "b", "c"):
            s.define("trial.noop").named(name).daily_at("02:00").queue("mail" if name == "b" else "default")

    runner = site.has(declare)
    settings.JOBS_QUEUES = {"default": {}, "mail": {"handlers": []}}  # since it was read
    site.passes(minutes=1)
    assert states(runner.turn()) == [("a", "dispatched"), ("b", "failed"), ("c", "dispatched")]
    assert site.ticks("b") == [("02:00:00", "failed", "not started")]
    site.passes(minutes=1)
    assert states(runner.turn()) == []


def test_a_tick_that_has_a_row_already_is_not_dispatched_again(site: Site) -> None:
    """Whatever has become of the entry's own row, as after a restore of it alone."""
    runner = site.has(lambda s: every_minute_with(s, "all", 10))
    before = site.now
    site.passes(minutes=2)
    runner.turn()
    ScheduleEntry.objects.using(site.store.database).update(seen_at=before, look_at=before)
    site.passes(minutes=1)
    assert states(runner.turn()) == [("often", "dispatched")]
    assert [tick[0] for tick in site.ticks()] == ["02:00:00", "02:01:00", "02:02:00"]
    assert site.jobs() == 3


def test_a_clock_that_was_far_ahead_and_is_set_right_stops_nothing(site: Site) -> None:
    runner = site.has(every_minute)
    site.passes(minutes=1)
    runner.turn()
    site.passes(days=365)
    runner.turn()
    site.passes(days=-365)
    for _ in range(2):
        site.passes(minutes=1)
        runner.register()
        work_off(site.store)
        runner.turn()
    ticks = ScheduleTick.objects.using(site.store.database).filter(instant__lt=site.now).order_by("instant")
    assert [f"{tick.instant:%H:%M}" for tick in ticks] == ["02:00", "02:01", "02:02"]
    assert not ScheduleTick.objects.using(site.store.database).filter(state="dispatched", instant__gt=site.now).exists()


def test_a_schedule_that_could_not_be_read_is_read_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.settings.JOBS_SCHEDULE = nightly
    runner = site.scheduler()
    with monkeypatch.context() as patch:
        patch.setattr("django_jobs.scheduler.schedule.order", lambda entries: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            runner.register()
    assert runner.register() == ["nightly"]


# -- entries of the database -----------------------------------------------------------------------------------


def test_an_entry_made_in_the_database_runs(site: Site) -> None:
    runner = site.has(nightly)
    make = ScheduleEntry.objects.using(site.store.database).create
    make(name="stored", definition={"handler": "trial.noop", "cron": "* * * * *", "queue": "default"})
    make(name="bad", definition={"handler": "os.system", "cron": "* * * * *"})
    make(name="code", definition={"handler": "trial.noop", "cron": "* * * * *", "before": "builtins.print"})
    assert "stored" in runner.register()
    assert sorted(problem.entry for problem in runner.desk.schedule.problems) == ["bad", "code"]
    site.passes(minutes=1)
    assert sorted(states(runner.turn())) == [("nightly", "dispatched"), ("stored", "dispatched")]
    assert not ScheduleTick.objects.using(site.store.database).filter(name__in=["bad", "code"]).exists()


# -- names -----------------------------------------------------------------------------------------------------


def test_names_that_differ_in_case_or_accents_are_different(site: Site) -> None:
    names = ["report", "Report", "r\u00e9port", "x" * 200]

    def declare(s: Scheduler) -> None:
        for name in names:
            s.define("trial.noop").named(name).daily_at("02:00").queue("default")

    runner = site.has(declare)
    site.passes(minutes=1)
    assert states(runner.turn()) == [(name, "dispatched") for name in names]


# -- without time zones ---------------------------------------------------------------------------------------


def test_a_site_without_use_tz(site: Site, settings: Any) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "America/New_York"
    connections.close_all()
    try:
        runner = site.has(chain)  # its times are the site's: 02:00 in New York
        site.now = datetime(2026, 6, 3, 5, 59, 30, tzinfo=UTC)
        runner.turn()
        site.passes(minutes=1)
        assert states(runner.turn()) == [("first", "dispatched"), ("second", "waiting")]
        work_off(site.store)
        site.passes(seconds=5)
        assert states(runner.turn()) == [("second", "dispatched")]
        assert states(site.scheduler().turn()) == []
        (first,) = runner.ledger.history("first", limit=5)
        assert runner.ledger.aware(first.instant) == datetime(2026, 6, 3, 6, tzinfo=UTC)
    finally:
        connections.close_all()


# -- crowds ----------------------------------------------------------------------------------------------------


def test_schedulers_that_look_at_once_dispatch_each_tick_once(site: Site) -> None:
    """Law: a tick is a unique row. Twenty entries, an instant for all, schedulers in four threads."""

    def declare(s: Scheduler) -> None:
        for n in range(20):
            s.define("trial.noop").named(f"e{n}").daily_at("02:00").queue("default")

    site.has(declare)
    site.passes(minutes=1)
    start = threading.Barrier(4)
    found: list[tuple[str, str]] = []

    def look() -> None:
        try:
            runner = site.scheduler()
            runner.desk.schedule.refresh()
            start.wait(30)
            for _ in range(3):
                found.extend(states(runner.turn()))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == sorted((f"e{n}", "dispatched") for n in range(20))
    assert site.jobs() == 20


# -- out of turn -------------------------------------------------------------------------------------------------------


def test_an_entry_runs_out_of_its_turn_and_loses_no_turn_by_it(site: Site) -> None:
    def declare(s: Scheduler) -> None:
        s.define("trial.noop").named("two").daily_at("02:00").queue("default").single_instance().when(lambda: False)
        s.define("trial.noop").named("here").daily_at("02:00")
        s.define("trial.noop").named("after").daily_at("02:00").requires("two").queue("default")
        s.define("trial.noop").named("off").daily_at("02:00").enabled(False)

    runner = site.has(declare)
    names = ["two", "here", "after", "off", "unknown"]
    assert states(runner.out_of_turn(names)) == [("two", "dispatched"), ("here", "waiting"), ("after", "waiting")]
    site.passes(seconds=1)
    assert states(runner.out_of_turn(["two"])) == [("two", "skipped")], "the first one holds the guard"
    site.passes(seconds=1)
    assert states(runner.turn()) == [("here", "succeeded")]
    work_off(site.store)
    site.passes(seconds=2)
    assert states(runner.turn()) == [("after", "dispatched")]
    assert site.ticks("two") == [("01:59:30", "succeeded", ""), ("01:59:31", "skipped", "overlap")]
    site.passes(seconds=30)
    assert ("here", "succeeded") in states(runner.turn())
    assert site.ticks("two")[-1] == ("02:00:00", "skipped", "when")


def test_who_looks_for_the_first_time_finds_nothing_to_run_out_of_turn(site: Site) -> None:
    site.settings.JOBS_SCHEDULE = lambda s: s.define("trial.noop").named("new").hourly()
    runner = site.scheduler()
    runner.desk.schedule.refresh()
    assert runner.out_of_turn(["new"]).reports == []
