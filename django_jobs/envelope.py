"""The stored form of a definition: canonical JSON with a signature over its very bytes.

What changes a job's meaning is in the body, and so signed: id, queue, handler, payload, names, budgets, timeout,
expiry, options and meta. Not in it: priority, due time and counters, which operators and workers change.

The signature is `<key id>:<HMAC-SHA256 in hex>`. The key id tells which key of the ring made it, so that keys rotate
without draining: put the new one in `JOBS_SIGNING_KEY` and the old one in `JOBS_SIGNING_KEY_FALLBACKS`.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from operator import attrgetter, is_
from typing import Any, NamedTuple

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.serializers.json import DjangoJSONEncoder
from django.core.signals import setting_changed
from django.utils.encoding import force_bytes

from .conf import conf
from .definition import BLANK, LONGEST_SECONDS, NO_META, UNSET, JobDefinition
from .exceptions import BadSignature, CorruptEnvelope, PayloadNotSerializable, PayloadTooLarge
from .names import shown
from .unique import Unique

VERSION = 1
MAX_DEPTH = 100
_ENCODER = DjangoJSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class Envelope(NamedTuple):
    """A sealed definition: its JSON and the signature over it."""

    body: str
    signature: str


# -- JSON ---------------------------------------------------------------------------------------------------


def to_json(field: str, value: Any) -> str:
    """`value` as JSON text that decodes to the same value.

    Dates, times, durations, decimals, UUIDs and lazy texts become texts, as Django's own encoder has it; tuples become
    lists. Raises `PayloadNotSerializable` that names the place, for: NaN and infinity, keys that are not texts, lone
    surrogates, whole numbers over 4,300 digits, nesting over 100 levels, and objects that JSON does not know.
    """
    try:
        _check_containers(field, value, 0)
        text = _ENCODER.encode(value)
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        raise PayloadNotSerializable(
            f"{field}: a text holds a lone surrogate, which is no character. Take it out."
        ) from None
    except PayloadNotSerializable:
        raise
    except Exception as error:  # of JSON's own, or what the methods of an object raise
        raise PayloadNotSerializable(f"{field}: {_said(error)}. Give JSON values; for an object, its id.") from None
    return text


def _said(error: Exception) -> str:
    """What an error of the encoder says; of any other, also what it is."""
    kind = type(error)
    try:
        return str(error) if kind in (TypeError, ValueError, RecursionError) else f"{kind.__name__}: {error}"
    except Exception:
        return kind.__name__


def _check_containers(path: str, value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise PayloadNotSerializable(f"{path[:200]}: nested deeper than {MAX_DEPTH} levels. Flatten it.")
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str:
                raise PayloadNotSerializable(
                    f"{path[:200]}: the key {shown(key)} is a {type(key).__name__}. JSON has texts as keys; use str()."
                )
            if isinstance(item, dict | list | tuple):
                _check_containers(f"{path}.{key}", item, depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            if isinstance(item, dict | list | tuple):
                _check_containers(f"{path}[{index}]", item, depth + 1)


# -- keys ---------------------------------------------------------------------------------------------------


class _Key(NamedTuple):
    id: str
    mac: hmac.HMAC
    """Keyed already: a copy of it signs in half the time."""

    def digest(self, body: bytes) -> str:
        mac = self.mac.copy()
        mac.update(body)
        return mac.hexdigest()


@lru_cache(maxsize=1)
def _ring() -> tuple[_Key, dict[str, _Key]]:
    """The key that signs, and every key that is known by its id."""
    if isinstance(conf.signing_key_fallbacks, str | bytes):
        raise ImproperlyConfigured("JOBS_SIGNING_KEY_FALLBACKS must be a list of keys, not one text.")
    own = [conf.signing_key, *conf.signing_key_fallbacks]
    secrets = [secret for secret in (*own, settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS) if secret]
    if not secrets:
        raise ImproperlyConfigured("No key to sign jobs with. Set JOBS_SIGNING_KEY or SECRET_KEY.")
    keys = []
    for secret in secrets:
        derived = hmac.digest(force_bytes(secret), b"django_jobs.envelope", "sha256")
        keys.append(_Key(sha256(b"id" + derived).hexdigest()[:8], hmac.new(derived, digestmod="sha256")))
    return keys[0], {key.id: key for key in reversed(keys)}


def _forget(*, setting: str, **_: Any) -> None:
    if "KEY" in setting:
        _ring.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_jobs.envelope")


def sign(body: str) -> str:
    """The signature of `body` with the newest key."""
    key, _ = _ring()
    return f"{key.id}:{key.digest(body.encode())}"


def verify(body: str, signature: str) -> None:
    """Raise `BadSignature` unless a key of the ring made `signature` over `body`. Takes constant time."""
    _, known = _ring()
    key_id, _, digest = signature.partition(":")
    key = known.get(key_id)
    if key is None:
        raise BadSignature("signed with a key that is not known here" if digest else "not signed")
    expected = key.digest(body.encode("utf-8", "replace"))
    if not (digest.isascii() and hmac.compare_digest(expected, digest)):
        raise BadSignature("the signature does not match")


# -- sealing and opening --------------------------------------------------------------------------------------


def seal(definition: JobDefinition) -> Envelope:
    """The signed envelope of a definition that is whole: no option UNSET, and with an id.

    Raises `PayloadNotSerializable` and `PayloadTooLarge` (over `JOBS_MAX_PAYLOAD_BYTES`, for payload and meta each).
    """
    return next(seal_many([definition]))


def seal_many(definitions: Iterable[JobDefinition]) -> Iterator[Envelope]:
    """`seal` of each. What a definition has in common with the one before is not written anew."""
    global _latest
    common, head, tail = _latest
    kin: JobDefinition | None = None
    for definition in definitions:
        if definition.kin is None or definition.kin is not kin:
            now, kin = _common(definition), definition.kin
            if not all(map(is_, now, common)):
                common, head, tail = now, _head(definition.handler, definition.queue), _tail(definition)
                if definition.meta is NO_META:  # what is in another may change until the next call
                    _latest = common, head, tail
        body = f'{{"v":{VERSION},"id":"{definition.id}"{head}{_bounded("payload", definition.payload)}{tail}'
        yield Envelope(body, sign(body))


_WHERE_GIVEN = ("name", "reference", "group", "tags", "middleware", "cancel_handler")
_common = attrgetter(
    *("handler", "queue", "max_attempts", "timeout", "backoff", "ttl", "expires_at", "expires_in", "source", "meta"),
    *("unique", "schema_version", *_WHERE_GIVEN),
)
_latest: tuple[Sequence[Any], str, str] = ((object(),), "", "")
"""What the newest definition has in common with others of its kind, and what is written of that."""


def _head(handler: str, queue: str) -> str:
    """What stands between the id and the payload in a definition's body."""
    return f',"handler":"{handler}","queue":"{queue}","payload":'


def _tail(definition: JobDefinition) -> str:
    """What stands after the payload in a definition's body."""
    tail = [f',"max_attempts":{definition.max_attempts},"timeout":{json.dumps(definition.timeout)}']
    if definition.backoff:
        tail.append(f'"backoff":{to_json("backoff", definition.backoff)}')
    if definition.ttl is not UNSET:
        tail.append(f'"ttl":{json.dumps(definition.ttl)}')
    if definition.expires_at is not None:
        tail.append(f'"expires_at":{definition.expires_at.timestamp()!r}')
    if definition.expires_in is not None:
        tail.append(f'"expires_in":{definition.expires_in!r}')
    tail += [f'"{field}":{to_json(field, value)}' for field in _WHERE_GIVEN if (value := getattr(definition, field))]
    if definition.unique:
        tail.append(f'"unique":{to_json("unique", [*astuple(definition.unique)])}')
    if definition.schema_version != 1:
        tail.append(f'"schema_version":{definition.schema_version}')
    if definition.meta:
        tail.append(f'"meta":{_bounded("meta", definition.meta)}')
    if definition.source != "app":
        tail.append(f'"source":"{definition.source}"')
    return ",".join(tail) + "}"


def _bounded(field: str, value: Any) -> str:
    text = to_json(field, value)
    limit = conf.max_payload_bytes
    if len(text) * 4 > limit and (size := len(text.encode())) > limit:
        raise PayloadTooLarge(
            f"{field}: {size:,} bytes of JSON, and JOBS_MAX_PAYLOAD_BYTES is {limit:,}. "
            "Store it elsewhere and pass its id."
        )
    return text


def unique_key(definition: JobDefinition) -> str | None:
    """What must be unique, as 64 characters that are the same in every collation; None where nothing must.

    The first one tells what frees the key: (s)tarted, (f)inished, or the end of a (p)eriod.
    """
    unique = definition.unique
    if not unique:
        return None
    what = ["key", unique.key] if unique.key else ["payload", json.loads(to_json("payload", definition.payload))]
    text = json.dumps([definition.handler, *what], sort_keys=True)
    kind = "p" if unique.period is not None else str(unique.until)[0]
    return kind + sha256(text.encode()).hexdigest()[:63]


def unseal(body: str, signature: str, *, id: str, queue: str, handler: str) -> JobDefinition:  # noqa: A002
    """The definition in a stored envelope, which must be the envelope of the job with this id, queue and handler.

    Raises `BadSignature` (not where `JOBS_VERIFY_SIGNATURES` is False) and `CorruptEnvelope`.
    """
    if conf.verify_signatures:
        verify(body, signature)
    # Most jobs differ from others in their id and payload alone: of those, only the payload is read.
    head = f'{{"v":{VERSION},"id":"{id}"{_head(handler, queue)}'
    payload, rest = _payload_after(head, body)
    if (kind := _kinds.get((handler, queue, rest))) is not None:
        return kind.changed({"id": id, "payload": payload})
    definition = decode(body)
    if (definition.id, definition.queue, definition.handler) != (id, queue, handler):
        raise CorruptEnvelope("the envelope is of another job: its id, queue or handler differ from the row's")
    if rest and not definition.meta and rest == _tail(definition):  # a handler may change what is in its meta
        if len(_kinds) >= MOST_KINDS:
            _kinds.clear()
        _kinds[handler, queue, rest] = definition.changed({"id": None, "payload": None})
    return definition


MOST_KINDS = 1000
_kinds: dict[tuple[str, str, str], JobDefinition] = {}
"""Definitions without id and payload, by handler, queue, and what follows the payload in their bodies."""
_DECODER = json.JSONDecoder()


def _payload_after(head: str, body: str) -> tuple[Any, str]:
    """The value that follows `head` in `body`, and the rest; the rest is empty where `body` is of another form."""
    if body.startswith(head):
        try:
            payload, end = _DECODER.raw_decode(body, len(head))
        except (ValueError, RecursionError):
            return None, ""
        return payload, body[end:]
    return None, ""


def decode(body: str) -> JobDefinition:
    """The definition in an envelope's body, not verified. Raises `CorruptEnvelope`."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise CorruptEnvelope(f"the envelope is not JSON: {str(error)[:200]}") from None
    try:
        if data["v"] != VERSION:
            raise CorruptEnvelope(f"envelope version {str(data['v'])[:20]!r} is not known here")
        return _definition(data)
    except (KeyError, TypeError, ValueError, OverflowError, OSError, AttributeError) as error:
        raise CorruptEnvelope(f"the envelope lacks or garbles a field: {error!r:.200}") from None


_READ = BLANK.changed({"unique": None})
_REQUIRED = frozenset(("v", "id", "handler", "queue", "payload", "max_attempts", "timeout"))
_OPTIONAL: Mapping[str, Callable[[Any], Any]] = {
    "backoff": lambda value: value,
    "ttl": lambda value: value,
    "expires_at": lambda value: datetime.fromtimestamp(value, UTC),
    "expires_in": float,
    "name": lambda value: value,
    "reference": lambda value: value,
    "group": lambda value: value,
    "tags": tuple,
    "meta": lambda value: value,
    "source": lambda value: value,
    "unique": lambda value: Unique(*value),
    "schema_version": int,
    "middleware": tuple,
    "cancel_handler": lambda value: value,
}


def _definition(data: Mapping[str, Any]) -> JobDefinition:
    timeout, max_attempts = data["timeout"], data["max_attempts"]
    usable = timeout is None or (type(timeout) in (int, float) and 0 < timeout <= LONGEST_SECONDS)
    if type(max_attempts) is not int or not usable:
        raise TypeError("max_attempts or timeout")
    read = {
        "handler": data["handler"],
        "payload": data["payload"],
        "id": data["id"],
        "queue": data["queue"],
        "max_attempts": max_attempts,
        "timeout": timeout,
        "backoff": None,
    }
    for name in data.keys() - _REQUIRED:
        if name in _OPTIONAL:  # what a newer release has added means nothing here
            read[name] = _OPTIONAL[name](data[name])
    return _READ.changed(read)
