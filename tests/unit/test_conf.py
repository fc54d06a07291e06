import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_jobs.conf import Conf, QueueOptions, Setting, conf, parse_queues


def test_a_setting_has_a_default_and_follows_every_override(settings):
    assert conf.lease_seconds == 30
    settings.JOBS_LEASE_SECONDS = 60
    assert conf.lease_seconds == 60
    with override_settings(JOBS_LEASE_SECONDS=90):
        assert conf.lease_seconds == 90
    assert conf.lease_seconds == 60


def test_the_handlers_are_the_setting_without_a_suffix(settings):
    settings.JOBS = {"a": "b"}
    assert conf.handlers == {"a": "b"}


def test_the_documented_defaults_hold():
    found = {name: value.default for name, value in vars(Conf).items() if isinstance(value, Setting)}
    assert found["queues"] == ["default"]
    assert found["default_backend"] == found["database_alias"] == "default"
    assert found["backends"]["default"]["BACKEND"] == "django_jobs.backends.database.DatabaseBackend"
    assert found["backoff"] == {"strategy": "exponential", "base": 5, "factor": 2, "cap": 300, "jitter": 0.15}
    numbers = {
        "max_crashes": 3,
        "max_history": 20,
        "missing_handler_grace": 300,
        "heartbeat_interval": 5,
        "reap_interval": 5,
        "poll_interval": 1,
        "shutdown_timeout": 30,
        "kill_grace": 5,
        "max_payload_bytes": 65_536,
        "max_result_bytes": 65_536,
        "verify_signatures": True,
        "signing_key": None,
    }
    assert {name: found[name] for name in numbers} == numbers


def test_options_have_site_defaults(settings):
    assert conf.default_option("max_attempts") == 1
    assert conf.default_option("timeout") == 300
    settings.JOBS_DEFAULTS = {"max_attempts": 3, "timeout": None}
    assert conf.default_option("max_attempts") == 3
    assert conf.default_option("timeout") is None
    assert conf.default_option("ttl") == 604_800
    with pytest.raises(KeyError):
        conf.default_option("colour")


@pytest.mark.parametrize(
    "value",
    [["mail", "default"], ("mail", "default"), "mail,default", " mail , default ,", {"mail": {}, "default": None}],
)
def test_queues_may_be_a_list_a_text_or_a_dict(value, settings):
    settings.JOBS_QUEUES = value
    assert conf.queue_names() == ["mail", "default"]
    assert conf.queue("mail") == QueueOptions("mail")
    assert conf.queue("elsewhere") == QueueOptions("elsewhere")


@pytest.mark.parametrize("value", [[], "", {}])
def test_no_queues_mean_the_default_one(value, settings):
    settings.JOBS_QUEUES = value
    assert conf.queue_names() == ["default"]


def test_the_options_of_a_queue_are_parted_into_the_workers_and_the_jobs():
    given = {"max_workers": 2, "isolation": "inline", "keep_completed": 0, "backend": "b", "max_jobs_per_child": 9}
    of_jobs = {"priority": 1, "delay": 2, "max_attempts": 3, "timeout": None, "ttl": 5, "backoff": "none"}
    options = parse_queues({"q": given | of_jobs})["q"]
    assert options == QueueOptions("q", options=of_jobs, **given)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"Mail": {}}, "JOBS_QUEUES: queue: 'Mail'"),
        (["a b"], "'a b'"),
        ({5: {}}, "'5'"),
        ({"mail": {"max_worker": 2}}, r"JOBS_QUEUES\['mail'\]: unknown option 'max_worker'.*max_workers"),
        ({"mail": {"queue": "other"}}, "unknown option 'queue'"),
        ({"mail": {"isolation": "thread"}}, r"\['isolation'\] is 'thread'. Make it one of pool"),
    ],
)
def test_a_wrong_queue_is_named(value, says):
    with pytest.raises(ImproperlyConfigured, match=says):
        parse_queues(value)


def test_changed_queues_are_seen_at_once(settings):
    settings.JOBS_QUEUES = {"mail": {"max_workers": 2}}
    assert conf.queue("mail").max_workers == 2
    settings.JOBS_QUEUES = {"mail": {"max_workers": 5}}
    assert conf.queue("mail").max_workers == 5
