"""PostgreSQL's text form of arrays. The driver's own takes a third of the coordinator's time for a batch."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any


def array(values: Iterable[Any]) -> str:
    """An array of any values."""
    return "{" + ",".join(map(_element, values)) + "}"


def plain_array(words: Iterable[str]) -> str:
    """An array of ids or numbers, which need no quotes."""
    return "{" + ",".join(words) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if value == "":
        return '""'
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f'"{value.isoformat()}"' if isinstance(value, datetime) else repr(value)
