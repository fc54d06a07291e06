"""How fast a worker is that has a process for each job.

The bare loops fork, exit and wait, and run nothing: two side by side, in a process that has loaded what the worker's
template has. The workers are `jobs_work` as a user starts them, with two children; rates are by the store's clock, from
the first claim to the last settlement.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from .harness import Contenders, Figures
from .jobs import completed_rate, empty, fill, tidy
from .site import POOL, ROOT, Site, run_worker

ROUNDS = 7
CPU = "CPU µs a job"
FORK = ("--isolation", "fork", "--max-workers", "2")
BARE = """
import gc, os, resource, sys, time
import django
django.setup()
from django_jobs.worker.assembly import assemble
from django_jobs.worker.pool import give_memory_back, load_handlers
load_handlers()
gc.collect()
give_memory_back()
gc.freeze()
count = int(sys.argv[1]) // 2
started = time.monotonic()
loops = []
for _ in range(2):
    if not (loop := os.fork()):
        for _ in range(count):
            if not (pid := os.fork()):
                os._exit(0)
            os.waitpid(pid, 0)
        os._exit(0)
    loops.append(loop)
for loop in loops:
    os.waitpid(loop, 0)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(2 * count / (time.monotonic() - started), used.ru_utime + used.ru_stime)
"""


def contenders(site: Site, *, quick: bool) -> Contenders:
    """The bare loops, and a worker with a process for each job; beside them one that reuses its children."""
    jobs = 200 if quick else 4_000
    return {
        "fork, exit, wait: two loops": partial(_bare, site, jobs),
        "jobs_work --isolation fork": partial(_worker, site, jobs, FORK),
        "jobs_work": partial(_worker, site, jobs, POOL),
    }


def _bare(site: Site, count: int) -> Figures:
    done = subprocess.run(
        [sys.executable, "-c", BARE, str(count)], cwd=ROOT, env=site.env, stdout=subprocess.PIPE, check=True
    )
    rate, cpu = map(float, done.stdout.split())
    return {"jobs/s": rate, CPU: cpu / count * 1e6}


def _worker(site: Site, jobs: int, arguments: tuple[str, ...]) -> Figures:
    empty()
    fill(jobs)
    tidy()
    cpu = run_worker(site, "--stop-when-empty", *arguments)
    return {"jobs/s": completed_rate(jobs), CPU: cpu / jobs * 1e6}
