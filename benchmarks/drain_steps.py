"""The steps of `benchmarks.drain`, each in a process of its own: `fill N`, `bare BATCH`, `rate N`."""

from __future__ import annotations

import sys
import uuid

import django

django.setup()

from django.db import connection  # noqa: E402
from django.db.models import Max, Min  # noqa: E402

from django_jobs import Jobs  # noqa: E402
from django_jobs.backends import WorkerInfo, get_backend  # noqa: E402
from django_jobs.models import CompletedJob, Job  # noqa: E402
from django_jobs.retry import COMPLETE  # noqa: E402
from django_jobs.settlement import Settlement  # noqa: E402

WEEK = 7 * 24 * 3600


def fill(jobs: int) -> None:
    """Empty the tables, then enqueue no-op jobs with a small payload."""
    Job.objects.all().delete()
    CompletedJob.objects.all().delete()
    for start in range(0, jobs, 1000):
        some = range(start, min(start + 1000, jobs))
        Jobs.dispatch_many([Jobs.define("trial.noop", {"user_id": n}) for n in some])
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE django_jobs_job, django_jobs_completedjob")
            cursor.execute("CHECKPOINT")


def bare(batch: int) -> None:
    """Claim and settle batches until there is nothing left."""
    backend = get_backend()
    worker_id = str(uuid.uuid4())
    backend.register(WorkerInfo(worker_id, "bench", 1, ["default"]), 3600)
    while claims := backend.claim("default", worker_id, batch):
        answers = backend.settle([Settlement(claim, COMPLETE, keep_seconds=WEEK) for claim in claims])
        assert all(answers)


def rate(jobs: int) -> None:
    """Print jobs per second, by the store's clock."""
    assert CompletedJob.objects.count() == jobs, "not every job was completed"
    span = CompletedJob.objects.aggregate(first=Min("started_at"), last=Max("finished_at"))
    print(jobs / (span["last"] - span["first"]).total_seconds())


if __name__ == "__main__":
    {"fill": fill, "bare": bare, "rate": rate}[sys.argv[1]](int(sys.argv[2]))
