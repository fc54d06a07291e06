"""How long a job waits for an idle worker: from the moment before the enqueue until its handler starts.

The bare minimum is a row inserted and committed, and a process that then claims it in one committed statement. On
PostgreSQL it is told by a NOTIFY after the insert, and listens; "from the NOTIFY on" leaves the insert out of its time.
On other stores it looks every millisecond. Jobs come one at a time, at odd moments.
"""

from __future__ import annotations

import os
import random
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import IO, Any

from .harness import Contenders, Figures
from .site import INLINE, POOL, ROOT, Site, wait_for, worker

ROUNDS = 15
CHANNEL = "bench_line"
LOOK_SECONDS = 0.001
WARM_UP = 5
PATIENCE_SECONDS = 30.0


def contenders(site: Site, *, quick: bool) -> Contenders:
    """The bare claim, and the worker in each of its ways to run jobs."""
    samples = 10 if quick else 40
    _make_line()
    bare = {"bare claim": partial(_bare, site, samples, False)}
    if site.kind == "postgresql":
        bare["bare claim, from the NOTIFY on"] = partial(_bare, site, samples, True)
    return bare | {
        "jobs_work, two children": partial(_worker, site, samples, POOL),
        "jobs_work --isolation inline": partial(_worker, site, samples, INLINE),
    }


def _worker(site: Site, samples: int, arguments: Sequence[str]) -> Figures:
    from django_jobs import Jobs
    from django_jobs.models import Worker

    from .jobs import empty

    empty()
    Worker.objects.all().delete()
    with _pipe(site) as (path, pipe), worker(site, *arguments):
        wait_for(Worker.objects.filter(state="running").exists, "a worker")

        def enqueue() -> int:
            started = time.monotonic_ns()
            Jobs.push("trial.moment", {"path": path})
            return started

        return _figures(samples, enqueue, pipe)


def _bare(site: Site, samples: int, from_notify: bool) -> Figures:
    from django.db import connection

    with _pipe(site) as (path, pipe):
        command = [sys.executable, "-m", "benchmarks.pickup", path]
        with subprocess.Popen(command, cwd=ROOT, env=site.env) as claimer:
            pipe.readline()
            connection.ensure_connection()
            cursor: Any = connection.connection.cursor()

            def enqueue() -> int:
                started = time.monotonic_ns()
                cursor.execute("INSERT INTO bench_line (state) VALUES ('pending')")
                if connection.vendor == "postgresql":
                    started = time.monotonic_ns() if from_notify else started
                    cursor.execute(f"NOTIFY {CHANNEL}")
                return started

            try:
                return _figures(samples, enqueue, pipe)
            finally:
                claimer.terminate()


def _figures(samples: int, enqueue: Callable[[], int], pipe: IO[bytes]) -> Figures:
    """Milliseconds from what `enqueue` answers to the moment that comes through the pipe."""
    waits = []
    for number in range(WARM_UP + samples):
        time.sleep(random.uniform(0.02, 0.06))
        started = enqueue()
        if not select.select([pipe], [], [], PATIENCE_SECONDS)[0]:
            raise SystemExit("a job was not picked up")
        if number >= WARM_UP:
            waits.append((int(pipe.readline()) - started) / 1e6)
        else:
            pipe.readline()
    cuts = quantiles(waits, n=20, method="inclusive")
    return {"p50 ms": cuts[9], "p95 ms": cuts[18]}


@contextmanager
def _pipe(site: Site) -> Iterator[tuple[str, IO[bytes]]]:
    """A named pipe that whoever picks a job up writes the moment to."""
    path = Path(site.folder) / "moments"
    os.mkfifo(path)
    # Open at both ends here: it never ends when a writer closes it.
    with open(os.open(path, os.O_RDWR), "rb", buffering=0) as pipe:
        try:
            yield str(path), pipe
        finally:
            path.unlink()


def _make_line() -> None:
    from django.db import connection

    serial = {"postgresql": "BIGSERIAL", "mysql": "BIGINT AUTO_INCREMENT", "sqlite": "INTEGER"}[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE bench_line (id {serial} PRIMARY KEY, state VARCHAR(16))")


def _claim_for_ever(path: str) -> None:
    """The claimer: a process of its own."""
    import django

    django.setup()
    from django.db import connection

    connection.ensure_connection()
    driver: Any = connection.connection
    locked = "" if connection.vendor == "sqlite" else "FOR UPDATE SKIP LOCKED"
    first = f"SELECT id FROM bench_line WHERE state = 'pending' ORDER BY id LIMIT 1 {locked}"
    claim = f"UPDATE bench_line SET state = 'running' WHERE id = ({first})"
    if connection.vendor == "mysql":
        claim = "UPDATE bench_line SET state = 'running' WHERE state = 'pending' ORDER BY id LIMIT 1"
    cursor = driver.cursor()
    out = os.open(path, os.O_WRONLY)
    if connection.vendor == "postgresql":
        cursor.execute(f"LISTEN {CHANNEL}")
    os.write(out, b"ready\n")
    while True:
        if connection.vendor == "postgresql":
            select.select([driver.fileno()], [], [])
            driver.pgconn.consume_input()
            while driver.pgconn.notifies() is not None:
                pass
        else:
            time.sleep(LOOK_SECONDS)
        cursor.execute(claim)
        if cursor.rowcount == 1:
            os.write(out, b"%d\n" % time.monotonic_ns())


if __name__ == "__main__":
    _claim_for_ever(sys.argv[1])
