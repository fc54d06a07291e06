"""Claims without a store, for the tests of what runs and settles them."""

from __future__ import annotations

import time
import uuid
from contextlib import nullcontext
from typing import Any

from django_jobs.definition import JobDefinition
from django_jobs.envelope import seal
from django_jobs.ids import new_id
from django_jobs.runtime import Claim, Outcome, run_attempt

CLAIM_FIELDS = {
    "claim_no",
    "attempt",
    "crashes",
    "suspect",
    "body",
    "signature",
    "history",
    "enqueued_at",
    "claimed_at",
}


def whole(handler: str = "unit.job", payload: Any = None, **options: Any) -> JobDefinition:
    """A definition without an option UNSET."""
    given = {"queue": "default", "priority": 0, "delay": 0, "max_attempts": 1, "timeout": 300, "backoff": None}
    given["unique"] = None
    given |= {"id": new_id()} | options
    return JobDefinition(handler=handler, payload=payload, **given)


def make_claim(handler: str = "unit.job", payload: Any = None, **given: Any) -> Claim:
    """A claim as a store would answer it; what is not a field of a claim is an option of its definition."""
    fields = {name: given.pop(name) for name in CLAIM_FIELDS & set(given)}
    definition = whole(handler, payload, **given)
    body, signature = seal(definition)
    now = time.time()
    claim = Claim(
        id=str(definition.id),
        queue=str(definition.queue),
        handler=handler,
        worker_id=str(uuid.uuid4()),
        claim_no=1,
        attempt=1,
        crashes=0,
        suspect=False,
        body=body,
        signature=signature,
        history="",
        enqueued_at=now,
        claimed_at=now,
    )
    return claim._replace(**fields)


def run(claim: Claim, controls: Any = None, store: Any = None) -> Outcome:
    """One attempt without a deadline."""
    return run_attempt(claim, lambda timeout: nullcontext(), controls, store)
