"""What the process tests show on SQLite, on every database: jobs that do not want to end, one process each."""

from __future__ import annotations

from pathlib import Path

import pytest

from django_jobs.backends.database import DatabaseBackend
from tests.processes import test_crew as crew
from tests.processes import test_isolation as isolation

pytestmark = pytest.mark.torture


@pytest.mark.parametrize("how", ["pool", "fork", "spawn"])
def test_a_job_that_does_not_want_to_end_is_ended(queue: DatabaseBackend, tmp_path: Path, how: str) -> None:
    isolation.test_a_job_that_does_not_want_to_end_is_ended_in_time_and_hurts_nobody(
        queue, tmp_path, how, isolation.HOSTILE
    )


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_a_poison_job_is_stopped(queue: DatabaseBackend, proof: Path, how: str) -> None:
    isolation.test_a_poison_job_is_stopped_and_its_neighbours_are_not_charged(queue, proof, how)


def test_a_poison_job_beside_others_is_stopped(queue: DatabaseBackend, proof: Path) -> None:
    crew.test_a_poison_job_is_stopped_and_those_beside_it_are_suspects_but_not_charged(queue, proof)


@pytest.mark.parametrize("handler", ["trial.nap", "trial.sleep"])
def test_a_child_runs_many_at_once(queue: DatabaseBackend, proof: Path, handler: str) -> None:
    crew.test_a_child_runs_as_many_at_once_as_it_is_told(queue, proof, handler)
