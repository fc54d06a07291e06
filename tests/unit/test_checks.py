import pytest
from django.core import checks
from django.db import connections

from django_jobs import JobHandler
from django_jobs import checks as own_checks


class Handler(JobHandler):
    def handle(self, ctx):
        return None


class Tuned(Handler):
    max_attempts = 0


def found(deploy=False):
    return [message.id for message in checks.run_checks(tags=["django_jobs"], include_deployment_checks=deploy)]


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
        ("E008", "JOBS_MAX_PAYLOAD_BYTES", 200_000, 90_000),
        ("E008", "JOBS_MAX_RESULT_BYTES", 200_000, 90_000),
        ("E008", "JOBS_MAX_TRACEBACK_BYTES", 100_000, 16_384),
        ("W004", "JOBS_PAYLOD_BYTES", 1, None),
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


def test_every_id_says_what_to_do(settings):
    settings.JOBS = {"a": "no.such.Handler"}
    settings.JOBS_QUEUES = 5
    settings.JOBS_DEFAULTS = {"colour": 1}
    settings.JOBS_DEFAULT_BACKEND = "other"
    settings.JOBS_LEASE_SECONDS = 1
    settings.JOBS_MAX_PAYLOAD_BYTES = 10**9
    settings.JOBS_STRANGE = 1
    messages = checks.run_checks(tags=["django_jobs"])
    assert {m.id[-4:] for m in messages} == {"E001", "E002", "E003", "E004", "E007", "E008", "W004"}
    assert all(m.hint and m.msg for m in messages)


def test_every_check_is_registered():
    names = [name for name in vars(own_checks) if name.startswith("check_")]
    registered = {c.__name__ for c in checks.registry.registry.get_checks(include_deployment_checks=True)}
    assert names
    assert set(names) <= registered
