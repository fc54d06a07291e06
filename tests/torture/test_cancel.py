"""Cancels against completions: whoever comes first, each job has one outcome, and the canceller was told which."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from tests.support.threads import run_together
from tests.support.waiting import wait_until
from tests.support.worker import lines, live, places, registered, wait_finished, worker

JOBS = 1000
SAYS = {"cancelled": "cancelled", "requested": "cancelled", "already_finished": "completed"}


@pytest.mark.torture
@pytest.mark.parametrize("handler", ["trial.write", "trial.atomic"])
def test_1000_cancels_against_1000_completions(queue: DatabaseBackend, proof: Path, handler: str) -> None:
    """By two cancellers, most as near to a job's own end as they can be; at last, those that have ended before."""
    payload = {"path": str(proof), "seconds": 0.008, "then": "doze"}
    with worker(queue, "default", "--max-workers", "2", "--show", "quiet", JOBS_CANCEL_INTERVAL=0.02) as w:
        wait_until(lambda: registered(queue), "the worker to be up")
        refs = Jobs.push_many(handler, [payload] * JOBS)
        refs_left = set(range(JOBS))

        def cancel(seed: int) -> dict[str, str]:
            rng, told = random.Random(seed), dict[str, str]()
            while left := live(queue):  # about the one that runs now, or one that no worker has yet
                ahead = rng.randint(-4, 6) if rng.random() < 0.9 else rng.randint(100, 300)
                at = min(max(JOBS - left + ahead, 0), JOBS - 1)
                if at in refs_left:
                    refs_left.discard(at)
                    told[refs[at]] = str(Jobs.cancel(refs[at]))
            return told

        answers: dict[str, str] = {}
        for told in run_together(partial(cancel, 1), partial(cancel, 2)):
            answers |= told
        answers |= {refs[at]: str(Jobs.cancel(refs[at])) for at in refs_left}
        wait_finished(queue)
        assert w.stop() == 0, w.text
    found = places(queue)
    assert set(found) == set(refs)
    print(f"{queue.database}, {handler}: {dict(Counter(answers.values()))}, {dict(Counter(found.values()))}")
    assert found == {ref: SAYS[answer] for ref, answer in answers.items()}
    assert len(set(answers.values())) == 3, "all of the cancels came at the same time of their jobs"
    if handler == "trial.write":
        ran = Counter(line.split()[0] for line in lines(proof))
        assert max(ran.values()) == 1
        assert all(ran[ref] == 1 for ref, state in found.items() if state == "completed")
