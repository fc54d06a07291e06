"""Entries from the fluent builder and from dicts, and what is said of those that do not hold."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from django_jobs import JobHandler
from django_jobs.exceptions import InvalidSchedule
from django_jobs.scheduler.builder import EntryBuilder, Scheduler
from django_jobs.scheduler.entries import Entry
from django_jobs.scheduler.mapping import KEYS, entry_from_mapping
from django_jobs.testing import run_job


class Report(JobHandler):
    def handle(self, ctx):
        return None


class Picky(Report):
    @classmethod
    def clean_payload(cls, payload):
        if payload is None:
            raise ValueError
        return {"cleaned": payload}


def is_quiet() -> bool:
    return True


def tell(**facts) -> None:
    return None


not_callable = 3


@pytest.fixture(autouse=True)
def _site(handlers, settings):
    handlers({"report": Report, "picky": Picky})
    settings.JOBS_BUILTINS = ["command", "callable", "shell"]
    settings.JOBS_CALLABLES_ALLOWED = [f"{__name__}.is_quiet"]
    settings.JOBS_QUEUES = {"default": {}, "reports": {"handlers": ["report"]}}


def define(handler="report", payload=None) -> EntryBuilder:
    return Scheduler().define(handler, payload)


def test_a_full_entry() -> None:
    entry = (
        define("report", "--month=06")
        .named("daily-report")
        .daily_at("02:00")
        .timezone("Europe/Berlin")
        .queue("reports")
        .using("default")
        .environments("production", "staging")
        .depends_on("import")
        .requires("import", "check")
        .single_instance()
        .catch_up("all", 5)
        .when(is_quiet)
        .skip(f"{__name__}.is_quiet")
        .before(tell)
        .after(tell)
        .on_success(tell, tell)
        .on_failure(f"{__name__}.tell")
        .description("The figures of the month")
        .run_in_maintenance()
        .priority(5)
        .max_retries(2)
        .timeout("10m")
        .tag("figures")
        .tag("monthly")
        .with_options(group="reports")
        .to_entry()
    )
    assert entry == Entry(
        name="daily-report",
        handler="report",
        timing=entry.timing,
        payload="--month=06",
        queue="reports",
        backend="default",
        options={"priority": 5, "max_retries": 2, "timeout": "10m", "tags": ("figures", "monthly"), "group": "reports"},
        environments=("production", "staging"),
        depends_on=("import",),
        requires=("import", "check"),
        single_instance="daily-report",
        catch_up="all",
        catch_up_limit=5,
        when=(is_quiet,),
        skip=(f"{__name__}.is_quiet",),
        before=(tell,),
        after=(tell,),
        on_success=(tell, tell),
        on_failure=(f"{__name__}.tell",),
        description="The figures of the month",
        run_in_maintenance=True,
        origin="JOBS_SCHEDULE",
    )
    assert entry.timing.expression == "0 2 * * *"
    assert entry.timing.zone_name == "Europe/Berlin"


def test_defaults(settings) -> None:
    settings.JOBS_SCHEDULE_CATCH_UP = "one"
    settings.JOBS_SCHEDULE_CATCH_UP_LIMIT = 3
    entry = define().hourly().to_entry()
    assert (entry.name, entry.queue, entry.enabled, entry.single_instance) == ("report", None, True, None)
    assert (entry.catch_up, entry.catch_up_limit) == ("one", 3)


def test_tags_add_up() -> None:
    assert define().hourly().with_options(tags="one").tag("two", "three").to_entry().options == {
        "tags": ("one", "two", "three")
    }


def test_names() -> None:
    assert define("command", "app:clearsessions --verbosity=0").hourly().to_entry().name == "clearsessions"
    assert define(Report).hourly().to_entry().name == "report"
    assert Scheduler().shell("/usr/bin/pg_dump shop").name == "pg_dump"
    assert [Scheduler().shell(odd).name for odd in ("", ["/"], "'")] == ["shell", "shell", "shell"]
    assert define("report").named("mine").hourly().to_entry().name == "mine"


def test_what_runs_comes_as_it_is_stored() -> None:
    assert define("picky", 1).hourly().to_entry().payload == {"cleaned": 1}
    assert Scheduler().command("clearsessions").hourly().to_entry().handler == "command"
    called = Scheduler().call(is_quiet).hourly().to_entry()
    assert (called.handler, called.payload["path"]) == ("callable", f"{__name__}.is_quiet")
    assert Scheduler().call(f"{__name__}.is_quiet", 1, a=2).hourly().to_entry().payload == {
        "path": f"{__name__}.is_quiet",
        "args": [1],
        "kwargs": {"a": 2},
    }
    assert Scheduler().call(is_quiet, 1).hourly().to_entry().payload["args"] == [1]


def test_guards() -> None:
    assert define().hourly().single_instance("shared").to_entry().single_instance == "shared"
    assert define().hourly().single_instance().single_instance(False).to_entry().single_instance is None
    guarded = define().hourly().without_overlapping(120).named("later").to_entry()
    assert (guarded.single_instance, guarded.overlap_seconds) == ("later", 120)
    assert define().hourly().single_instance("k").without_overlapping().to_entry().single_instance == "k"


BAD = {
    "named('')": ("E021", "name: give a text"),
    "named('x' * 201)": ("E021", "name: 201 characters are too many"),
    "queue('No Queue')": ("E021", "queue: 'No Queue' is not"),
    "using('')": ("E021", "backend: give an alias"),
    "using('elsewhere')": ("E021", "elsewhere"),
    "environments('')": ("E021", "environments: give texts"),
    "environments(3)": ("E021", "environments: give texts"),
    "environments('x' * 201)": ("E021", "environments: 201 characters are too many. At most 200."),
    "requires('a\\n')": ("E021", "requires: control characters are not allowed"),
    "description('x' * 501)": ("E021", "description: 501 characters are too many. At most 500."),
    "single_instance(3)": ("E021", "single_instance: a text is needed, not int."),
    "enabled('no')": ("E021", "enabled: give True or False"),
    "depends_on(None)": ("E021", "depends_on: give texts"),
    "catch_up('sometimes')": ("E021", "catch_up: 'sometimes' is not one of skip, one, all"),
    "catch_up('all', 0)": ("E021", "catch_up_limit: '0' is not"),
    "without_overlapping(0)": ("E021", "without_overlapping: give how many seconds"),
    "without_overlapping('long')": ("E021", "without_overlapping: 'long' is not a duration"),
    "when(3)": ("E021", "when: '3' can't be called"),
    "skip('no.such.module')": ("E021", "skip: 'no.such.module' can't be loaded"),
    "before(f'{here}.not_callable')": ("E021", "can't be called"),
    "priority(101)": ("E021", "priority: '101' is not"),
    "with_options(colour='red')": ("E021", "'colour' is not an option of a job"),
    "with_options(queue='mail')": ("E021", "queue: not an option of an entry. Use queue()."),
    "with_options(id='1')": ("E021", "id: not an option of an entry. What recurs can't have it."),
    "timezone('Nowhere')": ("E024", "timezone: 'Nowhere' is not a time zone"),
    "at('9999-12-31T23:00+00:00')": ("E022", "at: no time zone has '9999-12-31T23:00+00:00'"),
    "cron('61 * * * *')": ("E022", "'61' is no minute"),
}


@pytest.mark.parametrize(("call", "expected"), BAD.items())
def test_what_does_not_hold(call: str, expected: tuple[str, str]) -> None:
    rule, says = expected
    builder = define().named("mine")
    if not call.startswith("cron"):
        builder.hourly()
    eval(f"builder.{call}", {"builder": builder, "here": __name__})
    entry, problems = builder.build()
    assert entry is None
    assert [(problem.entry, problem.rule) for problem in problems] == [("mine", rule)]
    assert says in problems[0].message


@pytest.mark.parametrize(
    ("handler", "payload", "rule", "says"),
    [
        ("missing", None, "E023", "no handler is registered as 'missing'"),
        ("", None, "E021", "is not a handler key"),
        (object, None, "E023", "has no key"),
        (lambda: None, None, "E021", "is neither a key nor a handler class"),
        ("command", "", "E021", "payload: a command is a text"),
        ("shell", "ls | wc", "E021", "there is no shell that could read '|'"),
        ("shell", [], "E021", "payload: a program is a list of texts"),
        ("callable", "os.system", "E021", "is not allowed. Add it to JOBS_CALLABLES_ALLOWED"),
        ("callable", print, "E021", "is not a function"),
        ("report", {1: 2}, "E021", "payload"),
        ("report", "x" * 70_000, "E021", "payload"),
    ],
)
def test_what_can_not_run(handler, payload, rule: str, says: str) -> None:
    _, problems = define(handler, payload).named("mine").hourly().build()
    assert [problem.rule for problem in problems] == [rule]
    assert says in problems[0].message


def test_a_lambda_runs_where_the_schedule_does_or_not_at_all() -> None:
    entry = define("callable", lambda: 5).named("mine").hourly().to_entry()
    assert run_job(entry.handler, entry.payload).result == 5
    _, problems = define("callable", lambda: 5).named("mine").hourly().queue("default").build()
    assert "Give no queue" in problems[0].message


def test_a_queue_that_does_not_take_the_handler() -> None:
    _, problems = define("command", "clearsessions").named("mine").hourly().queue("reports").build()
    assert "does not allow 'command'" in problems[0].message


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(InvalidSchedule) as caught:
        define("missing").named("mine").daily_at("25:00").environments("").to_entry()
    for part in ("entry 'mine'", "daily_at: '25:00'", "environments: give texts", "no handler is registered"):
        assert part in str(caught.value)


def test_what_a_handler_raises_at_a_payload_is_no_crash() -> None:
    _, problems = define("picky", None).named("mine").hourly().build()
    assert [problem.rule for problem in problems] == ["E021"]
    assert "its handler refuses it (ValueError" in problems[0].message


def test_a_frequency_that_does_not_hold_is_said_once() -> None:
    _, problems = define().every_minute(0).build()
    assert [problem.message for problem in problems] == ["every_minute: '0' is not a whole number from 1 to 59."]


# -- as dicts -------------------------------------------------------------------------------------------------


def test_a_dict_says_the_same() -> None:
    fluent = define("report", {"month": 6}).named("daily").daily_at("2:00").timezone("Asia/Tokyo").queue("reports")
    fluent.environments("a", "b").single_instance().between("1:00", "3:00").priority(3).tag("x").day_or(False)
    fluent.depends_on("other").catch_up("one", 2).run_in_maintenance().description("d").without_overlapping(90)
    mapping = {
        "handler": "report",
        "payload": {"month": 6},
        "daily_at": "2:00",
        "timezone": "Asia/Tokyo",
        "queue": "reports",
        "environments": ["a", "b"],
        "single_instance": True,
        "between": ["1:00", "3:00"],
        "priority": 3,
        "tags": ["x"],
        "day_or": False,
        "depends_on": "other",
        "catch_up": "one",
        "catch_up_limit": 2,
        "run_in_maintenance": True,
        "description": "d",
        "without_overlapping": 90,
    }
    entry = entry_from_mapping("daily", mapping, origin="JOBS_SCHEDULE")
    expected = fluent.to_entry()
    assert entry.options == {"priority": 3, "tags": ["x"]}
    assert {**_fields(entry), "options": None} == {**_fields(expected), "options": None}


def _fields(entry: Entry) -> dict:
    return {name: getattr(entry, name) for name in Entry.__slots__}


@pytest.mark.parametrize(
    ("when", "expression"),
    [
        ({"cron": "*/5 * * * *"}, "*/5 * * * *"),
        ({"cron": ["0 9 * * *", "30 17 * * *"]}, "0 9 * * * | 30 17 * * *"),
        ({"cron": "* * * * * */5", "seconds": True}, "* * * * * */5"),
        ({"hourly": True}, "0 * * * *"),
        ({"hourly_at": [0, 30]}, "0,30 * * * *"),
        ({"weekly_on": [["mon", "fri"], "8:00"]}, "0 8 * * 1,5"),
        ({"weekdays": "9:00"}, "0 9 * * 1-5"),
        ({"weekdays": True, "at": "9:00"}, "0 9 * * 1-5"),
        ({"every_minute": 5, "between": [9, 17]}, "*/5 * * * *"),
        ({"at": "2026-06-01T09:00:00+00:00"}, "2026-06-01T09:00:00+00:00"),
        ({"at": datetime(2026, 6, 1, 9, tzinfo=UTC)}, "2026-06-01T09:00:00+00:00"),
    ],
)
def test_when_in_a_dict(when: dict, expression: str) -> None:
    assert entry_from_mapping("mine", {"handler": "report", **when}).timing.expression == expression


def test_what_runs_in_a_dict() -> None:
    entry = entry_from_mapping("", {"command": "app:clearsessions", "daily": True})
    assert (entry.name, entry.handler, entry.payload) == ("clearsessions", "command", "app:clearsessions")
    entry = entry_from_mapping("", {"name": "mine", "callable": f"{__name__}.is_quiet", "daily": True})
    assert (entry.name, entry.handler) == ("mine", "callable")
    entry = entry_from_mapping("", {"shell": "pg_dump 'a b'", "daily": True})
    assert (entry.name, entry.handler, entry.payload) == ("pg_dump", "shell", ["pg_dump", "a b"])
    assert entry_from_mapping("", {"shell": ["ls", "-l"], "daily": True}).payload == ["ls", "-l"]
    entry = entry_from_mapping("mine", {"handler": "report", "daily": True, "options": {"max_attempts": 3}})
    assert entry.options == {"max_attempts": 3}


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({}, "give one of handler, command, callable, shell"),
        ({"handler": "report", "command": "x", "daily": True}, "give one of handler, command, callable, shell"),
        ({"command": "clearsessions", "payload": 1, "daily": True}, "A payload goes with a handler alone"),
        ({"handler": "report"}, 'it is never due. Say when, such as daily_at("02:00").'),
        (
            {"handler": "report", "at": "2030-01-01T12:00", "daily": True},
            "don't go together. Give one of them, such as",
        ),
        ({"handler": "report", "dayly": True}, "'dayly' is not a key of an entry. Is 'daily' meant? There are:"),
        ({"handler": "report", "daily": "2:00"}, "daily: too many positional arguments"),
        ({"handler": "report", "between": "9:00", "daily": True}, "between: missing a required argument: 'end'"),
        ({"handler": "report", "weekly_on": True}, "weekly_on: missing a required argument"),
        ({"handler": "report", "hourly": False}, "hourly: too many positional arguments"),
        ({"handler": "report", "daily": True, "options": 3}, "options"),
        ({"handler": "report", "daily": True, "options": {1: 2}}, "options"),
        ({"handler": "report", "daily": True, "options": {"queue": "x"}}, "queue: not an option of an entry"),
        ({"handler": "report", "daily": True, 5: 6}, "'5' is not a key of an entry"),
        ({"handler": "report", "daily": True, "run_in_maintenance": "yes"}, "run_in_maintenance: give True or False"),
        ({"handler": ["report"], "daily": True}, "handler"),
        ({"handler": None, "daily": True}, "handler"),
        ({"handler": "report", "cron": None}, "cron: give expressions as texts"),
        ({"handler": "report", "cron": {"a": 1}}, "cron"),
        ({"handler": "report", "timezone": {"a": 1}, "daily": True}, "timezone: give a name"),
        ({"handler": "report", "to_timing": True, "daily": True}, "'to_timing' is not a key"),
        ({"handler": "report", "delay": 3, "daily": True}, "'delay' is not a key"),
        ([], "an entry is a dict, not '[]'"),
        (None, "an entry is a dict"),
    ],
)
def test_bad_dicts(mapping, says: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        entry_from_mapping("mine", mapping)
    assert "entry 'mine'" in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize("key", ["when", "skip", "before", "after", "on_success", "on_failure"])
def test_nothing_stored_names_code(key: str) -> None:
    mapping = {"handler": "report", "daily": True, key: f"{__name__}.is_quiet"}
    assert entry_from_mapping("mine", mapping, origin="JOBS_SCHEDULE")
    with pytest.raises(InvalidSchedule, match=f"{key}: an entry in the database can't name code"):
        entry_from_mapping("mine", mapping)


def test_nothing_stored_is_imported(settings) -> None:
    settings.JOBS_BUILTINS = []
    for handler in ("os.system", "builtins.eval", "tests.unit.test_schedule_entries.Report", "callable"):
        with pytest.raises(InvalidSchedule, match="no handler is registered"):
            entry_from_mapping("mine", {"handler": handler, "daily": True})


def test_the_keys_of_a_dict_are_methods_or_options() -> None:
    extra = {"handler", "command", "callable", "shell", "payload", "seconds", "options", "name"}
    options = {"priority", "timeout", "max_attempts", "max_retries", "tags", "group", "reference", "meta", "ttl"}
    for key in KEYS - extra:
        assert callable(getattr(EntryBuilder, key, None)) or key in options | KEYS
    assert options <= KEYS
