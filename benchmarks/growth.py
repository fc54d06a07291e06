"""Whether a job costs more when many others wait, are scheduled, or have been completed.

The same 2,000 jobs are drained from the front of queues of different length: by the backend's statements alone, where
growth would show most, and by a worker with two children, from its first claim on. The first contender's short queue is
the bare minimum. PostgreSQL is vacuumed before each measurement, so that the length alone differs.
"""

from __future__ import annotations

from functools import partial

from django_jobs.ids import new_id

from .harness import Contenders, Figures
from .site import POOL, Site, run_worker

ROUNDS = 15
JOBS = 2_000


def contenders(short: Site, long: Site, old: Site, *, quick: bool) -> Contenders:
    """A short queue; a long one; a long one beside many scheduled and completed jobs."""
    part = 10 if quick else 1
    waiting, scheduled, completed = 200_000 // part, 100_000 // part, 500_000 // part
    _prepare(short, JOBS, 0, 0)
    _prepare(long, waiting, 0, 0)
    _prepare(old, waiting, scheduled, completed)
    return {
        f"{JOBS:,} waiting": partial(_measure, short),
        f"{waiting:,} waiting": partial(_measure, long),
        f"{waiting:,} waiting, {scheduled:,} scheduled, {completed:,} completed": partial(_measure, old),
    }


def _prepare(site: Site, waiting: int, scheduled: int, completed: int) -> None:
    from .jobs import bare_drain, fill

    site.enter()
    if completed:
        fill(1)
        bare_drain()
        _multiply_completed(completed)
    if scheduled:
        fill(scheduled, delay=24 * 3600)
    fill(waiting)


def _measure(site: Site) -> Figures:
    from .jobs import bare_drain, fill, rate, tidy

    site.enter()
    tidy()
    alone = rate(JOBS, lambda: bare_drain(JOBS))
    fill(JOBS)
    tidy()
    with_worker = _worker_rate(site)
    fill(JOBS)
    return {"statements alone, µs a job": 1e6 / alone, "worker, µs a job": 1e6 / with_worker}


def _worker_rate(site: Site) -> float:
    """Jobs per second by the store's clock, from the first claim to the last settlement."""
    from django.db.models import Count, Max, Min

    from django_jobs.models import CompletedJob

    before = CompletedJob.objects.aggregate(last=Max("finished_at"))["last"]
    run_worker(site, "--max-jobs", str(JOBS), *POOL)
    new = CompletedJob.objects.filter(finished_at__gt=before)
    span = new.aggregate(count=Count("id"), first=Min("started_at"), last=Max("finished_at"))
    if span["count"] != JOBS:
        raise SystemExit(f"{span['count']} of {JOBS} jobs were completed")
    return float(JOBS / (span["last"] - span["first"]).total_seconds())


def _multiply_completed(count: int) -> None:
    """Copies of the completed job, each with an id of its own."""
    from django_jobs.models import CompletedJob

    row = CompletedJob.objects.get()
    for start in range(0, count, 5_000):
        copies = []
        for _ in range(min(5_000, count - start)):
            row.id = new_id()
            copies.append(CompletedJob(**{f.attname: getattr(row, f.attname) for f in CompletedJob._meta.fields}))
        CompletedJob.objects.bulk_create(copies, batch_size=500)
