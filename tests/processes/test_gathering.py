"""Outcomes that come one by one are settled several at a time; one that comes alone, at once."""

from __future__ import annotations

import pytest

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import CompletedJob
from tests.support.worker import wait_finished, worker


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)  # a statement has one moment there
def test_jobs_of_milliseconds_share_commits(queue: DatabaseBackend) -> None:
    Jobs.push_many("trial.sleep", [{"seconds": 0.003}] * 300)
    with worker(queue, "default", "--max-workers", "2", "--show", "quiet"):
        wait_finished(queue)
    moments = CompletedJob.objects.using(queue.database).values_list("finished_at", flat=True)
    assert len(moments) == 300
    assert len(set(moments)) <= 150
