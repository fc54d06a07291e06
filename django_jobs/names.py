"""The one rule for names that reach SQL, channels, logs and pages."""

from __future__ import annotations

import re

from .exceptions import InvalidDefinition

QUEUE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
HANDLER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_WIDTHS = {"name": 200, "reference": 200, "group": 100, "tag": 50, "source": 20, "reason": 500}


def shown(value: object) -> str:
    """`value` as an error message quotes it: short, whatever its own `__str__` does."""
    try:
        return repr(str(value)[:80])
    except Exception:
        return f"this {type(value).__name__}"


def plain(text: str) -> str:
    """`text` as a text and nothing else. One of a kind of its own, such as a member of an enum, may be written as
    another text in each place that it comes to.
    """
    return text if type(text) is str else str.__str__(text)


def check_queue(value: object) -> str:
    """`value`, if it may name a queue."""
    if isinstance(value, str) and QUEUE.fullmatch(value):
        return plain(value)
    raise InvalidDefinition(
        f"queue: {shown(value)} is not a queue's name. Use lower-case letters, digits, '_', '.' and '-', "
        "at most 64, the first a letter or digit."
    )


def check_handler(value: object) -> str:
    """`value`, if it may be a handler key."""
    if isinstance(value, str) and HANDLER.fullmatch(value):
        return plain(value)
    raise InvalidDefinition(
        f"handler: {shown(value)} is not a handler key. Use letters, digits, '_', '.', ':' and '-', at most 128."
    )


def check_label(field: str, value: object) -> str:
    """`value`, if it may be a label that people read. `field` is one of `_WIDTHS`."""
    if not isinstance(value, str):
        raise InvalidDefinition(f"{field}: a text is needed, not {type(value).__name__}.")
    if len(value) > _WIDTHS[field]:
        raise InvalidDefinition(f"{field}: {len(value)} characters are too many. At most {_WIDTHS[field]}.")
    if _CONTROL.search(value):
        raise InvalidDefinition(f"{field}: control characters are not allowed. Take them out.")
    if field == "tag" and (not value or " " in value):
        raise InvalidDefinition(f"tag: {shown(value)} is not a tag. A tag is one word.")
    return plain(value)
