"""What a setting may be: words for people, and a test of a value. The checks and the reference take them from here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value. `says` goes on from "Make it …": `a list of texts`."""

    says: str
    fits: Callable[[Any], bool]

    def or_none(self, meaning: str) -> Kind:
        """This kind, or None, which means something of its own."""
        return Kind(f"{self.says}, or None ({meaning})", lambda value: value is None or self.fits(value))


def amount(unit: str, *, above: float | None = None, least: float = 0) -> Kind:
    """A number of `unit`, at least `least`, or above a bound."""
    bound = f"{least:g} or more" if above is None else f"above {above:g}"
    return Kind(
        f"a number of {unit}, {bound}", lambda v: _is_number(v) and (v >= least if above is None else v > above)
    )


def whole(least: int, most: int | None = None) -> Kind:
    """A whole number from `least`."""
    bound = f"of at least {least}" if most is None else f"from {least} to {most}"
    return Kind(f"a whole number {bound}", lambda v: type(v) is int and v >= least and (most is None or v <= most))


def choice(*words: str) -> Kind:
    """One of a few texts."""
    return Kind(f"one of {', '.join(words)}", lambda v: isinstance(v, str) and v in words)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset) and all(isinstance(item, str) for item in value)


FLAG = Kind("True or False", lambda v: isinstance(v, bool))
TEXT = Kind("a text", lambda v: isinstance(v, str) and v != "")
TEXTS = Kind("a list of texts", _is_list_of_texts)
MAPPING = Kind("a dict with texts as keys", lambda v: isinstance(v, Mapping) and all(isinstance(k, str) for k in v))
WORDS = Kind(
    "a dict of texts by texts", lambda v: MAPPING.fits(v) and all(isinstance(item, str) for item in v.values())
)
