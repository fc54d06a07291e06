"""Settling a batch that holds something odd."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from django_jobs import Jobs
from django_jobs.backends import Settled
from django_jobs.backends.archive import shared_values
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import CompletedJob, Job
from django_jobs.settlement import conclude
from tests.support.jobs import run

from .conftest import claim_all


def test_a_job_that_is_among_the_completed_ones_already_stops_nobody(jobs_on: DatabaseBackend) -> None:
    twin, other = Jobs.push("trial.noop"), Jobs.push("trial.add", [1, 2])
    claims = claim_all(jobs_on, "default")
    values: dict[str, Any] = shared_values(Job.objects.using(jobs_on.database).get(pk=str(twin)))
    CompletedJob(**values, finished_at=timezone.now(), result='"before"').save(using=jobs_on.database)

    assert jobs_on.settle([conclude(claim, run(claim)) for claim in claims]) == [Settled.WRITTEN] * 2

    assert not Job.objects.using(jobs_on.database).exists()
    assert (twin.result(), other.result()) == ("before", 3)


def test_each_settlement_is_answered_in_its_place(jobs_on: DatabaseBackend) -> None:
    for _ in range(4):
        Jobs.push("trial.noop")
    claims = claim_all(jobs_on, "default")
    Jobs.cancel(claims[1].id)
    settlements = [conclude(claim, run(claim)) for claim in claims]
    settlements[2] = settlements[2]._replace(claim=claims[2]._replace(claim_no=9))
    expected = [Settled.WRITTEN, Settled.CANCELLED, Settled.LOST, Settled.WRITTEN]
    assert jobs_on.settle([*settlements, settlements[0]]) == [*expected, Settled.LOST]


def test_a_batch_of_many_kinds_is_stored_as_each_alone(jobs_on: DatabaseBackend) -> None:
    jobs = [Jobs.push("trial.add", [n, 1], ttl=None if n % 3 else 60 + n) for n in range(130)]
    claims = [
        claim._replace(history='[{"n": 1}]' if n % 5 == 0 else "")
        for n, claim in enumerate(claim_all(jobs_on, "default"))
    ]
    settlements = [conclude(claim, run(claim)) for claim in claims]
    assert jobs_on.settle(settlements) == [Settled.WRITTEN] * 130
    assert [job.result() for job in jobs] == [n + 1 for n in range(130)]
    rows = {str(row.pk): row for row in CompletedJob.objects.using(jobs_on.database)}
    for n, (job, s) in enumerate(zip(jobs, settlements, strict=True)):
        row = rows[str(job)]
        assert row.run_seconds == pytest.approx(s.seconds, abs=1e-5)
        assert (row.keep_until is None) == bool(n % 3)
        if row.keep_until is not None:
            assert (row.keep_until - row.finished_at).total_seconds() == pytest.approx(60 + n, abs=0.1)
