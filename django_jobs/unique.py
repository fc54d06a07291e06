"""Unique enqueue: of the jobs with one key, at most one waits, or waits or runs, or is enqueued in a period.

| `until` | the key is free again |
|---|---|
| `"started"` | when a worker claims the job |
| `"finished"` | when the job is completed, has failed or is cancelled |
| a duration | this long after the enqueue, whatever became of the job |

| `mode` | what an enqueue does where the key is taken |
|---|---|
| `"return_existing"` | stores nothing, and answers the job that has the key |
| `"reject"` | raises `DuplicateJob`, which names the job that has the key |
| `"replace"` | takes the waiting job's place and due time; that one is cancelled |
| `"debounce"` | takes the waiting job's place, and its delay counts anew |
| `"throttle"` | as `return_existing`, over a period: at most one job in each |

A job that runs is never replaced: it gives its key to the new one, which follows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .exceptions import InvalidDefinition
from .names import plain, shown

STARTED, FINISHED = "started", "finished"
MODES = ("return_existing", "reject", "replace", "debounce", "throttle")
LONGEST_KEY = 200


@dataclass(frozen=True, slots=True)
class Unique:
    """What makes a job unique. `key` belongs to the handler; blank, it is made from the payload."""

    key: str = ""
    until: str | float = FINISHED
    mode: str = "return_existing"

    @property
    def period(self) -> float | None:
        """For how many seconds from the enqueue the key is taken; None where a state of the job frees it."""
        return None if isinstance(self.until, str) else self.until

    @property
    def replaces(self) -> bool:
        """Whether a new job takes the place of one that waits."""
        return self.mode in ("replace", "debounce")


def checked(value: Any, duration: Any) -> Unique | None:
    """`unique` in any form that a builder, a call or a handler may give: True, a key, a mapping, a `Unique`.

    `duration` reads a duration (field, value) in seconds. Raises `InvalidDefinition`.
    """
    if value is None or value is False:
        return None
    if isinstance(value, Unique):
        value = {"key": value.key, "until": value.until, "mode": value.mode}
    elif value is True:
        value = {}
    elif isinstance(value, str):
        value = {"key": value}
    if not isinstance(value, Mapping) or set(value) - {"key", "until", "mode"}:
        raise InvalidDefinition("unique: give a key, True, or a mapping with key, until and mode.")
    key, until, mode = value.get("key"), value.get("until", FINISHED), value.get("mode", MODES[0])
    if key is None:
        key = ""
    if not isinstance(key, str) or len(key) > LONGEST_KEY:
        raise InvalidDefinition(f"unique: the key must be a text of at most {LONGEST_KEY} characters.")
    if mode not in MODES:
        raise InvalidDefinition(f"unique: {shown(mode)} is not a mode. Use one of {', '.join(MODES)}.")
    if until in (STARTED, FINISHED):
        until = plain(until)
    else:
        until = duration("unique", until)
        if until <= 0:
            raise InvalidDefinition("unique: a period must be longer than 0 seconds.")
    result = Unique(plain(key), until, plain(mode))
    if (mode == "throttle") and result.period is None:
        raise InvalidDefinition("unique: throttle needs a period. Give until=60, or until='10m'.")
    if result.replaces and result.period is not None:
        raise InvalidDefinition(f"unique: {mode} replaces a job that waits. Give until='started' or 'finished'.")
    return result
