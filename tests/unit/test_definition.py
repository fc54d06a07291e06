import contextlib
import dataclasses
import enum
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_jobs import Jobs, Priority
from django_jobs.definition import OPTION_NAMES, UNSET, JobBuilder, JobDefinition, definition_of, seconds
from django_jobs.exceptions import InvalidDefinition, InvalidPriority
from django_jobs.unique import Unique

BLANK = JobDefinition(handler="unit.job")
MOMENT = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SOME_ID = "01900000-0000-7000-8000-0000000000aa"
EXPONENTIAL = {"strategy": "exponential", "base": 5.0, "factor": 2, "cap": 3600}


class Hostile:
    def __str__(self):
        raise RuntimeError("no text of me")


class HostileText(str):
    """Whatever is asked of it fails."""

    def __str__(self):
        raise RuntimeError("no text of me")

    __repr__ = __format__ = __getitem__ = lower = rpartition = isidentifier = __str__


class HostileNumber(int):
    def __str__(self):
        raise RuntimeError("no number of me")

    __repr__ = __format__ = __abs__ = __index__ = __lt__ = __le__ = __gt__ = __ge__ = __str__


class HostileItems(Mapping):
    def __getitem__(self, key):
        raise RuntimeError("nothing of me")

    __iter__ = __len__ = __bool__ = __getitem__


class HostileZone(tzinfo):
    def __init__(self, offset):
        self.offset = offset

    def utcoffset(self, when):
        return 1 / 0 if self.offset is None else self.offset


class Words(str, enum.Enum):  # noqa: UP042 - a StrEnum is its value everywhere
    """As many sites list their queues. Its text is the member's name in some ways, and its value in others."""

    MAIL = "mail"
    CLI = "cli"
    WEEK = "1 week"


GOOD = [
    ("id", SOME_ID, "id", SOME_ID),
    ("id", uuid.UUID(SOME_ID), "id", SOME_ID),
    ("id", SOME_ID.upper(), "id", SOME_ID),
    ("uuid", SOME_ID.replace("-", ""), "id", SOME_ID),
    ("queue", "mail.low-1_x", "queue", "mail.low-1_x"),
    ("queue", "", "queue", "default"),
    ("queue", None, "queue", "default"),
    ("queue", "q" * 64, "queue", "q" * 64),
    ("backend", "redis", "backend", "redis"),
    ("priority", -100, "priority", -100),
    ("priority", 100, "priority", 100),
    ("priority", Priority.HIGH, "priority", 50),
    ("delay", 0, "delay", 0.0),
    ("delay", "10m", "delay", 600.0),
    ("available_at", MOMENT, "available_at", MOMENT),
    ("available_at", None, "available_at", None),
    ("available_at", MOMENT.astimezone(timezone(timedelta(hours=5))), "available_at", MOMENT),
    ("expires", MOMENT, "expires_at", MOMENT),
    ("expires_at", MOMENT, "expires_at", MOMENT),
    ("expires_at", None, "expires_at", None),
    ("ttl", 0, "ttl", 0),
    ("ttl", None, "ttl", None),
    ("ttl", "2 days", "ttl", 172_800),
    ("max_attempts", 1, "max_attempts", 1),
    ("max_attempts", 10_000, "max_attempts", 10_000),
    ("max_retries", 0, "max_attempts", 1),
    ("max_retries", 2, "max_attempts", 3),
    ("timeout", 0.5, "timeout", 0.5),
    ("timeout", None, "timeout", None),
    ("timeout", timedelta(minutes=2), "timeout", 120.0),
    ("backoff", 3, "backoff", {"strategy": "fixed", "base": 3}),
    ("backoff", None, "backoff", None),
    ("retry_delay", 5, "backoff", EXPONENTIAL),
    ("name", "Grüße 🎉", "name", "Grüße 🎉"),
    ("name", "n" * 200, "name", "n" * 200),
    ("reference", "r" * 200, "reference", "r" * 200),
    ("group", "g" * 100, "group", "g" * 100),
    ("tags", "one", "tags", ("one",)),
    ("tags", ["a", "b", "a"], "tags", ("a", "b")),
    ("tags", (), "tags", ()),
    ("meta", {"a": 1}, "meta", {"a": 1}),
    ("source", "cli", "source", "cli"),
    ("expires_in", "1h", "expires_in", 3600.0),
    ("unique", "k", "unique", Unique("k")),
    ("middleware", "app.mw.trace", "middleware", ("app.mw.trace",)),
    ("enabled", False, "enabled", False),
    ("environments", ["staging", "production", "staging"], "environments", ("staging", "production")),
    ("cancel_handler", "undo", "cancel_handler", "undo"),
    ("cancel_handler", ["trial.noop", "undo"], "cancel_handler", "trial.noop:undo"),
    ("cancel_handler", "", "cancel_handler", ""),
    ("priority", HostileNumber(5), "priority", 5),
    ("delay", HostileNumber(5), "delay", 5.0),
    ("delay", Words.WEEK, "delay", 604_800.0),
    ("unique", {"key": HostileText("k"), "mode": HostileText("reject")}, "unique", Unique("k", mode="reject")),
]
TEXTS = {
    "queue": "queue",
    "backend": "backend",
    "name": "name",
    "reference": "reference",
    "group": "group",
    "tags": "tags",
    "cancel_handler": "cancel_handler",
    "middleware": "middleware",
    "environments": "environments",
}

BAD = [
    ("id", "not-a-uuid", "id"),
    ("id", None, "id"),
    ("id", 5, "id"),
    ("id", Hostile(), "id"),
    ("uuid", "", "uuid"),
    ("queue", "Mail", "queue"),
    ("queue", "q" * 65, "queue"),
    ("queue", "a b", "queue"),
    ("queue", "jobs'; DROP TABLE x --", "queue"),
    ("queue", ["a"], "queue"),
    ("queue", Hostile(), "queue"),
    ("queue", 10**5000, "queue"),
    ("backend", "", "backend"),
    ("backend", 5, "backend"),
    ("priority", 101, "priority"),
    ("priority", -101, "priority"),
    ("priority", 1.0, "priority"),
    ("priority", "5", "priority"),
    ("priority", True, "priority"),
    ("priority", None, "priority"),
    ("priority", 10**5000, "priority"),
    ("delay", -1, "delay"),
    ("delay", "soon", "delay"),
    ("delay", True, "delay"),
    ("delay", None, "delay"),
    ("delay", float("nan"), "delay"),
    ("delay", float("inf"), "delay"),
    ("delay", 10**400, "delay"),
    ("delay", -(10**5000), "delay"),
    ("delay", timedelta(seconds=-1), "delay"),
    ("delay", "101 years", "delay"),
    ("delay", Hostile(), "delay"),
    ("available_at", "2030-01-01", "available_at"),
    ("available_at", datetime(2030, 1, 1), "available_at"),  # noqa: DTZ001 - naive is the point
    ("available_at", datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))), "available_at"),
    ("expires", datetime(2030, 1, 1), "expires"),  # noqa: DTZ001
    ("available_at", datetime.max.replace(tzinfo=UTC), "available_at"),
    ("available_at", datetime.min.replace(tzinfo=UTC), "available_at"),
    ("available_at", datetime(9999, 1, 1, tzinfo=UTC), "available_at"),
    ("expires_at", datetime(999, 12, 31, tzinfo=UTC), "expires_at"),
    ("expires", None, "expires"),
    ("expires", -5, "expires"),
    ("expires_at", 60, "expires_at"),
    ("ttl", -1, "ttl"),
    ("ttl", "week", "ttl"),
    ("max_attempts", 0, "max_attempts"),
    ("max_attempts", 10_001, "max_attempts"),
    ("max_attempts", 2.0, "max_attempts"),
    ("max_attempts", None, "max_attempts"),
    ("max_retries", -1, "max_retries"),
    ("max_retries", 10_000, "max_retries"),
    ("timeout", 0, "timeout"),
    ("timeout", -1, "timeout"),
    ("timeout", "0s", "timeout"),
    ("backoff", True, "backoff"),
    ("backoff", len, "backoff"),
    ("retry_delay", -1, "retry_delay"),
    ("retry_delay", None, "retry_delay"),
    ("name", "n" * 201, "name"),
    ("name", None, "name"),
    ("name", "line\nbreak", "name"),
    ("name", "\x1b[31mred", "name"),
    ("name", "\ud800", "name"),
    ("reference", "r" * 201, "reference"),
    ("reference", 42, "reference"),
    ("group", "g" * 101, "group"),
    ("group", "\u2028", "group"),
    ("tags", ["two words"], "tag"),
    ("tags", [""], "tag"),
    ("tags", [5], "tag"),
    ("tags", ["t" * 51], "tag"),
    ("tags", [f"{n:040d}" for n in range(6)], "tags"),
    ("tags", 5, "tags"),
    ("tags", None, "tags"),
    ("meta", [1], "meta"),
    ("meta", None, "meta"),
    ("source", "elsewhere", "source"),
    ("source", ["app"], "source"),
    ("source", None, "source"),
    ("expires_in", -1, "expires_in"),
    ("unique", 5, "unique"),
    ("unique", "k" * 201, "unique"),
    ("unique", {"keys": "k"}, "unique"),
    ("unique", {"mode": "forbid"}, "unique"),
    ("unique", {"mode": ["reject"]}, "unique"),
    ("unique", {"until": 0}, "unique"),
    ("unique", {"until": "stopped"}, "unique"),
    ("unique", {"mode": "throttle"}, "unique"),
    ("unique", {"mode": "replace", "until": 60}, "unique"),
    ("unique", {"mode": "debounce", "until": "1h"}, "unique"),
    ("middleware", 5, "middleware"),
    ("enabled", "no", "enabled"),
    ("environments", 5, "environments"),
    ("cancel_handler", "_private", "cancel_handler"),
    ("cancel_handler", "two words", "cancel_handler"),
    ("cancel_handler", ["bad key!", "undo"], "handler"),
    ("cancel_handler", 5, "cancel_handler"),
    ("queue", HostileItems(), "queue"),
    ("queue", 0, "queue"),
    ("queue", [], "queue"),
    ("cancel_handler", HostileItems(), "cancel_handler"),
    ("available_at", datetime(2030, 1, 1, tzinfo=HostileZone(None)), "available_at"),
    ("available_at", datetime(2030, 1, 1, tzinfo=HostileZone("east")), "available_at"),
    ("expires_at", datetime(2030, 1, 1, tzinfo=HostileZone(timedelta(days=2))), "expires_at"),
    ("expires", datetime(2030, 1, 1, tzinfo=HostileZone(None)), "expires"),
    ("tags", HostileItems(), "tags"),
    ("environments", HostileItems(), "environments"),
    ("meta", HostileItems(), "meta"),
    ("unique", HostileItems(), "unique"),
    ("unique", {"key": HostileItems()}, "unique"),
    ("unique", {"key": 0}, "unique"),
    ("backoff", HostileItems(), "backoff"),
    ("backoff", {"strategy": HostileItems()}, "backoff"),
]


def kind_of(part):
    return part if type(part) is str else type(part).__name__


@pytest.mark.parametrize(("option", "value", "field", "expected"), GOOD, ids=kind_of)
def test_a_good_option_gets_its_clean_value(option, value, field, expected):
    assert getattr(BLANK.with_(**{option: value}), field) == expected


@pytest.mark.parametrize(("option", "value", "named"), BAD, ids=kind_of)
def test_a_bad_option_is_refused_with_its_name(option, value, named):
    with pytest.raises(InvalidDefinition, match=f"^{named}: ") as caught:
        BLANK.with_(**{option: value})
    assert len(str(caught.value)) < 400
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("option", TEXTS)
@pytest.mark.parametrize("text", [Words.MAIL, HostileText("mail")], ids=["enum", "hostile"])
def test_a_text_of_a_kind_of_its_own_is_kept_as_a_plain_one(option, text):
    """Written into an envelope, a column or a message, another kind may come out as another text each time."""
    (kept,) = [kept] if isinstance(kept := getattr(BLANK.with_(**{option: text}), TEXTS[option]), str) else kept
    assert type(kept) is str
    assert kept == "mail"


def test_a_source_of_a_kind_of_its_own_is_kept_as_a_plain_one():
    assert type(BLANK.with_(source=Words.CLI).source) is str


def test_every_option_is_tested_good_and_bad():
    assert {case[0] for case in GOOD} == {case[0] for case in BAD} == OPTION_NAMES


def test_a_bad_priority_has_an_error_of_its_own():
    with pytest.raises(InvalidPriority):
        BLANK.with_(priority=1000)


def test_an_unknown_option_raises_type_error_and_names_the_known_ones():
    with pytest.raises(TypeError, match=r"'piority' is not an option of a job.*max_attempts.*priority"):
        BLANK.with_(piority=5)
    with pytest.raises(TypeError):
        BLANK.with_(payload=5)
    with pytest.raises(TypeError):
        BLANK.with_(fresh_id=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10", 10),
        ("10m", 600),
        ("10 min", 600),
        ("+1 hour", 3600),
        ("+1 hours", 3600),
        ("  + 2 Days ", 172_800),
        ("1.5h", 5400),
        ("90s", 90),
        ("30 secs", 30),
        ("1 week", 604_800),
        ("0", 0),
        (timedelta(days=1, microseconds=500_000), 86_400.5),
        (100 * 365 * 86400, 100 * 365 * 86400),
        (1.25, 1.25),
    ],
)
def test_durations_are_read_in_every_form(text, expected):
    assert seconds("delay", text) == expected


@pytest.mark.parametrize("text", ["", "m", "1 year", "10 m 5 s", "-5", "1e3", "٣", "10ms", "1..5h", "ss", "5 s s"])
def test_a_text_that_is_no_duration_is_refused(text):
    with pytest.raises(InvalidDefinition, match=r"^delay: "):
        seconds("delay", text)


@given(st.floats(0, 100 * 365 * 86400) | st.integers(0, 100 * 365 * 86400))
def test_numbers_are_seconds(number):
    assert seconds("delay", number) == float(number)


@given(st.text(max_size=30))
def test_any_text_is_a_duration_or_refused(text):
    with contextlib.suppress(InvalidDefinition):
        assert 0 <= seconds("delay", text) <= 100 * 365 * 86400


def test_a_naive_datetime_is_local_time_where_the_site_has_no_zones(settings):
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Kolkata"
    naive = datetime(2030, 1, 1, 12, 0)  # noqa: DTZ001 - naive is the point
    assert BLANK.with_(available_at=naive).available_at == datetime(2030, 1, 1, 6, 30, tzinfo=UTC)


def test_an_expiry_is_a_moment_or_counts_from_the_enqueue_and_the_last_one_given_holds():
    relative = BLANK.with_(expires=MOMENT).with_(expires="1 hour")
    assert (relative.expires_at, relative.expires_in) == (None, 3600)
    absolute = relative.with_(expires=MOMENT)
    assert (absolute.expires_at, absolute.expires_in) == (MOMENT, None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (True, Unique()),
        ("k", Unique("k")),
        ({"key": "k", "until": "started"}, Unique("k", "started")),
        ({"until": "10m", "mode": "throttle"}, Unique("", 600.0, "throttle")),
        (Unique("k", 60, "reject"), Unique("k", 60.0, "reject")),
        (False, None),
        (None, None),
    ],
)
def test_what_makes_a_job_unique_is_read_in_every_form(given, expected):
    assert BLANK.with_(unique=given).unique == expected


def test_a_definition_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        BLANK.queue = "other"
    changed = BLANK.with_(queue="other", priority=5)
    assert (changed.queue, changed.priority) == ("other", 5)
    assert BLANK.queue is UNSET
    assert BLANK.priority is UNSET


def test_defaults_fill_gaps_only():
    given = BLANK.with_(timeout=None, max_attempts=2)
    filled = given.changed(given.gaps({"timeout": 5, "max_attempts": 9, "priority": 3, "name": "never"}))
    assert (filled.timeout, filled.max_attempts, filled.priority, filled.name) == (None, 2, 3, "")
    assert filled.queue is UNSET
    assert given.gaps({}) == {}


def test_unset_is_false_and_says_so():
    assert not UNSET
    assert repr(UNSET) == "UNSET"


def test_a_builder_sets_every_option_and_leaves_its_origin_alone():
    first = Jobs.define("trial.noop", {"a": 1})
    steps = [
        first,
        first.id(SOME_ID),
        first.queue("mail"),
        first.using("other"),
        first.named("n"),
        first.reference("r"),
        first.group("g"),
        first.tag("a", "b"),
        first.meta(k=1),
        first.source("cron"),
        first.priority(5),
        first.delay("10m"),
        first.scheduled_at(MOMENT),
        first.expires(MOMENT),
        first.ttl(5),
        first.max_attempts(4),
        first.max_retries(4),
        first.timeout(None),
        first.backoff("fixed", base=1),
        first.backoff([1, 2]),
        first.retry_delay(5),
        first.unique("k"),
        first.enabled(False),
        first.environments("staging"),
        first.middleware("app.mw.trace"),
        first.on_cancel("undo"),
        first.with_options(name="x", delay=1),
    ]
    definitions = [builder.to_definition() for builder in steps]
    assert definitions[0] == JobDefinition(handler="trial.noop", payload={"a": 1})
    assert first.to_definition() == definitions[0]
    assert all(d != definitions[0] for d in definitions[1:])
    d = dict(
        zip(
            [
                "_",
                "id",
                "queue",
                "using",
                "named",
                "reference",
                "group",
                "tag",
                "meta",
                "source",
                "priority",
                "delay",
                "at",
            ],
            definitions,
            strict=False,
        )
    )
    assert d["id"].id == SOME_ID
    assert (d["queue"].queue, d["using"].backend, d["named"].name) == ("mail", "other", "n")
    assert (d["reference"].reference, d["group"].group, d["tag"].tags) == ("r", "g", ("a", "b"))
    assert (d["meta"].meta, d["source"].source, d["priority"].priority) == ({"k": 1}, "cron", 5)
    assert (d["delay"].delay, d["at"].available_at) == (600, MOMENT)
    expires, ttl, attempts, retries, timeout, fixed, table, retry_delay, *others, options = definitions[13:]
    assert (expires.expires_at, ttl.ttl, attempts.max_attempts, retries.max_attempts) == (MOMENT, 5, 4, 5)
    assert (timeout.timeout, options.name, options.delay) == (None, "x", 1)
    assert fixed.backoff == {"strategy": "fixed", "base": 1}
    assert table.backoff == {"strategy": "table", "delays": [1, 2]}
    assert retry_delay.backoff == EXPONENTIAL
    unique, enabled, environments, middleware, on_cancel = others
    assert (unique.unique, enabled.enabled, environments.environments) == (Unique("k"), False, ("staging",))
    assert (middleware.middleware, on_cancel.cancel_handler) == (("app.mw.trace",), "undo")


def test_two_builders_from_one_do_not_share_tags_or_meta():
    base = Jobs.define("trial.noop").tag("base").meta(a=1)
    one, other = base.tag("one").meta(b=2), base.tag("other")
    assert one.to_definition().tags == ("base", "one")
    assert other.to_definition().tags == ("base", "other")
    assert base.to_definition().meta == other.to_definition().meta == {"a": 1}
    assert one.to_definition().meta == {"a": 1, "b": 2}


def test_a_builder_refuses_bad_values_at_the_step_that_sets_them():
    with pytest.raises(InvalidPriority):
        Jobs.define("trial.noop").priority(1000)
    with pytest.raises(InvalidDefinition, match=r"^handler: "):
        Jobs.define("no spaces please")
    with pytest.raises(TypeError):
        Jobs.define("trial.noop").with_options(colour="red")


def test_a_builder_shows_its_handler_and_not_its_payload():
    assert repr(Jobs.define("trial.noop", "secret")) == "<JobBuilder 'trial.noop'>"


def test_a_definition_made_by_hand_is_checked_before_it_is_used():
    for bad in (
        *({"priority": 1000}, {"queue": "NO"}, {"name": "n" * 500}, {"max_attempts": 0}, {"source": '"'}),
        *({"max_attempts": None}, {"priority": None}, {"delay": None}, {"name": None}, {"tags": None}, {"meta": None}),
    ):
        with pytest.raises(InvalidDefinition):
            definition_of(JobDefinition(handler="trial.noop", **bad))
    with pytest.raises(InvalidDefinition, match=r"^handler: "):
        definition_of(JobDefinition(handler='a"b'))
    with pytest.raises(TypeError):
        definition_of("trial.noop")
    good = JobDefinition(handler="trial.noop", id=SOME_ID, queue="mail", timeout=None, tags=("a",), meta={"a": 1})
    assert definition_of(good) == good
    assert definition_of(JobBuilder(good)) is good
    assert type(definition_of(JobDefinition(handler=Words.MAIL)).handler) is str
