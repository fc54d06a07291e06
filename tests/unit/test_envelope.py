import contextlib
import dataclasses
import datetime as dt
import decimal
import hashlib
import hmac
import json
import uuid

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import lazystr
from hypothesis import given
from hypothesis import strategies as st

from django_jobs.definition import UNSET
from django_jobs.envelope import decode, seal, seal_many, sign, to_json, unseal, verify
from django_jobs.exceptions import BadSignature, CorruptEnvelope, PayloadNotSerializable, PayloadTooLarge
from tests.support.jobs import whole

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
MOMENTS = st.datetimes(dt.datetime(1971, 1, 1), dt.datetime(2200, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001


def opened(definition, envelope=None, **other):
    body, signature = envelope or seal(definition)
    facts = {"id": definition.id, "queue": definition.queue, "handler": definition.handler} | other
    return unseal(body, signature, **facts)


def plain(definition):
    """What an envelope keeps: priority and due time are columns."""
    return dataclasses.replace(definition, priority=UNSET, delay=UNSET, available_at=None, backend=UNSET)


@given(JSON)
def test_a_json_payload_comes_back_as_it_was(payload):
    assert repr(opened(whole(payload=payload)).payload) == repr(payload)


@given(st.lists(st.tuples(st.sampled_from(["", "a"]), st.sampled_from([1, 2]), JSON), max_size=6))
def test_many_are_sealed_as_each_alone(kinds):
    definitions = [whole(name=name, max_attempts=attempts, payload=payload) for name, attempts, payload in kinds]
    definitions += [d.changed({"payload": 1}) for d in definitions]
    assert list(seal_many(definitions)) == [seal(d) for d in definitions]


@given(
    st.dictionaries(TEXT, JSON, max_size=3),
    st.none() | st.floats(0.001, 1e9),
    st.integers(1, 10_000),
    st.just(UNSET) | st.none() | st.integers(0, 10**9),
    st.none() | MOMENTS,
    st.none() | st.just({"strategy": "table", "delays": [1, 2.5]}),
    TEXT,
    st.sampled_from(["app", "cron", "callback", "retry", "cli"]),
)
def test_a_definition_comes_back_as_it_was(meta, timeout, max_attempts, ttl, expires_at, backoff, label, source):
    definition = whole(
        meta=meta,
        timeout=timeout,
        max_attempts=max_attempts,
        ttl=ttl,
        expires_at=expires_at,
        backoff=backoff,
        name=label,
        reference=label,
        group=label,
        tags=(label,) if label else (),
        source=source,
    )
    assert opened(definition) == plain(definition)


@given(JSON)
def test_the_body_is_json_that_other_programs_read(payload):
    definition = whole(payload=payload, name='"', meta={"k": payload})
    data = json.loads(seal(definition).body)
    assert (data["id"], data["payload"], data["meta"]) == (definition.id, payload, {"k": payload})


def test_what_operators_change_is_not_in_the_body():
    body = seal(whole(priority=99, delay=12345)).body
    assert "priority" not in body
    assert "12345" not in body


def test_values_that_django_knows_become_texts():
    now = dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    some_id = uuid.uuid4()
    value = [now, now.date(), dt.timedelta(hours=1), decimal.Decimal("1.10"), some_id, lazystr("late"), (1, 2)]
    expected = ["2030-01-02T03:04:05Z", "2030-01-02", "P0DT01H00M00S", "1.10", str(some_id), "late", [1, 2]]
    assert json.loads(to_json("payload", value)) == expected


def nested(levels):
    value = None
    for n in range(levels):
        value = [value] if n % 2 else {"k": value}
    return value


class HostileDict(dict):
    def items(self):
        raise RuntimeError("nothing of me")


class HostileZone(dt.tzinfo):
    def utcoffset(self, when):
        raise RuntimeError("nowhere")


class HostileError(RuntimeError):
    def __str__(self):
        raise RuntimeError("no text of me")


class HostileNumber(decimal.Decimal):
    def __str__(self):
        raise HostileError


def cyclic():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "payload",
    [
        float("nan"),
        [float("inf")],
        {"a": -float("inf")},
        "\ud800",
        {"\udfff": 1},
        {1: 2},
        {"a": [{None: 1}]},
        {True: 1},
        {("a",): 1},
        {uuid.uuid4(): 1},
        {1, 2},
        b"bytes",
        object(),
        iter([]),
        1j,
        10**5000,
        [-(10**5000)],
        nested(102),
        nested(50_000),
        cyclic(),
        dt.time(1, 2, tzinfo=dt.UTC),
        HostileDict(a=1),
        dt.datetime(2030, 1, 1, tzinfo=HostileZone()),
        HostileNumber(5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_carry_is_refused(payload):
    with pytest.raises(PayloadNotSerializable, match=r"^payload"):
        seal(whole(payload=payload))
    with pytest.raises(PayloadNotSerializable, match=r"^meta"):
        seal(whole(meta={"in": payload}))


def test_a_refusal_says_what_an_objects_own_methods_raise():
    with pytest.raises(PayloadNotSerializable, match=r"^payload: RuntimeError: nothing of me\. "):
        to_json("payload", HostileDict(a=1))
    with pytest.raises(PayloadNotSerializable, match=r"^payload: HostileError\. "):
        to_json("payload", HostileNumber(5))


def test_a_refusal_names_the_place():
    with pytest.raises(PayloadNotSerializable, match=r"^payload\.a\[1\]: the key '7' is a int"):
        to_json("payload", {"a": [0, {7: 1}]})


def test_a_hundred_levels_are_accepted():
    assert opened(whole(payload=nested(101))).payload == nested(101)


def test_a_number_of_four_thousand_digits_is_accepted():
    assert opened(whole(payload=10**4000)).payload == 10**4000


def test_sizes_count_in_bytes_of_json(settings):
    settings.JOBS_MAX_PAYLOAD_BYTES = 100
    seal(whole(payload="a" * 98))
    with pytest.raises(PayloadTooLarge, match=r"^payload: 101 bytes of JSON, and JOBS_MAX_PAYLOAD_BYTES is 100"):
        seal(whole(payload="a" * 99))
    seal(whole(payload="é" * 49))
    with pytest.raises(PayloadTooLarge):
        seal(whole(payload="é" * 50))
    with pytest.raises(PayloadTooLarge, match=r"^meta"):
        seal(whole(meta={"k": "a" * 100}))


def test_a_changed_body_is_refused():
    definition = whole(payload={"user": 1})
    body, signature = seal(definition)
    for forged in (body.replace('"user":1', '"user":2'), body + " ", body[:-1], "", "\ud800"):
        with pytest.raises(BadSignature):
            opened(definition, (forged, signature))


@given(st.text(max_size=90))
def test_any_other_signature_is_refused(signature):
    definition = whole()
    body, good = seal(definition)
    if signature != good:
        with pytest.raises(BadSignature):
            opened(definition, (body, signature))


@pytest.mark.parametrize("change", ["", "é" * 64, "\ud800", "0" * 64, "☕"])
def test_a_signature_with_the_right_key_and_a_wrong_digest_is_refused(change):
    definition = whole()
    body, good = seal(definition)
    with pytest.raises(BadSignature):
        opened(definition, (body, good.partition(":")[0] + ":" + change))


@pytest.mark.parametrize(
    "other", [{"id": "01900000-0000-7000-8000-0000000000aa"}, {"queue": "other"}, {"handler": "other"}]
)
def test_an_envelope_serves_only_its_own_job(other):
    with pytest.raises(CorruptEnvelope, match="of another job"):
        opened(whole(), **other)


def test_keys_rotate_without_draining(settings):
    settings.JOBS_SIGNING_KEY = "old"
    definition = whole()
    envelope = seal(definition)
    settings.JOBS_SIGNING_KEY = "new"
    with pytest.raises(BadSignature, match="not known"):
        opened(definition, envelope)
    settings.JOBS_SIGNING_KEY_FALLBACKS = ["older", "old"]
    assert opened(definition, envelope) == plain(definition)
    newly = seal(definition)
    assert newly.signature != envelope.signature
    settings.JOBS_SIGNING_KEY_FALLBACKS = []
    assert opened(definition, newly) == plain(definition)


def test_a_site_without_a_key_of_its_own_signs_with_its_secret_key(settings):
    settings.SECRET_KEY = "one"
    definition = whole()
    envelope = seal(definition)
    settings.SECRET_KEY = "two"
    with pytest.raises(BadSignature):
        opened(definition, envelope)
    settings.SECRET_KEY_FALLBACKS = ["one"]
    assert opened(definition, envelope) == plain(definition)
    settings.SECRET_KEY_FALLBACKS = []
    settings.SECRET_KEY = "one"
    settings.JOBS_SIGNING_KEY = "own"
    assert opened(definition, envelope) == plain(definition), "a new signing key keeps the old jobs good"
    assert seal(definition).signature != envelope.signature


def test_no_key_at_all_is_an_error(settings):
    settings.SECRET_KEY_FALLBACKS = []
    settings.JOBS_SIGNING_KEY = None
    settings.SECRET_KEY = ""
    with pytest.raises(ImproperlyConfigured):
        sign("{}")


def test_the_secret_key_itself_is_not_the_signing_key(settings):
    settings.SECRET_KEY = "one"
    settings.JOBS_SIGNING_KEY = None
    assert hmac.new(b"one", b"{}", hashlib.sha256).hexdigest() not in sign("{}")


def test_unsigned_envelopes_are_read_only_where_the_site_says_so(settings):
    definition = whole()
    body, _ = seal(definition)
    with pytest.raises(BadSignature, match="not signed"):
        opened(definition, (body, ""))
    settings.JOBS_VERIFY_SIGNATURES = False
    assert opened(definition, (body, "")) == plain(definition)
    with pytest.raises(CorruptEnvelope):
        opened(definition, (body, ""), queue="other")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "nonsense",
        "null",
        "[]",
        "5",
        '"v"',
        "{}",
        '{"v":1}',
        '{"v":2}',
        "[" * 100_000,
        '{"v":1,"id":' + "9" * 5000 + "}",
    ],
)
def test_what_is_no_envelope_is_corrupt(body):
    with pytest.raises(CorruptEnvelope):
        decode(body)


@given(
    st.sampled_from(list(json.loads(seal(whole(meta={"a": 1}, tags=("a",), expires_at=dt.datetime.now(dt.UTC))).body))),
    JSON,
)
def test_any_value_in_any_field_is_read_or_corrupt(field, value):
    data = json.loads(seal(whole(meta={"a": 1}, tags=("a",), expires_at=dt.datetime.now(dt.UTC))).body)
    data[field] = value
    try:
        definition = decode(json.dumps(data))
    except CorruptEnvelope:
        return
    assert type(definition.max_attempts) is int
    assert definition.timeout is None or type(definition.timeout) in (int, float)


@given(st.integers() | st.floats() | st.sampled_from([1e20, -1e20, 10**400, 253402300800]))
def test_any_number_as_an_expiry_is_read_or_corrupt(moment):
    data = json.loads(seal(whole()).body) | {"expires_at": moment}
    with contextlib.suppress(CorruptEnvelope):
        assert decode(json.dumps(data)).expires_at.tzinfo is dt.UTC


def test_verify_takes_what_sign_made():
    verify("any text é", sign("any text é"))
    with pytest.raises(BadSignature):
        verify("another", sign("any text é"))


def test_jobs_of_one_kind_share_nothing_that_a_handler_may_change():
    definition = whole(payload={"list": []}, meta={"list": []})
    first = opened(definition)
    first.payload["list"].append(1)
    first.meta["list"].append(1)
    again = opened(definition)
    assert (again.payload, again.meta) == ({"list": []}, {"list": []})


@pytest.mark.parametrize("ending", [',"payload":2,"max_attempts":1,"timeout":5}', ',"max_attempts":7,"timeout":5.0 }'])
def test_a_body_of_another_form_is_read_as_json_has_it(ending, settings):
    settings.JOBS_VERIFY_SIGNATURES = False
    definition = whole(payload=1, max_attempts=1, timeout=5)
    assert opened(definition).payload == 1  # its kind is known now
    head, tail = ',"payload":1', ',"max_attempts":1,"timeout":5}'
    body = seal(definition).body
    assert body.endswith(head + tail)
    forged = body.removesuffix(tail) + ending
    for _ in range(2):
        read = opened(definition, (forged, ""))
        assert (read.payload, read.max_attempts) == (json.loads(forged)["payload"], json.loads(forged)["max_attempts"])


def test_any_number_of_kinds_can_be_read(monkeypatch):
    monkeypatch.setattr("django_jobs.envelope.MOST_KINDS", 2)
    definitions = [whole(payload=n, name=f"n{n}") for n in range(5)]
    assert [opened(d).payload for d in definitions * 2] == [*range(5)] * 2


def test_what_is_derived_of_a_copy_is_sealed_by_what_it_is() -> None:
    """Copies know that they differ from each other in id and payload alone; what is made of one may differ in more."""
    ids = [f"0198c5cb-9c2b-7a0e-a0f5-00000000000{n}" for n in range(3)]
    first, second, third = whole().copies([1, 2, 3], ids)
    other = second.with_(queue="elsewhere")
    bodies = [json.loads(sealed.body) for sealed in seal_many([first, other, third])]
    assert [(body["queue"], body["payload"], body["id"]) for body in bodies] == [
        (first.queue, 1, ids[0]),
        ("elsewhere", 2, ids[1]),
        (first.queue, 3, ids[2]),
    ]
