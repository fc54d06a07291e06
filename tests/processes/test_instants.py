"""One signal at any instant of a worker's life: it always ends, or comes back, and nothing is stuck.

A slice of what the torture tier does (`tests/torture/test_instants.py`).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from django_jobs.backends.database import DatabaseBackend
from tests.support.lives import hangups_at, terms_at

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def test_a_stop_at_any_instant_ends_it(queue: DatabaseBackend, proof: Path) -> None:
    terms_at(queue, proof, instants=20, seed=1)


def test_a_reload_at_any_instant_brings_it_back(queue: DatabaseBackend, proof: Path) -> None:
    hangups_at(queue, proof, instants=8, seed=1)
