"""What a worker costs that has nothing to do: memory and CPU of all its processes together.

Memory is PSS: a page that processes share counts once for all of them. The bare minimum is one Python process with the
site loaded and a connection to the store open, which sleeps.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial

from .harness import Contenders, Figures
from .processes import cpu_seconds, memory_mb
from .site import INLINE, POOL, ROOT, Site, wait_for, worker

ROUNDS = 3
SETTLE_SECONDS = 2.0
NEW, WORKED, CPU = "new, MB", "after 1,000 jobs, MB", "% of a core"
BARE = """
import django, time
django.setup()
from django.db import connection
connection.ensure_connection()
print("ready", flush=True)
time.sleep(3600)
"""


def contenders(site: Site, *, quick: bool) -> Contenders:
    """A sleeping site, and an idle worker in each of its ways to run jobs."""
    seconds = 2.0 if quick else 10.0
    return {
        "one process with the site": partial(_bare, site, seconds),
        "jobs_work, two children": partial(_worker, site, seconds, POOL),
        "jobs_work --isolation inline": partial(_worker, site, seconds, INLINE),
    }


def _bare(site: Site, seconds: float) -> Figures:
    with subprocess.Popen([sys.executable, "-c", BARE], cwd=ROOT, env=site.env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            return {
                NEW: memory_mb(process.pid),
                WORKED: memory_mb(process.pid),
                CPU: _cpu_percent(process.pid, seconds),
            }
        finally:
            process.terminate()


def _worker(site: Site, seconds: float, arguments: Sequence[str]) -> Figures:
    from django_jobs.models import CompletedJob, Worker

    from .jobs import empty, fill

    empty()
    Worker.objects.all().delete()
    with worker(site, *arguments) as process:
        wait_for(Worker.objects.filter(state="running").exists, "a worker")
        time.sleep(SETTLE_SECONDS)
        new = memory_mb(process.pid)
        fill(1_000)
        wait_for(lambda: CompletedJob.objects.count() == 1_000, "the first jobs")
        time.sleep(SETTLE_SECONDS)
        return {NEW: new, WORKED: memory_mb(process.pid), CPU: _cpu_percent(process.pid, seconds)}


def _cpu_percent(pid: int, seconds: float) -> float:
    """Of one core."""
    began, before = time.monotonic(), cpu_seconds(pid)
    time.sleep(seconds)
    return 100 * (cpu_seconds(pid) - before) / (time.monotonic() - began)
