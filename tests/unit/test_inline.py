"""The inline executor, without a store: what runs together and what does not."""

from __future__ import annotations

import time

from django_jobs.retry import OutcomeKind
from django_jobs.worker.inline import Inline
from tests.support.jobs import make_claim


def test_a_suspect_is_settled_before_the_next_job_starts() -> None:
    """Else a job that ends the process would have a suspect charged that had been done."""
    inline = Inline(lambda: True)
    claims = [make_claim("trial.noop", suspect=suspect) for suspect in (False, False, True, True, False, False)]
    inline.submit(claims)
    turns = []
    while inline.busy:
        turns.append(inline.collect())
    assert [finished.claim for turn in turns for finished in turn] == claims
    assert {finished.outcome.kind for turn in turns for finished in turn} == {OutcomeKind.COMPLETED}
    for turn in turns:
        assert len(turn) == 1 or not any(finished.claim.suspect for finished in turn)


def test_a_job_that_waits_to_be_run_is_due_before_now() -> None:
    """A wait until a moment that comes just after now would be rounded up to a millisecond."""
    inline, now = Inline(lambda: True), time.monotonic()
    inline.submit([make_claim("trial.noop")])
    assert inline.next_deadline() <= now
