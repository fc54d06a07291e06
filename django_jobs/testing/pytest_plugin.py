"""Fixtures for pytest: `pytest_plugins = ["django_jobs.testing.pytest_plugin"]` in the `conftest.py` at the root."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..backends import Backend
    from .capture import CapturedJobs

# Each fixture imports what it needs: pytest loads this before Django has its settings.


@pytest.fixture
def jobs_memory() -> Iterator[Backend]:
    """Jobs are kept in memory, which starts empty; the backend."""
    from ..backends import get_backend
    from .overrides import override_jobs

    with override_jobs(backend="memory"):
        yield get_backend()


@pytest.fixture
def jobs_clock() -> Callable[..., None]:
    """`travel`: let time pass for the store."""
    from .clock import travel

    return travel


@pytest.fixture
def captured_jobs() -> Iterator[CapturedJobs]:
    """What the test dispatches."""
    from .capture import capture_jobs

    with capture_jobs() as jobs:
        yield jobs


@pytest.fixture
def run_jobs() -> Callable[..., Any]:
    """`run_jobs`: run what is due, in the test's own thread."""
    from . import running

    return running.run_jobs
