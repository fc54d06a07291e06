"""Where the entries of the code come from, and that none keeps another from being there."""

from __future__ import annotations

import sys
import types

import pytest

from django_jobs import JobHandler
from django_jobs.scheduler.builder import Scheduler
from django_jobs.scheduler.mapping import entry_from_mapping
from django_jobs.scheduler.sources import load


class Report(JobHandler):
    def handle(self, ctx):
        return None


def schedule(s: Scheduler) -> None:
    s.define("report").named("first").hourly()
    s.define("report").named("bad").daily_at("25:00")
    s.define("report").named("last").daily()


def failing(s: Scheduler) -> None:
    s.define("report").named("first").hourly()
    raise RuntimeError("no luck")


LISTED = [{"name": "listed", "handler": "report", "daily": True}]
NUMBER = 3


@pytest.fixture(autouse=True)
def _site(handlers):
    handlers({"report": Report})


def names(settings, value) -> list[str]:
    settings.JOBS_SCHEDULE = value
    return [entry.name for entry in load().entries]


def problems() -> list[tuple[str, str, str]]:
    return [(problem.entry, problem.rule, problem.origin) for problem in load().problems]


def test_nothing_is_scheduled_by_default() -> None:
    assert load() == ((), ())


def test_a_dict(settings) -> None:
    entries = {"a": {"handler": "report", "hourly": True}, "b": {"handler": "report", "cron": "0 2 * * *"}}
    assert names(settings, entries) == ["a", "b"]
    assert problems() == []


def test_a_list(settings) -> None:
    assert names(settings, LISTED) == ["listed"]


@pytest.mark.parametrize("value", [schedule, f"{__name__}.schedule"])
def test_a_function_or_its_path(settings, value) -> None:
    assert names(settings, value) == ["first", "last"]
    assert problems() == [("bad", "E022", "JOBS_SCHEDULE")]


def test_a_path_to_a_list(settings) -> None:
    assert names(settings, f"{__name__}.LISTED") == ["listed"]


def test_a_function_that_fails_keeps_what_it_declared(settings) -> None:
    assert names(settings, failing) == ["first"]
    assert problems() == [("", "E020", "JOBS_SCHEDULE")]
    assert "RuntimeError: no luck" in load().problems[0].message


@pytest.mark.parametrize("value", ["no.such.path", f"{__name__}.NUMBER", f"{__name__}.missing", 5, None, {"a": 5}, [5]])
def test_what_can_not_be_read(settings, value) -> None:
    assert names(settings, value) == []
    assert len(problems()) == 1


def test_one_bad_entry_stops_no_other(settings) -> None:
    good = {"handler": "report", "daily": True}
    bad = {"b": {**good, "handler": "missing"}, "c": {"handler": "report"}, "d": 5, "e": {**good, "timezone": "x"}}
    assert names(settings, {"a": good, **bad, "z": good}) == ["a", "z"]
    assert [(name, rule) for name, rule, _ in problems()][:1] == [("b", "E023")]
    assert {name for name, _, _ in problems()} == {"b", "c", "d", "e"}


def test_a_name_twice(settings) -> None:
    assert names(settings, [*LISTED, *LISTED]) == ["listed"]
    assert problems() == [("listed", "E025", "JOBS_SCHEDULE")]


@pytest.fixture
def app(monkeypatch):
    """An app's `jobs.py` with what a test gives it."""

    def give(function):
        module = sys.modules["testproject.trials.jobs"]
        monkeypatch.setattr(module, "schedule", function, raising=False)
        load.cache_clear()

    yield give
    load.cache_clear()


def test_the_schedule_of_an_app(settings, app) -> None:
    app(schedule)
    assert names(settings, LISTED) == ["listed", "first", "last"]
    assert problems() == [("bad", "E022", "testproject.trials.jobs")]
    assert load().entries[1].origin == "testproject.trials.jobs"


def test_the_setting_may_name_the_function_of_an_app(settings, app) -> None:
    app(schedule)
    assert names(settings, schedule) == ["first", "last"]


def test_an_app_whose_function_fails_stops_no_other(settings, app) -> None:
    app(failing)
    assert names(settings, LISTED) == ["listed", "first"]
    assert problems() == [("", "E020", "testproject.trials.jobs")]


def test_what_is_no_function_is_left_alone(settings, app) -> None:
    app(types.SimpleNamespace())
    assert names(settings, LISTED) == ["listed"]
    assert problems() == []


def test_it_is_read_once(settings) -> None:
    names(settings, LISTED)
    assert load() is load()
    settings.JOBS_SCHEDULE_TIMEZONE = "Asia/Tokyo"
    assert load().entries[0].timing.zone_name == "Asia/Tokyo"


def test_entries_from_elsewhere(settings) -> None:
    names(settings, LISTED)
    stored = [entry_from_mapping(name, {"handler": "report", "hourly": True}) for name in ("stored", "listed")]
    loaded = load().with_entries(stored)
    assert [entry.name for entry in loaded.entries] == ["listed", "stored"]
    (problem,) = loaded.problems
    assert (problem.entry, problem.rule, problem.origin) == ("listed", "E025", "database")
    assert "comes from JOBS_SCHEDULE" in problem.message
