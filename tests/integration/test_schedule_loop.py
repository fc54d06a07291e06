"""The loop's own turns: when it looks, and that nothing falls between two looks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections

from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import ScheduleTick
from django_jobs.scheduler.builder import Scheduler
from django_jobs.scheduler.children import Children
from django_jobs.scheduler.desk import make_desk
from django_jobs.scheduler.follow_up import FollowUp
from django_jobs.scheduler.loop import LONGEST_OUTAGE_WAIT, Loop
from django_jobs.scheduler.runner import Runner


class Clock:
    """The store's, which goes on by a little each time that somebody reads it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 6, 3, 12, 0, 0, 500_000, tzinfo=UTC)
        self.step = timedelta(0)

    def __call__(self) -> datetime:
        self.now += self.step
        return self.now


class Never:
    """No stop signal."""

    count = 0

    def fileno(self) -> int:
        return -1

    def clear(self) -> None:
        return


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def loop(jobs_on: DatabaseBackend, settings: Any, clock: Clock) -> Callable[..., Loop]:
    def make(declare: Callable[[Scheduler], object]) -> Loop:
        settings.JOBS_SCHEDULE = declare
        desk = make_desk(inline=False)
        desk.ledger.now = clock  # type: ignore[method-assign]
        children = Children(lambda act: pytest.fail("nothing is to be forked"), lambda names, now: None)
        return Loop(Runner(desk), children, Never(), lambda reports: None)

    return make


def every_second(s: Scheduler) -> None:
    s.define("trial.noop").named("tick").cron("* * * * * *", seconds=True).queue("default")


def test_a_tick_that_comes_while_the_loop_follows_up_is_not_slept_over(
    loop: Callable[..., Loop], clock: Clock, jobs_on: DatabaseBackend
) -> None:
    """The clock is read twice in a turn, and the entry is due between the two."""
    found = loop(every_second)
    found._turn()
    clock.now, clock.step = clock.now.replace(microsecond=998_000), timedelta(microseconds=1_500)
    found._turn()  # first just too early for a look, then a moment too late
    assert found._look_at is not None
    assert found._look_at <= clock.now
    found._turn()
    assert ScheduleTick.objects.using(jobs_on.database).count() == 1


def test_it_sleeps_until_the_next_entry_is_due_and_to_the_minute_at_most(
    loop: Callable[..., Loop], clock: Clock
) -> None:
    soon = loop(lambda s: s.define("trial.noop").named("a").cron("* * * * * 20", seconds=True).queue("default"))
    soon._turn()
    assert 19 < soon._idle_seconds() <= 19.5
    late = loop(lambda s: s.define("trial.noop").named("a").daily_at("18:00").queue("default"))
    late._turn()
    assert 59 < late._idle_seconds() <= 59.5
    assert late._register_at == datetime(2026, 6, 3, 12, 1, tzinfo=UTC)


def test_while_a_tick_is_open_it_looks_each_second(loop: Callable[..., Loop], clock: Clock) -> None:
    found = loop(lambda s: s.define("trial.noop").named("a").every_minute().queue("default"))
    found._turn()
    clock.now += timedelta(minutes=1)
    found._turn()
    assert found._idle_seconds() <= 1


def test_an_entry_made_meanwhile_is_found_at_the_full_minute(
    loop: Callable[..., Loop], clock: Clock, jobs_on: DatabaseBackend
) -> None:
    found = loop(lambda s: None)
    found._turn()
    found.runner.ledger.entries.create(name="new", definition={"handler": "trial.noop", "cron": "* * * * *"})
    clock.now += timedelta(minutes=1)
    found._turn()
    assert list(found.runner.desk.schedule.entries) == ["new"]


def test_a_turn_that_fails_is_tried_again_after_a_while(
    loop: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = loop(every_second)
    found._turn()
    monkeypatch.setattr(FollowUp, "finish", lambda self, turn: 1 / 0)
    for wait in (0.2, 0.4, 0.8):
        found._turn()
        assert found._idle_seconds() == pytest.approx(wait)
    assert "a turn of the schedule failed; trying again" in caplog.text


def test_a_clock_that_was_set_back_has_the_whole_schedule_read(loop: Callable[..., Loop], clock: Clock) -> None:
    found = loop(every_second)
    found._turn()
    clock.now += timedelta(days=365)
    found._turn()
    clock.now -= timedelta(days=365)
    found._turn()
    assert found._register_at == datetime(2026, 6, 3, 12, 1, tzinfo=UTC)
    assert found._look_at is not None
    assert found._look_at <= clock.now + timedelta(seconds=1)


def test_a_connection_that_a_condition_finds_broken_is_made_anew(
    loop: Callable[..., Loop], clock: Clock, jobs_on: DatabaseBackend
) -> None:
    """A site's own connection, of another alias than the schedule's; the server has dropped it."""
    alias = next(alias for alias in connections if alias != jobs_on.database)

    def asks() -> bool:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT 1")
        return True

    found = loop(lambda s: s.define("trial.noop").named("a").every_minute().queue("default").when(asks))
    found._turn()
    for _ in range(3):
        clock.now += timedelta(minutes=1)
        found._turn()
        connection = connections[alias]
        if connection.connection is not None and clock.now.minute == 1:
            connection.connection.close()  # Django takes it to be open still
    states = list(ScheduleTick.objects.using(jobs_on.database).order_by("instant").values_list("state", flat=True))
    assert states == ["dispatched", "failed", "dispatched"]


def test_a_store_that_is_away_for_days_is_waited_for(loop: Callable[..., Loop]) -> None:
    waiting = loop(every_second)
    for _ in range(2000):
        waiting._failed(OSError("away"))
    assert waiting._idle_seconds() == LONGEST_OUTAGE_WAIT
