"""Process tests run real workers: `store` is the queue that the tests and the workers share."""

from __future__ import annotations

from pathlib import Path

import pytest

from django_jobs.backends.database import DatabaseBackend


@pytest.fixture
def queue(jobs_on: DatabaseBackend) -> DatabaseBackend:
    """The store, with `Jobs` dispatching to it."""
    return jobs_on


@pytest.fixture
def proof(tmp_path: Path) -> Path:
    """A file that jobs write to: what no rollback can undo."""
    return tmp_path / "proof.txt"
