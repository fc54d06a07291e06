"""PostgreSQL's text form of arrays. The driver's own takes a third of the coordinator's time for a batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any


def array(values: Iterable[Any]) -> str:
    """An array of any values."""
    return "{" + ",".join(map(_element, values)) + "}"


def column_array(values: Sequence[Any]) -> str:
    """`array`, which writes a value that all rows share just once: most columns of a bulk enqueue are such."""
    first = values[0]
    if values.count(first) == len(values):
        return "{" + ",".join([_element(first)] * len(values)) + "}"
    return array(values)


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
