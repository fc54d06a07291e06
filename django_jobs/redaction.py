"""What must not be seen, hidden: secrets under telling names (`JOBS_SENSITIVE_KEYS`), texts with a secret's shape, and
control characters.

Applied on the way to logs, timelines, recorded errors and the admin; a stored payload is never changed. Nothing here
takes more than linear time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.core.signals import setting_changed

from .conf import conf

REDACTED = "********"
DEEPEST = 100
"""Of a value; what lies deeper is cut. A payload is no deeper."""
CUT = "…"

_CARD = re.compile(r"(?<![\w.-])(?:2[2-7]|[3-6]\d)(?:[ -]?\d){11,17}(?![\w-])")
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?"), REDACTED),
    (re.compile(r"\b([a-zA-Z][a-zA-Z0-9+.-]{0,30}://[^\s/:@'\"]{0,200}):[^\s/'\"]{1,500}@"), rf"\1:{REDACTED}@"),
    (re.compile(r"\b(bearer|basic)\s{1,4}[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?"), REDACTED),  # a JSON web token
    (re.compile(r"\b(?:A[KS]IA[A-Z0-9]{16}|gh[pousr]_\w{20,}|xox[abprs]-[\w-]{8,}|[sr]k[-_][\w-]{16,})"), REDACTED),
)
_CONTROL = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127, *range(128, 160)), "�")
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")  # they turn the rest of a line round
_SLACK = 1000  # characters that are looked at beyond a cut, so that no secret is cut in two and missed
_SEPARATORS = str.maketrans("", "", "-_ .")


def redact(value: Any, depth: int = 0) -> Any:
    """A copy of a JSON value in which secrets are hidden."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping | list | tuple) and depth >= DEEPEST:
        return CUT
    if isinstance(value, Mapping):
        return {
            key: REDACTED if item is not None and is_sensitive(str(key)) else redact(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact(item, depth + 1) for item in value]
    if type(value) is int and 10**12 <= value < 10**19 and redact_text(str(value)) == REDACTED:
        return REDACTED
    return value


def redact_text(text: str) -> str:
    """`text` with what looks like a secret in it hidden: `password=…`, tokens, keys, card numbers, URLs."""
    for shape, hidden in _SHAPES:
        text = shape.sub(hidden, text)
    if (pairs := _pairs()) is not None:
        text = pairs.sub(rf"\1{REDACTED}", text)
    return _CARD.sub(_hide_card, text)


def presentable(text: str, limit: int, *, keep_end: bool = False) -> str:
    """`text` without secrets and control characters, cut to `limit` bytes."""
    near = text[-limit - _SLACK :] if keep_end else text[: limit + _SLACK]
    return clip(redact_text(near), limit, keep_end=keep_end)


def clip(text: str, limit: int, *, keep_end: bool = False) -> str:
    """`text` cut to `limit` bytes of UTF-8, with what no database or terminal should get replaced."""
    if len(text) > limit:
        text = ("… " + text[-limit:]) if keep_end else (text[:limit] + " …")
    clean = text.encode("utf-8", "replace").decode().translate(_CONTROL)
    while len(raw := clean.encode()) > limit + 8:
        clean = "" if limit <= 0 else (raw[-limit:] if keep_end else raw[:limit]).decode("utf-8", "ignore")
    return clean


def straight(text: str) -> str:
    """`text` without the marks that turn round what follows them."""
    return text if text.isascii() else _TURNING.sub("�", text)


def one_line(text: str, limit: int = 200) -> str:
    """A stored text as a terminal may have it: a row that somebody forged may hold anything.

    One with something in it that can't be printed is cut to `limit` bytes.
    """
    if text.isprintable():
        return text
    return straight(clip(text, limit)).replace("\n", "�").replace("\t", " ")


@lru_cache(maxsize=4096)
def is_sensitive(key: str) -> bool:
    """Whether what stands under `key` is to be hidden: a sensitive word is in it, whatever its case and hyphens."""
    plain = key[:200].lower().translate(_SEPARATORS)
    return any(word in plain for word in _words())


@lru_cache(maxsize=1)
def _words() -> tuple[str, ...]:
    return tuple(plain for word in conf.sensitive_keys if (plain := word.lower().translate(_SEPARATORS)))


@lru_cache(maxsize=1)
def _pairs() -> re.Pattern[str] | None:
    """Finds `key = value`, `key: value` and their quoted forms, from the sensitive word in the key on."""
    if not _words():
        return None
    words = "|".join("[-_ .]?".join(map(re.escape, word)) for word in sorted(_words(), key=len, reverse=True))
    value = r"""\\{0,4}"(?:[^"\\\n]|\\.)*"?|\\{0,4}'(?:[^'\\\n]|\\.)*'?|(?:(?:bearer|basic)\s{1,4})?[^\s,;&'"\])}]+"""
    return re.compile(
        rf"""((?:{words})[\w.-]{{0,40}}\\{{0,4}}["']?\]?\s{{0,4}}(?:=>|[=:])(?![=/])\s{{0,4}}[bru]?)(?:{value})""",
        re.IGNORECASE,
    )


def _hide_card(found: re.Match[str]) -> str:
    digits = [int(sign) for sign in found[0] if sign.isdigit()]
    checksum = sum(digits[-1::-2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return found[0] if checksum % 10 else REDACTED


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "JOBS_SENSITIVE_KEYS":
        for cached in (is_sensitive, _words, _pairs):
            cached.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_jobs.redaction")
