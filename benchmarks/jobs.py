"""The jobs of a benchmark: no-op ones with a small payload. Needs Django to be set up."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from django.db import connection
from django.db.models import Max, Min

from django_jobs import Jobs
from django_jobs.backends import WorkerInfo, get_backend
from django_jobs.conf import conf
from django_jobs.models import CompletedJob, Job
from django_jobs.retry import COMPLETE
from django_jobs.runtime import Claim
from django_jobs.settlement import Settlement

WEEK = 7 * 24 * 3600
BULK = 1000


def empty() -> None:
    """No job is left."""
    with connection.cursor() as cursor:
        for model in (Job, CompletedJob):
            verb = "DELETE FROM" if connection.vendor == "sqlite" else "TRUNCATE"
            cursor.execute(f"{verb} {model._meta.db_table}")


def fill(jobs: int, **options: object) -> None:
    """Enqueue so many jobs."""
    for start in range(0, jobs, BULK):
        Jobs.push_many("trial.noop", [{"user_id": n} for n in range(start, min(start + BULK, jobs))], **options)


def tidy() -> None:
    """Let the store do now what it would do in the middle of a measurement."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE django_jobs_job, django_jobs_completedjob")
            cursor.execute("CHECKPOINT")


def completed_rate(jobs: int) -> float:
    """Jobs per second by the store's clock, from the first claim to the last settlement; all must be completed."""
    count = CompletedJob.objects.count()
    if count != jobs:
        raise SystemExit(f"{count} of {jobs} jobs were completed")
    span = CompletedJob.objects.aggregate(first=Min("started_at"), last=Max("finished_at"))
    return float(jobs / (span["last"] - span["first"]).total_seconds())


def bare_drain(most: int | None = None) -> float:
    """Claim and settle batches with the backend's own statements, running nothing; answers this process's CPU seconds.

    `most` is where to stop; None: when nothing is left.
    """
    backend = get_backend()
    worker_id = str(uuid.uuid4())
    backend.register(WorkerInfo(worker_id, "bench", 1, ["default"]), 3600)
    done, started = 0, time.process_time()
    while most is None or done < most:
        batch = conf.claim_batch if most is None else min(conf.claim_batch, most - done)
        claims: list[Claim] = backend.claim("default", worker_id, batch)
        if not claims:
            break
        assert all(backend.settle([Settlement(claim, COMPLETE, keep_seconds=WEEK) for claim in claims]))
        done += len(claims)
    return time.process_time() - started


def rate(count: int, act: Callable[[], object]) -> float:
    """How many a second, where `act` does `count` of them."""
    started = time.perf_counter()
    act()
    return count / (time.perf_counter() - started)
