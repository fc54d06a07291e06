"""The site's own code round a tick: conditions, hooks and signals. None of it runs within a transaction of ours."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.utils.module_loading import import_string

from .. import signals
from ..awaiting import settled
from ..logs import get_logger
from ..models import TickState
from ..redaction import presentable
from .entries import ERRORS, Entry, Hook

logger = get_logger("schedule")

NOTE_BYTES = 500


@dataclass(frozen=True, slots=True)
class Occasion:
    """A tick, as conditions, hooks and signals are told of it. Its moments are aware."""

    name: str
    at: datetime
    """When it was due, in UTC."""
    entry: Entry | None
    """None where the schedule does not have it any more."""
    job_id: str = ""
    error: str = ""

    @property
    def local(self) -> datetime:
        """When it was due, by the clock on the wall of the entry's time zone."""
        return self.at if self.entry is None else self.at.astimezone(self.entry.timing.zone)


def why_not(occasion: Occasion, *, maintenance: bool) -> str:
    """Why a tick is not to be run, in a word or two; blank where it is. Raises what a condition raises."""
    entry = occasion.entry
    if entry is None:
        return ""
    if maintenance and not entry.run_in_maintenance:
        return "maintenance"
    if not all(call(hook, occasion) for hook in entry.when):
        return "when"
    return "skip" if any(call(hook, occasion) for hook in entry.skip) else ""


def call(hook: Hook, occasion: Occasion) -> Any:
    """What a condition or hook answers; it is given the occasion, if it takes something, and may be `async def`."""
    act = import_string(hook) if isinstance(hook, str) else hook
    return settled(act(occasion) if _takes_one(act) else act())


def _takes_one(act: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(act).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.kind in positional or p.kind is p.VAR_POSITIONAL for p in parameters)


def run_hooks(kind: str, occasion: Occasion) -> str:
    """Call the hooks of a kind; answers a line for each that raised, as the tick keeps it."""
    hooks: tuple[Hook, ...] = getattr(occasion.entry, kind, ())
    return "".join(_error_of(kind, hook, occasion) for hook in hooks)


def _error_of(kind: str, hook: Hook, occasion: Occasion) -> str:
    try:
        call(hook, occasion)
    except ERRORS as error:
        logger.exception("%s of the entry %s failed", kind, occasion.name)
        name = hook if isinstance(hook, str) else getattr(hook, "__qualname__", type(hook).__name__)
        return f"{kind} {name}: {describe(error)}\n"
    return ""


def describe(error: BaseException) -> str:
    """An error in one line, without secrets."""
    try:
        text = str(error)
    except Exception:
        text = "an error that could not be shown"
    return presentable(f"{type(error).__name__}: {text}", NOTE_BYTES).replace("\n", " ")


# -- telling of it ----------------------------------------------------------------------------------------------


def tell_started(occasion: Occasion) -> None:
    """A tick was dispatched, or begins to run here."""
    logger.info("STARTED %s due %s", occasion.name, occasion.at.isoformat(), extra=facts(occasion))
    signals.cron_started.send_robust(Entry, **_about(occasion))


def tell_skipped(occasion: Occasion, reason: str, passed_over: int = 0) -> None:
    """A tick is not run, and with it, where some were missed, so many before it."""
    more = f", and {passed_over} before it" if passed_over else ""
    text = "SKIPPED %s due %s%s: %s"
    logger.info(text, occasion.name, occasion.at.isoformat(), more, reason, extra=facts(occasion))
    signals.cron_skipped.send_robust(Entry, **_about(occasion), reason=reason, passed_over=passed_over)


def tell_ended(occasion: Occasion, state: str, error: str = "") -> str:
    """A tick has come to its end: hooks and signals follow. Answers what the hooks raised."""
    occasion = replace(occasion, error=error)
    if state == TickState.SUCCEEDED:
        logger.info("SUCCEEDED %s due %s", occasion.name, occasion.at.isoformat(), extra=facts(occasion))
        notes = run_hooks("on_success", occasion) + run_hooks("after", occasion)
        signals.cron_succeeded.send_robust(Entry, **_about(occasion))
    else:
        text = "FAILED %s due %s: %s"
        logger.error(text, occasion.name, occasion.at.isoformat(), error, extra=facts(occasion))
        notes = run_hooks("on_failure", occasion) + run_hooks("after", occasion)
        signals.cron_failed.send_robust(Entry, **_about(occasion), error=error)
    return notes


def facts(occasion: Occasion) -> dict[str, Any]:
    """The `extra` of a record about a tick."""
    return {"entry": occasion.name, "due_at": occasion.at.isoformat(), "job_id": occasion.job_id}


def _about(occasion: Occasion) -> dict[str, Any]:
    return {"name": occasion.name, "at": occasion.at, "entry": occasion.entry, "job_id": occasion.job_id}
