"""Process tests run real workers: `store` is the queue that the tests and the workers share."""

from __future__ import annotations

from pathlib import Path

import pytest

from django_jobs.backends.database import DatabaseBackend


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a slow test, the other databases are in the torture tier."""
    for item in items:
        quick_on = item.get_closest_marker("quick_on")
        if quick_on is not None and item.callspec.params["database"] not in quick_on.args:  # type: ignore[attr-defined]
            item.add_marker("torture")


@pytest.fixture
def queue(jobs_on: DatabaseBackend) -> DatabaseBackend:
    """The store, with `Jobs` dispatching to it."""
    return jobs_on


@pytest.fixture
def proof(tmp_path: Path) -> Path:
    """A file that jobs write to: what no rollback can undo."""
    return tmp_path / "proof.txt"
