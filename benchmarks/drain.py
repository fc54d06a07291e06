"""How fast a worker drains waiting no-op jobs, and what it pays for each.

The bare loop claims and settles batches with the project's own statements, in one process, and runs nothing: no
children, no signature, no handler. The worker is `jobs_work` as a user starts it: signatures verified, completed rows
kept. Rates are by the store's clock, from the first claim to the last settlement. CPU is the worker's, all its
processes together, without the store's and less what a worker costs that finds nothing to do.
"""

from __future__ import annotations

from functools import partial

from .harness import Contenders, Figures
from .jobs import bare_drain, completed_rate, empty, fill, tidy
from .site import Site, run_worker

ROUNDS = 5


def contenders(site: Site, *, quick: bool) -> Contenders:
    """The bare loop, and the worker in each of its ways to run jobs."""
    jobs = 3_000 if quick else 30_000
    return {
        "bare loop, one process": partial(_bare, jobs),
        "jobs_work, two children": partial(_worker, site, jobs, "pool"),
        "jobs_work --isolation inline": partial(_worker, site, jobs, "inline"),
    }


def _bare(jobs: int) -> Figures:
    _prepare(jobs)
    return _figures(jobs, bare_drain())


def _worker(site: Site, jobs: int, isolation: str) -> Figures:
    empty()
    arguments = ("--stop-when-empty", "--isolation", isolation)
    for_nothing = run_worker(site, *arguments)
    _prepare(jobs)
    return _figures(jobs, run_worker(site, *arguments) - for_nothing)


def _prepare(jobs: int) -> None:
    empty()
    fill(jobs)
    tidy()


def _figures(jobs: int, cpu: float) -> Figures:
    return {"jobs/s": completed_rate(jobs), "CPU µs a job": cpu / jobs * 1e6}
