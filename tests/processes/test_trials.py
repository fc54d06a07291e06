"""Canned jobs on a real worker come to the outcomes that they are for."""

from __future__ import annotations

import pytest

from django_jobs.backends.database import DatabaseBackend
from tests.integration.test_commands import manage
from tests.support.worker import worker


@pytest.fixture
def database() -> str:
    """One is enough: the rules for their outcomes are tested on each."""
    return "default"


@pytest.mark.parametrize("isolation", ["pool", "inline"])
def test_each_canned_job_comes_to_its_end(queue: DatabaseBackend, isolation: str) -> None:
    with worker(queue, "default", "--isolation", isolation) as w:
        done = manage(queue.database, "jobs_test", "all", "--force", "--wait", "60")
        assert done.returncode == 0, done.stdout + done.stderr + w.text
        assert w.stop() == 0
    assert [line.split()[2:] for line in sorted(done.stdout.splitlines())] == [
        ["cancelled"],
        ["cancelled"],
        ["failed", "(failed)"],
        ["completed"],
        ["failed", "(timed_out)"],
    ]
