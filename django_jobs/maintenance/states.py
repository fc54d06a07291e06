"""The words for the states of jobs: ours, and those that other queues use for the same."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from ..models import FailureReason, Job, JobState

RETRY_WAIT = "retry_wait"
LIVE = (*JobState.values, RETRY_WAIT)
FINISHED = ("completed", "cancelled", "failed")
RUNNING = ("running", "cancel_requested")
EVERY = (*LIVE, *FINISHED, *(reason for reason in FailureReason.values if reason != "failed"))
"""What a filter by state may name: a reason is a narrower `failed`."""
ALIASES = {
    "success": "completed",
    "done": "completed",
    "failure": "failed",
    "canceled": "cancelled",
    "request_cancelled": "cancel_requested",
    "request_canceled": "cancel_requested",
    "processing": "running",
    "in_progress": "running",
    "queued": "pending",
    "new": "pending",
}


def state_meant(word: str, allowed: Collection[str] = EVERY) -> str:
    """The state that `word` means, if it is one of `allowed`. Raises `ValueError` that lists them."""
    plain = word.strip().lower().replace("-", "_")
    state = plain if plain in allowed else ALIASES.get(plain, plain)
    if state not in allowed:
        raise ValueError(
            _("%(word)r is not a state. Use one of: %(allowed)s.") % {"word": word[:80], "allowed": ", ".join(allowed)}
        )
    return state


def in_live_state(rows: QuerySet[Job], state: str) -> QuerySet[Job]:
    """The live jobs in a state as people know it: a retry that waits is apart from what is due for the first time."""
    if state == RETRY_WAIT:
        return rows.filter(state=JobState.SCHEDULED, attempt__gt=0)
    if state == JobState.SCHEDULED:
        return rows.filter(state=JobState.SCHEDULED, attempt=0)
    return rows.filter(state=state)
