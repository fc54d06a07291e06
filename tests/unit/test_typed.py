"""Typed payloads: what a `payload_type` accepts at dispatch, and what a handler then gets."""

import dataclasses
import datetime as dt
import decimal
import enum
import json
import uuid

import attrs
import msgspec
import pytest

from django_jobs import JobHandler, Jobs
from django_jobs.exceptions import InvalidHandler, PayloadValidationError
from django_jobs.handlers import typed
from tests.support.jobs import make_claim, run


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Line:
    sku: str
    count: int = 1


@dataclasses.dataclass
class Order:
    id: uuid.UUID
    lines: list[Line]
    total: decimal.Decimal
    at: dt.datetime
    colour: Colour | None = None
    gift: Line | None = None
    notes: dict[str, Line] = dataclasses.field(default_factory=dict)


class Structured(msgspec.Struct):
    name: str


@attrs.define
class Attributed:
    name: str


ID = uuid.UUID("01900000-0000-7000-8000-000000000001")
AT = dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
ORDER = Order(ID, [Line("a"), Line("b", 2)], decimal.Decimal("1.10"), AT, Colour.RED, Line("g"), {"x": Line("c")})
PLAIN = {
    "id": str(ID),
    "lines": [{"sku": "a", "count": 1}, {"sku": "b", "count": 2}],
    "total": "1.10",
    "at": "2030-01-02T03:04:05Z",
    "colour": "red",
    "gift": {"sku": "g", "count": 1},
    "notes": {"x": {"sku": "c", "count": 1}},
}


class Ship(JobHandler):
    payload_type = Order
    seen = None

    def handle(self, ctx):
        type(self).seen = ctx.payload
        return ctx.payload.lines[1].count


@pytest.mark.parametrize("given", [ORDER, PLAIN])
def test_a_payload_becomes_an_instance_of_its_type(handlers, given):
    handlers({"unit.ship": Ship})
    stored = json.loads(json.dumps(Ship.clean_payload(given)))
    assert stored == PLAIN
    assert run(make_claim("unit.ship", stored)).result == "2"
    assert Ship.seen == ORDER


@pytest.mark.parametrize(("kind", "instance"), [(Structured, Structured("n")), (Attributed, Attributed("n"))])
def test_structs_and_attrs_classes_are_types_too(kind, instance):
    assert typed.dump(kind, instance, allow_extra=False) == {"name": "n"}
    assert typed.load(kind, {"name": "n"}, allow_extra=False) == instance


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"id": None}, r"\$\.id"),
        ({"id": "no uuid"}, r"\$\.id"),
        ({"lines": [{"count": 1}]}, r"sku"),
        ({"lines": [{"sku": 5}]}, r"\$\.lines\[0\]\.sku"),
        ({"total": "much"}, r"\$\.total"),
        ({"at": "yesterday"}, r"\$\.at"),
        ({"colour": "blue"}, r"\$\.colour"),
        ({"extra": 1}, r"^payload\.extra: Order has no such field"),
        ({"lines": [{"sku": "a", "colour": "red"}]}, r"^payload\.lines\[0\]\.colour"),
        ({"gift": {"sku": "a", "wrap": True}}, r"^payload\.gift\.wrap"),
        ({"notes": {"x": {"sku": "a", "wrap": True}}}, r"^payload\.notes\.x\.wrap"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_with_its_place(handlers, change, named):
    handlers({"unit.ship": Ship})
    bad = {**PLAIN, **change}
    with pytest.raises(PayloadValidationError, match=named):
        Ship.clean_payload(bad)
    outcome = run(make_claim("unit.ship", bad, max_attempts=5))
    assert outcome.kind == "failed", "trying again can't help"
    assert outcome.error.class_path.endswith("PayloadValidationError")


def test_a_missing_field_is_named(handlers):
    handlers({"unit.ship": Ship})
    with pytest.raises(PayloadValidationError, match="`total`"):
        Jobs.define("unit.ship", {k: v for k, v in PLAIN.items() if k != "total"}).dispatch()


def test_keys_beyond_the_type_are_taken_where_the_handler_allows_them():
    assert typed.load(Line, {"sku": "a", "more": 1}, allow_extra=True) == Line("a")


@pytest.mark.parametrize("payload", [None, 5, "text", [], object()])
def test_what_is_no_mapping_is_refused(payload):
    with pytest.raises(PayloadValidationError):
        typed.dump(Line, payload, allow_extra=False)


def test_a_type_that_can_not_be_one_is_the_handlers_mistake():
    with pytest.raises(InvalidHandler, match="payload_type"):
        typed.load(lambda: None, {}, allow_extra=False)


class Leaf(msgspec.Struct, tag=True):
    below: "Leaf | Branch | None" = None


class Branch(msgspec.Struct, tag=True):
    below: "Leaf | Branch | None" = None


def test_a_deep_payload_of_tagged_types_is_looked_at_once():
    """By its tag. A look into every member of a union at every level would never end."""
    payload = None
    for kind in ["Leaf", "Branch"] * 40:
        payload = {"type": kind, "below": payload}
    assert isinstance(typed.load(Leaf | Branch, payload, allow_extra=False), Branch)
    with pytest.raises(PayloadValidationError, match=r"payload\.below\.more: "):
        typed.load(Leaf | Branch, {"type": "Leaf", "below": {"type": "Branch", "more": 1}}, allow_extra=False)
    with pytest.raises(PayloadValidationError, match="Invalid value 'Root'"):
        typed.load(Leaf | Branch, {"type": "Root", "below": None}, allow_extra=False)
