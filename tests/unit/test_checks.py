import re
from pathlib import Path

import pytest
from django.core import checks
from django.core.management import get_commands, load_command_class
from django.db import connections

from django_jobs import JobHandler
from django_jobs import checks as own_checks
from django_jobs import job as function_job
from django_jobs.backends import Supports
from django_jobs.backends.memory import MemoryBackend
from django_jobs.conf import declared
from django_jobs.findings import RULES


class Handler(JobHandler):
    def handle(self, ctx):
        return None


class Tuned(Handler):
    max_attempts = 0


class Misspelt(Handler):
    max_attempt = 3


class Mishooked(Handler):
    def on_sucess(self, ctx, result):
        return None


class Tasked(Handler):
    template = "mail.html"
    timezone = "UTC"

    def deliver(self):
        return None


class Typed(Handler):
    payload_type = dict[str, int]


class Untypable(Handler):
    payload_type = staticmethod(print)


def entry(**more):
    return {"handler": "trial.noop", "daily": True, **more}


def failing_schedule(scheduler):
    raise RuntimeError("no luck")


TAGS = ["django_jobs", "django_jobs_schedule"]


def found(deploy=False):
    return [message.id for message in checks.run_checks(tags=TAGS, include_deployment_checks=deploy, databases=[])]


def test_the_test_project_passes_every_check():
    assert found(deploy=True) == []


DATABASE = "django_jobs.backends.database.DatabaseBackend"
MEMORY = "django_jobs.backends.memory.MemoryBackend"


@pytest.mark.parametrize(
    ("check", "name", "bad", "good"),
    [
        ("E001", "JOBS", {"a": "no.such.Handler"}, {"a": Handler}),
        ("E001", "JOBS", {"a": "os.system"}, {}),
        ("E001", "JOBS", {"a": Tuned}, {"a": f"{__name__}.Handler"}),
        ("E001", "JOBS", [("a", Handler)], {"a": Handler}),
        ("E002", "JOBS_QUEUES", {"A": {}}, {"a": {}}),
        ("E002", "JOBS_QUEUES", {"a": {"max_jobs_per_child": "5"}}, {"a": {"max_jobs_per_child": 5}}),
        ("E002", "JOBS_QUEUES", {"a": {"keep_completed": "7d"}}, {"a": {"keep_completed": 0}}),
        ("E002", "JOBS_QUEUES", {"a": {"backend": "none"}}, {"a": {"backend": "default"}}),
        ("E003", "JOBS_DEFAULTS", {"ttl": "soon"}, {"ttl": "7d"}),
        ("E001", "JOBS", ["a.b.Handler"], {}),
        ("E013", "JOBS", {"a": Untypable}, {"a": Typed}),
        ("W014", "JOBS", {"a": Misspelt}, {"a": Handler}),
        ("W014", "JOBS", {"a": Mishooked}, {"a": Tasked}),
        ("W015", "JOBS_QUEUES", {"a": {"max_workers": 5}}, {"a": {"max_workers": 4}}),
        ("E002", "JOBS_QUEUES", {"a": ["max_workers"]}, {"a": None}),
        ("E002", "JOBS_QUEUES", ["a", 5], ["a"]),
        ("E002", "JOBS_QUEUES", [["a"]], ("a",)),
        ("E002", "JOBS_QUEUES", {"a": {5: 1}}, {"a": {"max_workers": 1}}),
        ("E004", "JOBS_BACKENDS", {"default": "some.path"}, {"default": {"BACKEND": DATABASE}}),
        ("E004", "JOBS_BACKENDS", {"default": {"BACKEND": 5}}, {"default": {"BACKEND": DATABASE}}),
        ("E004", "JOBS_BACKENDS", {"default": {"BACKEND": "os.path"}}, {"default": {"BACKEND": DATABASE}}),
        (
            "E004",
            "JOBS_BACKENDS",
            {"default": {"BACKEND": DATABASE, "OPTIONS": "x"}},
            {"default": {"BACKEND": DATABASE}},
        ),
        ("E009", "JOBS_BACKENDS", [DATABASE], {"default": {"BACKEND": DATABASE}}),
        ("E009", "JOBS_CLAIM_BATCH", 10.5, 10),
        ("E009", "JOBS_POLL_INTERVAL", float("nan"), 0.5),
        ("E009", "JOBS_POLL_INTERVAL", True, 1),
        ("E009", "JOBS_KEEP_EVENTS", -1, None),
        ("E009", "JOBS_SHOW", "loudly", "quiet"),
        ("E009", "JOBS_SIGNING_KEY", 5, None),
        ("E001", "JOBS_ALIASES", {"old": "no.such"}, {"old": "trial.noop"}),
        ("E009", "JOBS_ALIASES", {"old": 5}, {}),
        ("E012", "JOBS_MIDDLEWARE", ["no.such.middleware"], []),
        ("E012", "JOBS_MIDDLEWARE_ALLOWED", ["os.path"], ["os.getcwd"]),
        ("E012", "JOBS_CONTAINER", "no.such.container", "os.getcwd"),
        ("E012", "JOBS_MAINTENANCE", "no.such.flag", "django_jobs.scheduler.maintenance.cache_flag"),
        ("E012", "JOBS_BACKOFFS", {"mine": 5}, {"mine": len}),
        ("E009", "JOBS_MIDDLEWARE", "os.getcwd", ["os.getcwd"]),
        ("W008", "JOBS_QUEUES", {"a": {"handlers": []}}, {"a": {"handlers": None}}),
        ("W009", "JOBS_QUEUES", {"a": {"handlers": ["no.such"]}}, {"a": {"handlers": ["trial.noop"]}}),
        ("E002", "JOBS_QUEUES", {"a": {"handlers": "trial.noop"}}, {"a": {"handlers": ["trial.noop"]}}),
        ("W010", "JOBS_BUILTINS", ["callable"], ["command"]),
        ("E011", "JOBS_BUILTINS", ["comand"], []),
        ("W010", "JOBS_BUILTINS", ["shell"], []),
        ("E009", "JOBS_SHELL_ALLOWED", "sh", ["sh"]),
        ("E009", "JOBS_SHELL_VARIABLES", "HOME", ["HOME"]),
        ("W010", "JOBS_COMMANDS_ALLOWED", [], ["clearsessions"]),
        ("E009", "JOBS_DEFAULTS", None, {}),
        ("E009", "JOBS_LEASE_SECONDS", "30", 30),
        ("E009", "JOBS_CLAIM_BATCH", 0, 10),
        ("E009", "JOBS_COMMANDS_ALLOWED", "clearsessions", ["clearsessions"]),
        ("E009", "JOBS_SIGNING_KEY_FALLBACKS", "old-secret", ["old-secret"]),
        ("E009", "JOBS_VERIFY_SIGNATURES", "yes", True),
        ("E009", "JOBS_SENSITIVE_KEYS", "password", ["password"]),
        ("E009", "JOBS_EVENTS", "some", "all"),
        ("E002", "JOBS_QUEUES", {"a": {"max_worker": 1}}, {"a": {"max_workers": 1}}),
        ("E002", "JOBS_QUEUES", {"a": {"max_workers": 0}}, ["a"]),
        ("E002", "JOBS_QUEUES", {"a": {"max_workers": "3"}}, "a,b"),
        ("E002", "JOBS_QUEUES", {"a": {"priority": 1000}}, {"a": {"priority": 100}}),
        ("E002", "JOBS_QUEUES", {"a": {"isolation": "magic"}}, {"a": {"isolation": "inline"}}),
        ("E002", "JOBS_QUEUES", 5, []),
        ("E002", "JOBS_QUEUES", {"a": {"concurrency": 0}}, {"a": {"concurrency": 8}}),
        ("W040", "JOBS_QUEUES", {"a": {"concurrency": 8, "isolation": "fork"}}, {"a": {"isolation": "spawn"}}),
        ("W040", "JOBS_QUEUES", {"a": {"max_memory_mb": 8, "isolation": "inline"}}, {"a": {"max_memory_mb": 8}}),
        ("W040", "JOBS_QUEUES", {"a": {"concurrency": 8, "warnings_as_errors": True}}, {"a": {"concurrency": 8}}),
        ("E003", "JOBS_DEFAULTS", {"colour": 1}, {"timeout": None}),
        ("E003", "JOBS_DEFAULTS", {"max_attempts": 0}, {"max_attempts": 5}),
        ("E003", "JOBS_BACKOFF", {"strategy": "magic"}, {"strategy": "fixed", "base": 1}),
        ("E004", "JOBS_BACKENDS", {"default": {"BACKEND": "no.such.Backend"}}, {"default": {"BACKEND": MEMORY}}),
        ("E004", "JOBS_BACKENDS", {"default": {}}, {"default": {"BACKEND": DATABASE, "OPTIONS": {"LISTEN": False}}}),
        (
            "E004",
            "JOBS_BACKENDS",
            {"default": {"BACKEND": DATABASE, "OPTIONS": {"X": 1}}},
            {"default": {"BACKEND": DATABASE}},
        ),
        ("E004", "JOBS_BACKENDS", {"default": {"BACKEND": DATABASE, "NAME": 1}}, {"default": {"BACKEND": DATABASE}}),
        (
            "E004",
            "JOBS_BACKENDS",
            {"default": {"BACKEND": "django_jobs.backends.sync.SyncBackend", "OPTIONS": {"DELAY": "maybe"}}},
            {"default": {"BACKEND": "django_jobs.backends.sync.SyncBackend", "OPTIONS": {"DELAY": "raise"}}},
        ),
        ("E004", "JOBS_DEFAULT_BACKEND", "other", "default"),
        ("E005", "JOBS_DATABASE_ALIAS", "nowhere", "default"),
        ("E007", "JOBS_LEASE_SECONDS", 14, 15),
        ("E007", "JOBS_HEARTBEAT_INTERVAL", 11, 10),
        ("E008", "JOBS_MAX_PAYLOAD_BYTES", 120_000, 80_000),
        ("E008", "JOBS_MAX_HISTORY", 60, 25),
        ("E008", "JOBS_MAX_RESULT_BYTES", 200_000, 90_000),
        ("E008", "JOBS_MAX_TRACEBACK_BYTES", 100_000, 16_384),
        ("W004", "JOBS_PAYLOD_BYTES", 1, None),
        ("E020", "JOBS_SCHEDULE", 5, []),
        ("E020", "JOBS_SCHEDULE", "no.such.schedule", {}),
        ("E020", "JOBS_SCHEDULE", failing_schedule, lambda s: None),
        ("E021", "JOBS_SCHEDULE", {"a": entry(priority=101)}, {"a": entry(priority=100)}),
        ("E021", "JOBS_SCHEDULE", {"a": entry(colour="red")}, [entry()]),
        ("E022", "JOBS_SCHEDULE", {"a": {"handler": "trial.noop"}}, {"a": entry()}),
        ("E022", "JOBS_SCHEDULE", {"a": entry(daily_at="25:00")}, {"a": entry(at="23:00")}),
        (
            "E022",
            "JOBS_SCHEDULE",
            {"a": {"handler": "trial.noop", "cron": "0 0 30 2 *"}},
            {"a": {"handler": "trial.noop", "cron": "0 0 29 2 *"}},
        ),
        ("E023", "JOBS_SCHEDULE", {"a": {"handler": "no.such", "daily": True}}, {"a": entry()}),
        ("E023", "JOBS_SCHEDULE", {"a": {"callable": "os.getcwd", "daily": True}}, {"a": entry()}),
        ("E024", "JOBS_SCHEDULE", {"a": entry(timezone="Nowhere")}, {"a": entry(timezone="Asia/Tokyo")}),
        ("E024", "JOBS_SCHEDULE_TIMEZONE", "Nowhere", "Asia/Tokyo"),
        ("E025", "JOBS_SCHEDULE", [entry(), entry()], [entry(), entry(name="other")]),
        (
            "E026",
            "JOBS_SCHEDULE",
            {"a": entry(depends_on="b"), "b": entry(requires=["a"])},
            {"a": entry(depends_on="b"), "b": entry()},
        ),
        ("W020", "JOBS_SCHEDULE", {"a": entry(environments="Production")}, {"a": entry(environments="production")}),
        (
            "W020",
            "JOBS_SCHEDULE",
            {"a": entry(environments="staging"), "b": entry(environments=["stagin", "staging"])},
            {"a": entry(environments="staging"), "b": entry(environments="canary")},
        ),
        (
            "W021",
            "JOBS_SCHEDULE",
            {"a": {"command": "flush", "daily": True}},
            {"a": {"command": "app:clearsessions", "daily": True}},
        ),
        ("W022", "JOBS_SCHEDULE", {"a": entry(depends_on="nobody")}, {"a": entry(depends_on="b"), "b": entry()}),
        ("E009", "JOBS_SCHEDULE_CATCH_UP", "sometimes", "one"),
        ("E009", "JOBS_SCHEDULE_CATCH_UP_LIMIT", 0, 1),
    ],
)
def test_each_mistake_in_the_settings_is_found_and_its_mending_too(settings, check, name, bad, good):
    setattr(settings, name, bad)
    assert f"django_jobs.{check}" in found()
    if good is None:
        delattr(settings, name)
    else:
        setattr(settings, name, good)
    assert found() == []


def test_a_program_that_is_allowed_has_to_be_there(settings):
    settings.JOBS_SHELL_ALLOWED = ["sh", "/bin/sh", "bin/sh", "no-such-program"]
    assert found() == [], "the handler is not let in"
    settings.JOBS_BUILTINS = ["shell"]
    assert [message.msg for message in messages() if message.id == "django_jobs.W016"] == [
        "JOBS_SHELL_ALLOWED: there is no program 'bin/sh' here.",
        "JOBS_SHELL_ALLOWED: there is no program 'no-such-program' here.",
    ]
    settings.JOBS_SHELL_ALLOWED = ["sh"]
    assert found() == []


def test_a_program_of_the_schedule_has_to_be_allowed(settings):
    settings.JOBS_BUILTINS = ["shell"]
    settings.JOBS_SHELL_ALLOWED = ["sh"]
    settings.JOBS_SCHEDULE = {"a": {"shell": "/bin/sh -c true", "daily": True}, "b": {"shell": ["env"], "daily": True}}
    (message,) = messages()
    assert (message.id, message.msg, message.hint) == (
        "django_jobs.W021",
        "JOBS_SCHEDULE, entry 'b': the program 'env' is not allowed.",
        "Add the program to JOBS_SHELL_ALLOWED.",
    )


def test_a_handler_of_the_site_under_a_key_of_ours_is_its_own(settings):
    settings.JOBS = {**settings.JOBS, "shell": settings.JOBS["trial.noop"], "command": settings.JOBS["trial.noop"]}
    settings.JOBS_BUILTINS = []
    settings.JOBS_SCHEDULE = {"a": {"shell": {"any": 1}, "daily": True}, "b": {"command": 5, "daily": True}}
    assert found() == []


def test_a_bad_entry_is_named_and_so_is_where_it_comes_from(settings):
    settings.JOBS_SCHEDULE = {"nightly": entry(handler="no.such"), "good": entry(), "after": entry(requires="nightly")}
    says = [message.msg for message in messages()]
    assert "JOBS_SCHEDULE, entry 'nightly': no handler is registered as 'no.such'" in says[0]
    assert says[1] == "JOBS_SCHEDULE, entry 'after': it depends on 'nightly', which is no entry."
    assert len(says) == 2


def test_a_bad_zone_of_the_schedule_is_said_once(settings):
    settings.JOBS_SCHEDULE = {"a": entry(), "b": entry()}
    settings.JOBS_SCHEDULE_TIMEZONE = "Nowhere"
    assert found() == ["django_jobs.E024"]


def test_what_is_wrong_with_an_entry_keeps_no_command_of_ours_from_running(settings):
    settings.JOBS_SCHEDULE = {"a": entry(handler="no.such")}
    ours = [name for name, app in get_commands().items() if app == "django_jobs"]
    assert "jobs_work" in ours
    for name in ours:
        tags = load_command_class("django_jobs", name).requires_system_checks
        assert tags != "__all__", name
        assert checks.run_checks(tags=tags, databases=[]) == [], name


def test_unverified_signatures_are_a_warning_before_a_deployment(settings):
    settings.JOBS_VERIFY_SIGNATURES = False
    assert "django_jobs.W005" in found(deploy=True)
    assert found() == []
    settings.JOBS_VERIFY_SIGNATURES = True
    assert found(deploy=True) == []


@pytest.fixture
def options(monkeypatch):
    """The OPTIONS of the SQLite database under test, for one test."""
    given = dict(connections["default"].settings_dict["OPTIONS"])
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", given)
    return given


def test_sqlite_with_deferred_transactions_or_without_its_log_is_a_warning(options):
    assert found() == []
    options["transaction_mode"] = "DEFERRED"
    assert found() == ["django_jobs.W001"]
    options["transaction_mode"] = "immediate"
    del options["init_command"]
    assert found() == ["django_jobs.W002"]


def test_sqlite_that_gives_up_at_once_is_a_warning(options):
    options["timeout"] = 1
    assert found() == ["django_jobs.W013"]
    options["timeout"] = 20
    assert found() == []


@pytest.fixture
def vendor(monkeypatch):
    def pretend(name):
        monkeypatch.setattr(type(connections["default"]), "vendor", name)

    return pretend


def test_mysql_at_repeatable_read_is_a_warning(options, vendor):
    vendor("mysql")
    for level, expected in ((None, []), ("read committed", []), ("repeatable read", ["django_jobs.W003"])):
        options["isolation_level"] = level
        assert found() == expected


def test_a_database_that_cannot_keep_jobs_is_an_error(vendor):
    vendor("oracle")
    assert found() == ["django_jobs.E006"]


def messages(deploy=False, databases=None):
    return checks.run_checks(tags=TAGS, include_deployment_checks=deploy, databases=databases)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("JOBS", ["a.b.Handler"], "JOBS is ['a.b.Handler'], and not a dict"),
        ("JOBS_QUEUES", 5, "JOBS_QUEUES is 5. Make it a list of names, a text"),
        ("JOBS_QUEUES", {"mail": {"max_attempts": 0}}, "JOBS_QUEUES['mail']: max_attempts: '0' is not a whole number"),
        (
            "JOBS_QUEUES",
            {"mail": {"max_workers": 0}},
            "JOBS_QUEUES['mail']['max_workers'] is 0. Make it a whole number",
        ),
        ("JOBS_BACKENDS", {"default": "path"}, "JOBS_BACKENDS['default'] is 'path'. Make it a dict"),
        ("JOBS_POLL_INTERVAL", "1", "JOBS_POLL_INTERVAL is '1'."),
        ("JOBS_MAX_HISTORY", 60, "JOBS_MAX_HISTORY makes 329,760"),
    ],
)
def test_a_message_names_the_place(settings, name, value, says):
    setattr(settings, name, value)
    assert any(message.msg.startswith(says) or says in message.msg for message in messages())


def test_every_queue_that_is_wrong_is_named(settings):
    settings.JOBS_QUEUES = {"a": {"priority": 1000}, "b": {}, "c": {"timeout": 0}}
    assert [message.msg[:16] for message in messages()] == ["JOBS_QUEUES['a']", "JOBS_QUEUES['c']"]


def test_a_secret_is_not_printed(settings):
    settings.JOBS_SIGNING_KEY = ["hush-hush"]
    settings.JOBS_SIGNING_KEY_FALLBACKS = "hush-hush"
    found = messages(deploy=True)
    assert [message.id for message in found] == ["django_jobs.E009", "django_jobs.E009"]
    assert "hush" not in str(found)


GARBAGE = [
    None,
    5,
    -1,
    1.5,
    True,
    float("nan"),
    "text",
    "",
    [],
    ["x"],
    [[]],
    {},
    {"x": None},
    {5: []},
    object(),
    b"raw",
]


@pytest.mark.parametrize("setting", [setting.name for setting in declared()])
def test_no_value_of_a_setting_breaks_the_checks(settings, setting):
    for value in GARBAGE:
        setattr(settings, setting, value)
        for message in messages(deploy=True):
            assert message.msg
            assert message.hint


@pytest.mark.parametrize("setting", [setting.name for setting in declared()])
def test_a_value_of_a_wrong_kind_is_found_whatever_the_setting(settings, setting):
    setattr(settings, setting, object())
    assert {message.id[-4:] for message in messages()} & {"E001", "E002", "E003", "E009", "E020"}


# -- before a deployment ----------------------------------------------------------------------------------------------

LONG = "a-random-text-of-more-than-32-characters"


@pytest.mark.parametrize("weak", ["django-insecure-" + LONG, "short", "ab" * 40])
def test_a_key_that_can_be_guessed_is_a_warning_before_a_deployment(settings, weak):
    settings.SECRET_KEY = weak
    assert found(deploy=True) == ["django_jobs.W006"]
    assert found() == []
    settings.JOBS_SIGNING_KEY = LONG
    assert found(deploy=True) == []
    settings.SECRET_KEY, settings.JOBS_SIGNING_KEY = LONG, weak
    assert found(deploy=True) == ["django_jobs.W006"]


def test_a_fresh_interpreter_needs_a_settings_module(settings, monkeypatch):
    settings.JOBS_QUEUES = {"a": {"isolation": "spawn"}}
    assert found() == []
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    assert found() == ["django_jobs.E040"]


def test_inline_is_a_warning_before_a_deployment(settings):
    settings.JOBS_QUEUES = {"a": {"isolation": "inline"}}
    assert found(deploy=True) == ["django_jobs.W041"]
    assert found() == []


class Awaited(JobHandler):
    async def handle(self, ctx):
        return None


@function_job("unit.awaited")
async def awaited():
    return None


def test_handlers_that_can_not_be_interrupted_beside_others_are_a_warning_before_a_deployment(settings):
    settings.JOBS = {"awaited": Awaited, "blocks": Handler}
    settings.JOBS_QUEUES = {"a": {"concurrency": 2, "handlers": ["awaited", "unit.awaited"]}}
    assert found(deploy=True) == []
    settings.JOBS_QUEUES = {"a": {"concurrency": 2, "handlers": ["awaited", "blocks"]}}
    assert found(deploy=True) == ["django_jobs.W042"]
    assert found() == []
    settings.JOBS_QUEUES = {"a": {"concurrency": 1}}
    assert found(deploy=True) == []


class Elsewhere(MemoryBackend):
    """Stands for a store beside the database."""

    supports = Supports(atomic=True)


def test_a_store_beside_the_database_needs_a_key_of_its_own_before_a_deployment(settings):
    settings.JOBS_BACKENDS = {"default": {"BACKEND": f"{__name__}.Elsewhere"}}
    assert found() == []
    assert found(deploy=True) == ["django_jobs.E010"]
    settings.JOBS_SIGNING_KEY = LONG
    assert found(deploy=True) == []


def atomic(**attributes):
    return type("Handler", (JobHandler,), {"atomic": True, "handle": lambda self, ctx: None, **attributes})


def test_an_atomic_handler_needs_a_backend_that_can_complete_it(settings):
    settings.JOBS = {"unit.atomic": atomic(backend="none")}
    settings.JOBS_BACKENDS = {
        "default": {"BACKEND": "django_jobs.backends.database.DatabaseBackend"},
        "none": {"BACKEND": "django_jobs.backends.null.NullBackend"},
    }
    assert found() == ["django_jobs.E030"]
    settings.JOBS = {"unit.atomic": atomic()}
    assert found() == []


@pytest.mark.parametrize(("timeout", "fits"), [(10, True), (11, False), (None, False)])
def test_an_atomic_handler_on_sqlite_has_a_third_of_the_lease(settings, timeout, fits):
    settings.JOBS = {"unit.atomic": atomic(timeout=timeout)}
    assert found() == ([] if fits else ["django_jobs.W030"])


def test_debug_is_a_warning_before_a_deployment(settings):
    settings.DEBUG = True
    assert found() == []
    assert found(deploy=True) == ["django_jobs.W007"]


# -- the table ------------------------------------------------------------------------------------------------------


def test_every_rule_of_the_table_has_a_test_and_every_id_is_in_the_table():
    root = Path(__file__).resolve().parents[2]
    tests = Path(__file__).read_text() + (root / "tests/integration/test_checks.py").read_text()
    assert [rule for rule in RULES if rule not in tests] == []
    code = [path.read_text() for path in (root / "django_jobs").rglob("*.py")]
    used = {rule for text in code for rule in re.findall(r'"([EW]\d{3})"(?!: Rule)', text)}
    assert used == set(RULES)


def test_every_rule_says_what_is_wrong_and_what_to_do():
    for rule in RULES.values():
        assert rule.wrong.endswith(".")
        assert rule.do.endswith(".")


def test_every_check_is_registered():
    names = [name for name in vars(own_checks) if name.startswith("check_")]
    registered = {c.__name__ for c in checks.registry.registry.get_checks(include_deployment_checks=True)}
    assert names
    assert set(names) <= registered


@pytest.mark.parametrize("name", [name for name, app in get_commands().items() if app == "django_jobs"])
def test_no_command_asks_a_database_in_the_checks_at_its_start(name: str) -> None:
    # From 6.1 on, Django gives checks that are chosen by a tag every database; a worker has to start without one.
    command = load_command_class("django_jobs", name)
    tags = command.requires_system_checks
    chosen = [check for check in checks.registry.registry.get_checks() if not set(check.tags).isdisjoint(tags)]
    assert [check for check in chosen if checks.Tags.database in check.tags] == []
