"""`python -m benchmarks.peers`: every queue in turn, a table for each store."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.harness import Figures, Results, measure, shown
from tests.support.servers import PostgreSQLServer, RedisServer

from . import __doc__ as about
from .environments import ROOT, environment

TABLES = ("postgresql", "sqlite", "redis", "fork")
"""What is compared: queues on the same store, and those that run each job in a process of its own."""


@dataclass(frozen=True)
class Contender:
    """A peer on a store; how many jobs are enqueued one by one (0: not measured), and how many are drained."""

    store: str
    peer: str
    enqueue: int
    drain: int
    variant: str = ""
    env: tuple[tuple[str, str], ...] = ()
    table: str = ""
    """In which it stands: default, that of its store."""

    @property
    def name(self) -> str:
        return f"{self.peer} {self.variant}".strip()


CONTENDERS = (
    Contender("postgresql", "django_jobs", 2_000, 30_000, "pool"),
    Contender("postgresql", "django_jobs", 0, 30_000, "inline"),
    Contender("postgresql", "pgqueuer", 2_000, 30_000),
    Contender("postgresql", "django_tasks_db", 600, 600),
    Contender("postgresql", "procrastinate", 600, 1_600),
    Contender("sqlite", "django_jobs", 2_000, 30_000, "pool"),
    Contender("sqlite", "django_jobs", 0, 30_000, "inline"),
    Contender("sqlite", "django_jobs", 2_000, 30_000, "pool, synchronous=NORMAL", (("PEER_SYNCHRONOUS", "NORMAL"),)),
    Contender("sqlite", "huey", 2_000, 6_000),
    Contender("sqlite", "django_tasks_db", 600, 600),
    Contender("redis", "huey", 2_000, 6_000),
    Contender("redis", "celery", 1_500, 1_500),
    Contender("redis", "rq", 500, 1_500, "in the worker"),
    Contender("redis", "rq", 0, 100, "fork a job"),
    Contender("redis", "rq", 0, 200, "fork a job", table="fork"),
    Contender("postgresql", "django_jobs", 0, 400, "fork, PostgreSQL", table="fork"),
    Contender("sqlite", "django_jobs", 0, 400, "fork, SQLite", table="fork"),
)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.peers", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    peers = list(dict.fromkeys(contender.peer for contender in CONTENDERS))
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(peers)}; default: all")
    parser.add_argument(
        "--store",
        choices=TABLES,
        action="append",
        dest="tables",
        help="may be given again; fork: a process for each job",
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="one round of a tenth: shows that it runs, not how fast")
    parser.add_argument("--python", default=sys.executable, help="the Python that all environments are made with")
    parser.add_argument("--json", action="store_true", help="print every round's figures instead of tables")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(peers):
        parser.error(f"there is no peer {min(unknown)!r}")
    found = []
    for table in asked.tables or TABLES:
        chosen = [c for c in CONTENDERS if (c.table or c.store) == table and (not asked.names or c.peer in asked.names)]
        if not chosen:
            continue
        part, rounds = (10, 1) if asked.quick else (1, asked.rounds)
        pythons = {c.peer: environment(c.peer, asked.python) for c in chosen}
        acts = {c.name: partial(_measure, c, pythons[c.peer], part) for c in chosen}
        results = measure(f"{table}, medians of {rounds} rounds", acts, rounds)
        found.append(results)
        if not asked.json:
            print(results.table(), *_comparisons(results), sep="\n", end="\n\n", flush=True)
    if asked.json:
        print(json.dumps([results.as_json() for results in found], indent=1))


def _comparisons(results: Results) -> Iterator[str]:
    """Each of ours as a multiple of each peer's figures."""
    ours = [name for name in results.rounds if name.startswith("django_jobs")]
    for us in ours:
        for peer in results.rounds:
            ratios = {figure: results.ratio(us, peer, figure) for figure in results.names()} if peer not in ours else {}
            if told := ", ".join(f"{figure}: {shown(ratio)}" for figure, ratio in ratios.items() if ratio):
                yield f"  {us} in multiples of {peer}: {told}"


def _measure(contender: Contender, python: Path, part: int) -> Figures:
    """Let the peer's own Python measure once, on a new and empty store."""
    with _store(contender.store) as (url, server), tempfile.TemporaryDirectory(prefix="jobs-peers-") as folder:
        log = Path(folder) / "log"
        env = {**os.environ, **dict(contender.env), "PEER_STORE": url, "PEER_LOG": str(log), "PYTHONPATH": str(ROOT)}
        env |= {"PEER_TALLY": f"{folder}/tally", "PEER_VARIANT": contender.variant.partition(",")[0]}
        env["PEER_SERVER"] = str(server or "")
        os.mkdir(env["PEER_TALLY"])
        answer = ""
        for verb in (["install"], ["measure", str(contender.enqueue // part), str(contender.drain // part)]):
            command = [python, "-m", "benchmarks.peers.run", contender.peer, *verb]
            done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
            if done.returncode:
                told = log.read_text() if log.exists() else ""
                raise SystemExit(
                    f"{contender.name}: {' '.join(verb)} failed:\n{done.stdout}{done.stderr}{told[-3000:]}"
                )
            answer = done.stdout
        figures: Figures = json.loads(answer.splitlines()[-1])
        return figures


@contextmanager
def _store(kind: str) -> Iterator[tuple[str, int | None]]:
    """The URL of a store of its own, and the pid of its server: new, and configured as it comes."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="jobs-peers-") as folder:
            yield f"sqlite://{folder}/jobs.sqlite3", None
    elif kind == "redis":
        with RedisServer("--save", "3600 1 300 100 60 10000") as server:
            yield f"{server.service.url}/0", server.pid
    else:
        with PostgreSQLServer("--fsync=on") as server:
            yield f"{server.service.url}/postgres", server.pid


if __name__ == "__main__":
    main()
