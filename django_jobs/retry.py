"""What becomes of a job after a run: backoff strategies, and the one function that decides.

Pure: no I/O, no clock. The worker, the reaper and the sync backend all ask `decide()`; storage applies its answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from django.utils.module_loading import import_string

from .conf import conf
from .exceptions import InvalidDefinition
from .names import shown

BACKOFF_TABLE = (10, 30, 120, 600, 1800)
LONGEST_DELAY = 365 * 24 * 3600.0
_MOST = 1e12  # of any number in a backoff: beyond it, floats are at their end


class OutcomeKind(StrEnum):
    """What one run of a job came to."""

    COMPLETED = "completed"
    RETRY = "retry"  # it raised, or asked to be tried again
    FAILED = "failed"  # it must not be tried again
    SNOOZED = "snoozed"
    DEFERRED = "deferred"  # to another queue
    DISCARDED = "discarded"  # it has become pointless
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"  # its process died under it
    LOST = "lost"  # its worker's lease ran out
    INTERRUPTED = "interrupted"  # a shutdown ended it, or it never started
    REJECTED = "rejected"  # its signature is wrong
    CORRUPT = "corrupt"  # its envelope can't be read
    EXPIRED = "expired"
    HANDLER_MISSING = "handler_missing"


class Target(StrEnum):
    """Where a transition takes a job."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    WAITING = "waiting"  # pending again, or scheduled where there is a delay


class Transition(NamedTuple):
    """What storage is to do with a claimed job. `word` is what the worker prints."""

    target: Target
    word: str
    reason: str = ""
    delay: float = 0.0
    attempt_refund: int = 0
    crash: int = 0
    suspect: bool | None = None


class Facts(NamedTuple):
    """What `decide()` has to know of the job."""

    attempt: int = 1
    max_attempts: int = 1
    crashes: int = 0
    max_crashes: int = 3
    suspect: bool = False
    retry_on_crash: bool = True
    backoff: Mapping[str, Any] | None = None
    snoozes: int = 0
    max_snoozes: int = 1000
    missing_seconds: float = 0.0
    missing_grace: float = 300.0


COMPLETE = Transition(Target.COMPLETED, "acked")
CANCEL = Transition(Target.CANCELLED, "cancelled")
GIVE_BACK = Transition(Target.WAITING, "released", attempt_refund=1)

_WORDS = {
    OutcomeKind.RETRY: "requeued",
    OutcomeKind.TIMED_OUT: "timed-out",
    OutcomeKind.REJECTED: "rejected",
}


def decide(
    facts: Facts,
    kind: OutcomeKind,
    *,
    retry_after: float | None = None,
    rng: Callable[[], float] = random.random,
) -> Transition:
    """What becomes of a job whose run came to `kind`.

    `retry_after` (seconds) is the delay that the handler asked for; None leaves it to the backoff, 0 means now.
    """
    match kind:
        case OutcomeKind.COMPLETED:
            return COMPLETE
        case OutcomeKind.CANCELLED:
            return CANCEL
        case OutcomeKind.INTERRUPTED:
            return GIVE_BACK
        case OutcomeKind.SNOOZED | OutcomeKind.DEFERRED if facts.snoozes >= facts.max_snoozes:
            return Transition(Target.FAILED, "dead-lettered", reason="dead")
        case OutcomeKind.SNOOZED | OutcomeKind.DEFERRED:
            return Transition(Target.WAITING, str(kind), delay=_bounded(retry_after or 0.0), attempt_refund=1)
        case OutcomeKind.DISCARDED:
            return Transition(Target.CANCELLED, "discarded")
        case OutcomeKind.LOST if not facts.suspect:
            return GIVE_BACK._replace(suspect=True)
        case OutcomeKind.LOST:
            # It was alone this time, so the first loss, which nobody was charged for, was its own as well.
            return _after_crash(facts, rng, 1 if facts.crashes else 2, BEHIND_OTHERS)
        case OutcomeKind.CRASHED:
            return _after_crash(facts, rng, 1)
        case OutcomeKind.HANDLER_MISSING if facts.missing_seconds < facts.missing_grace:
            wait = min(max(facts.missing_grace / 10, 1.0), 30.0)
            return Transition(Target.WAITING, "snoozed", delay=wait, attempt_refund=1)
        case OutcomeKind.RETRY | OutcomeKind.TIMED_OUT if facts.attempt < facts.max_attempts:
            delay = _bounded(retry_after) if retry_after is not None else next_delay(facts.backoff, facts.attempt, rng)
            return Transition(Target.WAITING, _WORDS[kind], delay=delay)
        case OutcomeKind.RETRY:
            return Transition(Target.FAILED, "dead-lettered", reason="dead")
        case _:
            return Transition(Target.FAILED, _WORDS.get(kind, "dead-lettered"), reason=str(kind))


BEHIND_OTHERS = 0.001
"""Seconds to wait at least for a job that a worker was lost with again: the other suspects have their turn first."""


def _after_crash(facts: Facts, rng: Callable[[], float], charge: int, shortest: float = 0.0) -> Transition:
    crashes = facts.crashes + charge
    if crashes >= facts.max_crashes or not facts.retry_on_crash:
        return Transition(Target.FAILED, "dead-lettered", reason="crashed", crash=charge)
    delay = max(next_delay(facts.backoff, crashes, rng), shortest)
    return Transition(Target.WAITING, "requeued", delay=delay, attempt_refund=1, crash=charge, suspect=True)


def next_delay(backoff: Mapping[str, Any] | None, attempt: int, rng: Callable[[], float] = random.random) -> float:
    """Seconds to wait after the run number `attempt` (from 1), jitter included."""
    spec = backoff or {"strategy": "none"}
    strategy = _STRATEGIES.get(spec["strategy"]) or _of_the_site(spec["strategy"])
    delay = strategy(spec, attempt)
    delay = min(delay, spec.get("cap", LONGEST_DELAY))
    if jitter := spec.get("jitter", 0):
        delay *= 1 + jitter * (2 * rng() - 1)
    return _bounded(delay)


def _bounded(seconds: float) -> float:
    return min(max(float(seconds), 0.0), LONGEST_DELAY)


def _exponential(spec: Mapping[str, Any], attempt: int) -> float:
    try:
        return float(spec["base"]) * float(spec.get("factor", 2)) ** (attempt - 1)
    except OverflowError:
        return LONGEST_DELAY


def _table(spec: Mapping[str, Any], attempt: int) -> float:
    steps: Sequence[float] = spec["delays"]
    return float(steps[min(attempt, len(steps)) - 1])


def _of_the_site(name: str) -> Callable[[Mapping[str, Any], int], float]:
    """A strategy of `JOBS_BACKOFFS`: a function of the attempt's number, or its dotted path."""
    function = conf.backoffs[name]
    if isinstance(function, str):
        function = import_string(function)
    return lambda spec, attempt: float(function(attempt))


_STRATEGIES: dict[str, Callable[[Mapping[str, Any], int], float]] = {
    "none": lambda spec, attempt: 0.0,
    "fixed": lambda spec, attempt: float(spec["base"]),
    "linear": lambda spec, attempt: float(spec["base"]) * attempt,
    "exponential": _exponential,
    "table": _table,
}
_FIELDS = {
    "none": {"jitter"},
    "fixed": {"base", "cap", "jitter"},
    "linear": {"base", "cap", "jitter"},
    "exponential": {"base", "factor", "cap", "jitter"},
    "table": {"delays", "cap", "jitter"},
}


_DEFAULTS: dict[str, dict[str, Any]] = {
    "none": {},
    "fixed": {"base": 5},
    "linear": {"base": 5},
    "exponential": {"base": 5, "factor": 2, "cap": 300},
    "table": {"delays": BACKOFF_TABLE},
}


def backoff(strategy: str = "exponential", **fields: Any) -> dict[str, Any]:
    """A checked backoff: data, so that it can be stored and signed with the job.

    | strategy | seconds after the n-th run | fields |
    |---|---|---|
    | `none` | 0 | |
    | `fixed` | base | `base` |
    | `linear` | base · n | `base` |
    | `exponential` | base · factor ** (n - 1) | `base` 5, `factor` 2, `cap` 300 |
    | `table` | the n-th delay, then the last | `delays` 10, 30, 120, 600, 1800 |
    | a name in `JOBS_BACKOFFS` | what that function answers to n | |

    Every one takes `cap` (seconds) and `jitter` (a share, 0.15 = ±15 %; 0 is off). Raises `InvalidDefinition`.

        backoff("exponential", base=2, cap=60)
    """
    known = (*_FIELDS, *conf.backoffs)
    if strategy not in known:  # a tuple, as the strategy may be anything, also what has no hash
        raise InvalidDefinition(f"backoff: {shown(strategy)} is not a strategy. Use one of {', '.join(known)}.")
    takes = _FIELDS.get(strategy, {"cap", "jitter"})
    if unknown := set(fields) - takes:
        allowed = ", ".join(sorted(takes))
        raise InvalidDefinition(f"backoff: {strategy} has no {min(unknown)!r}. It takes {allowed}.")
    spec = {"strategy": strategy, **_DEFAULTS.get(strategy, {}), **fields}
    for name in ("base", "factor", "cap", "jitter"):
        if name in spec and not _is_amount(spec[name]):
            raise InvalidDefinition(f"backoff: {name} must be a number of at least 0, not {shown(spec[name])}.")
    if spec.get("jitter", 0) > 1:
        raise InvalidDefinition("backoff: jitter is a share from 0 to 1, such as 0.15.")
    if strategy == "table":
        delays = spec["delays"]
        if not isinstance(delays, list | tuple) or not delays or not all(map(_is_amount, delays)):
            raise InvalidDefinition("backoff: delays must be a list of seconds, with at least one.")
        spec["delays"] = list(delays)
    return spec


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST


def parse_backoff(value: Any) -> dict[str, Any] | None:
    """A backoff in any form that settings, handlers and builders may give, checked.

    None stays None (the next default applies); a number is `fixed`; a list is a `table`; a text is a strategy's name; a
    mapping is checked as it is.
    """
    match value:
        case None:
            return None
        case bool():
            raise InvalidDefinition(
                "backoff: True and False say nothing of a delay. Give seconds or a strategy's name."
            )
        case int() | float():
            return backoff("fixed", base=value)
        case str():
            return backoff(value)
        case Mapping():
            given = {str(name): item for name, item in value.items()}
            return backoff(given.pop("strategy", "exponential"), **given)
        case list() | tuple():
            return backoff("table", delays=list(value))
    raise InvalidDefinition(
        f"backoff: {type(value).__name__} can't be stored. Give seconds, a list of them, or a strategy's name; "
        "a function of your own goes on the handler, as `def backoff_delay(self, ctx, error)`."
    )
