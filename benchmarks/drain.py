"""How fast a worker drains a queue of no-op jobs, beside its own statements in a bare loop.

    python -m benchmarks.drain --database postgresql --jobs 30000 --rounds 3

The bare loop claims and settles batches with the project's own statements, in one process, and runs nothing: no
children, no signature, no handler. The worker is `jobs_work` as a user starts it: two children in a pool, signatures
verified, completed rows kept. Both drain the same number of jobs from the same database in turn. Times are the
store's: from the first claim to the last settlement.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

from benchmarks.site import ROOT, fresh_site, run


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks.drain", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--database", choices=["postgresql", "mysql", "sqlite"], default="postgresql")
    parser.add_argument("--jobs", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="children of the worker")
    parser.add_argument("--batch", type=int, default=200, help="JOBS_CLAIM_BATCH, for both")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    figures: dict[str, list[float]] = {"bare": [], "pool": [], "inline": []}
    with fresh_site(asked.database) as env:
        env["TESTPROJECT_SETTINGS"] = json.dumps({"JOBS_CLAIM_BATCH": asked.batch})
        for number in range(asked.rounds):
            for kind, rates in figures.items():
                rates.append(_measure(kind, asked, env))
            if not asked.json:
                seen = ", ".join(f"{kind} {rates[-1]:,.0f}" for kind, rates in figures.items())
                print(f"round {number + 1}: {seen} jobs a second", flush=True)
    medians = {kind: statistics.median(rates) for kind, rates in figures.items()}
    ratios = {
        kind: statistics.median(a / b for a, b in zip(figures[kind], figures["bare"], strict=True))
        for kind in ("pool", "inline")
    }
    if asked.json:
        print(
            json.dumps(
                {
                    "database": asked.database,
                    "batch": asked.batch,
                    "jobs": asked.jobs,
                    "rates": figures,
                    "ratios": ratios,
                }
            )
        )
    else:
        print(f"{asked.database}, {asked.jobs:,} jobs, batches of {asked.batch}, medians of {asked.rounds}:")
        print(f"  bare loop, one process       {medians['bare']:10,.0f} jobs a second")
        for kind, words in {"pool": f"jobs_work, {asked.workers} children", "inline": "jobs_work, inline"}.items():
            print(f"  {words:<28} {medians[kind]:10,.0f} jobs a second   {ratios[kind]:.2f} of the bare loop")
    return 0


def _measure(kind: str, asked: argparse.Namespace, env: dict[str, str]) -> float:
    run([sys.executable, "-m", "benchmarks.drain_steps", "fill", str(asked.jobs)], env)
    if kind == "bare":
        run([sys.executable, "-m", "benchmarks.drain_steps", "bare", str(asked.batch)], env)
    else:
        command = [sys.executable, "manage.py", "jobs_work", "default", "--stop-when-empty", "--isolation", kind]
        with subprocess.Popen(
            [*command, "--max-workers", str(asked.workers)], cwd=ROOT, env=env, stdout=subprocess.DEVNULL
        ) as worker:
            if worker.wait() != 0:
                raise SystemExit("the worker failed")
    return float(run([sys.executable, "-m", "benchmarks.drain_steps", "rate", str(asked.jobs)], env))


if __name__ == "__main__":
    raise SystemExit(main())
