"""How fast a worker drains waiting no-op jobs, and what it pays for each.

The bare loop claims and settles batches with the project's own statements, in one process, and runs nothing: no
children, no signature, no handler. The worker is `jobs_work` as a user starts it: signatures verified, completed rows
kept. Rates are by the store's clock, from the first claim to the last settlement. CPU is the worker's, all its
processes together, without the store's and less what a worker costs that finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from .harness import Contenders, Figures
from .jobs import bare_drain, completed_rate, empty, fill, tidy
from .site import INLINE, POOL, Site, run_worker

ROUNDS = 9


def contenders(site: Site, *, quick: bool) -> Contenders:
    """The bare loop, and the worker in each of its ways to run jobs."""
    jobs = 2_000 if quick else 20_000
    return {
        "bare loop, one process": partial(_bare, jobs),
        "jobs_work, two children": partial(_worker, site, jobs, POOL),
        "jobs_work --isolation inline": partial(_worker, site, jobs, INLINE),
    }


def _bare(jobs: int) -> Figures:
    _prepare(jobs)
    return _figures(jobs, bare_drain())


def _worker(site: Site, jobs: int, arguments: Sequence[str]) -> Figures:
    empty()
    for_nothing = run_worker(site, "--stop-when-empty", *arguments)
    _prepare(jobs)
    return _figures(jobs, run_worker(site, "--stop-when-empty", *arguments) - for_nothing)


def _prepare(jobs: int) -> None:
    empty()
    fill(jobs)
    tidy()


def _figures(jobs: int, cpu: float) -> Figures:
    return {"jobs/s": completed_rate(jobs), "CPU µs a job": cpu / jobs * 1e6}
