"""Entries written as dicts, as `JOBS_SCHEDULE` and rows of the database have them.

    {"handler": "report", "payload": "--month=06", "daily_at": "02:00", "queue": "reports", "single_instance": True}

What to run is one of `handler` (with a `payload`), `command`, `callable` and `shell`. Every other key is a method of
`EntryBuilder`, with its argument or a list of its arguments as the value and True for none, or an option of jobs.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from ..definition import OPTION_NAMES
from ..names import shown
from .builder import SET_OTHERWISE, EntryBuilder
from .entries import Entry
from .frequency import Frequency

RUNS = ("handler", "command", "callable", "shell")
CODE = frozenset({"when", "skip", "before", "after", "on_success", "on_failure"})
"""Keys that name code beside the handler. Nothing that is stored may."""
FREQUENCIES = frozenset(name for name in vars(Frequency) if name[0] != "_") - {"to_timing", "cron"}
"""The keys that say when, beside `cron`."""
_FLAGS = frozenset({"enabled", "run_in_maintenance", "single_instance", "day_or"})
_METHODS = (
    {"description", "queue", "backend", "environments", "depends_on", "requires", "without_overlapping"}
    | {"catch_up", "catch_up_limit"}
    | (_FLAGS | CODE | FREQUENCIES)
)
_OPTIONS = OPTION_NAMES - set(SET_OTHERWISE) - _METHODS
_OWN = frozenset({*RUNS, "name", "payload", "cron", "seconds", "options"})
KEYS = _OWN | _METHODS | _OPTIONS


def entry_from_mapping(name: str, mapping: Mapping[str, Any], *, origin: str = "database") -> Entry:
    """The entry that a mapping describes, fully checked: its handler is registered, its times exist, its jobs can be
    stored. What comes from the `database` may name no code but a registered handler.

    Raises `InvalidSchedule` with the name and all that is wrong.
    """
    return builder_from_mapping(name, mapping, origin=origin).to_entry()


def builder_from_mapping(name: str, mapping: Any, *, origin: str) -> EntryBuilder:
    """The builder of that entry. What is wrong is among its errors."""
    given: dict[Any, Any] = dict(mapping) if isinstance(mapping, Mapping) else {}
    runs = [key for key in RUNS if key in given]
    if runs == ["handler"]:
        builder = EntryBuilder(given["handler"], given.get("payload"), origin=origin)
    else:
        builder = EntryBuilder(runs[0] if runs else "", given.get(runs[0]) if runs else None, origin=origin)
    if not isinstance(mapping, Mapping):
        builder.refuse(f"an entry is a dict, not {shown(mapping)}.")
    elif len(runs) != 1 or ("payload" in given and runs != ["handler"]):
        builder.refuse(f"give one of {', '.join(RUNS)} to say what runs. A payload goes with a handler alone.")
    if name or "name" in given:
        builder.named(name or given["name"])
    for key, value in given.items():
        if key in CODE and origin == "database":
            builder.refuse(f"{key}: an entry in the database can't name code. Put it into the handler.")
        elif key == "cron":
            _call(builder, "cron", [value], {"seconds": given.get("seconds", False)})
        elif key == "options":
            _call(builder, "with_options", [], value)
        elif key in _METHODS:
            _call(builder, key, _arguments(key, value), {})
        elif key in _OPTIONS:
            builder.with_options(**{key: value})
        elif key not in _OWN:
            near = get_close_matches(str(key), KEYS, 1)
            hint = f"Is {near[0]!r} meant? " if near else ""
            builder.refuse(f"{shown(key)} is not a key of an entry. {hint}There are: {', '.join(sorted(KEYS))}.")
    return builder


def _arguments(key: str, value: Any) -> Sequence[Any]:
    if key in _FLAGS:
        return [value]
    if value is True:
        return []
    return value if isinstance(value, list | tuple) else [value]


def _call(builder: EntryBuilder, method: str, arguments: Sequence[Any], options: Any) -> None:
    """Call a method of the builder, where it takes what the dict has for it."""
    try:
        _signature(method).bind(builder, *arguments, **options)
    except TypeError as error:
        builder.refuse(f"{method}: {error}.")
    else:
        getattr(builder, method)(*arguments, **options)


@lru_cache
def _signature(method: str) -> inspect.Signature:
    return inspect.signature(getattr(EntryBuilder, method))
