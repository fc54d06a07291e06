"""Connections to the store are cut, replies lost, or all falls silent: the worker goes on, and loses nothing."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connections

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import CompletedJob, Job, Worker
from tests.support.proxy import FaultProxy
from tests.support.servers import PgBouncer, ServiceError
from tests.support.services import Services, missing
from tests.support.waiting import wait_until
from tests.support.worker import counts, lines, registered, wait_finished, worker

# SQLite has no connections that could be cut.
pytestmark = pytest.mark.parametrize("database", ["postgresql", "mysql"], indirect=True)


@pytest.fixture
def proxy(queue: DatabaseBackend) -> Iterator[FaultProxy]:
    """A failing network before the database of the queue."""
    with FaultProxy(int(connections[queue.database].settings_dict["PORT"])) as proxy:
        yield proxy


@contextmanager
def cutting(proxy: FaultProxy, seconds: float = 0.15, seed: int = 1) -> Iterator[None]:
    """Connections are cut one by one."""
    over, rng = threading.Event(), random.Random(seed)

    def cut() -> None:
        while not over.wait(seconds):
            proxy.cut_one(rng)

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def dispatch(proof: Path, jobs: int, seconds: float = 0.0) -> list[str]:
    payload = {"path": str(proof), "seconds": seconds}
    return list(map(str, Jobs.dispatch_many([Jobs.define("trial.write", payload) for _ in range(jobs)])))


def assert_all_done(queue: DatabaseBackend, proof: Path, ids: list[str]) -> Counter[str]:
    """Every job is completed, once; answers how often each ran."""
    assert counts(queue) == {"completed": len(ids)}
    runs = Counter(line.split()[0] for line in lines(proof))
    assert set(runs) == set(ids)
    rows = CompletedJob.objects.using(queue.database)
    assert set(rows.values_list("attempt", "crashes")) == {(1, 0)}
    return runs


@pytest.mark.quick_on("postgresql")
def test_connections_that_are_cut_again_and_again(queue: DatabaseBackend, proxy: FaultProxy, proof: Path) -> None:
    ids = dispatch(proof, 300, seconds=0.02)
    with worker(queue, "default", "--max-workers", "2", "--show", "quiet", port=proxy.port) as w:
        with cutting(proxy):
            wait_finished(queue)
        assert w.process.poll() is None
        assert w.stop() == 0, w.text
    assert proxy.cuts >= 10
    assert_all_done(queue, proof, ids)


def test_replies_that_are_lost(queue: DatabaseBackend, proxy: FaultProxy, proof: Path) -> None:
    """The store has done what it was asked, and the worker does not know: claims and settlements alike."""
    ids = dispatch(proof, 200, seconds=0.005)
    proxy.swallow = (b"COMMIT", b"WITH picked", b"WITH gone")
    with worker(queue, "default", "--max-workers", "2", "--show", "quiet", port=proxy.port) as w:
        wait_until(lambda: proxy.swallowed >= 8, "replies to be lost")
        proxy.swallow = ()
        wait_finished(queue)
        assert w.process.poll() is None
        assert w.stop() == 0, w.text
    runs = assert_all_done(queue, proof, ids)
    # A job whose claim never arrived was not run, and one whose settlement was written is not run again.
    assert set(runs.values()) == {1}


def test_a_connection_that_falls_silent_as_it_begins_to_listen(
    queue: DatabaseBackend, proxy: FaultProxy, proof: Path
) -> None:
    only_postgresql(queue)
    proxy.silences = b"LISTEN"
    with worker(queue, "default", "--max-workers", "1", port=proxy.port) as w:
        wait_until(lambda: proxy.silenced, "the worker to listen")
        ids = dispatch(proof, 5)
        wait_finished(queue)
        assert w.stop() == 0, w.text
    assert_all_done(queue, proof, ids)


def test_a_listening_connection_that_falls_silent_is_replaced(
    queue: DatabaseBackend, proxy: FaultProxy, proof: Path
) -> None:
    only_postgresql(queue)
    with worker(queue, "default", "--max-workers", "1", port=proxy.port) as w:
        first = wait_until(lambda: proxy.that_said(b"LISTEN"), "the worker to listen")
        proxy.silence(first)
        wait_until(lambda: set(proxy.that_said(b"LISTEN")) - set(first), "the worker to listen anew")
        ids = dispatch(proof, 5)
        wait_finished(queue)
        assert w.stop() == 0, w.text
    assert_all_done(queue, proof, ids)


def test_every_connection_falls_silent(queue: DatabaseBackend, proxy: FaultProxy, proof: Path) -> None:
    """What a server that hangs looks like, until another takes its place."""
    with worker(queue, "default", "--max-workers", "1", port=proxy.port) as w:
        wait_until(lambda: registered(queue), "the worker to register")
        proxy.silence()
        ids = dispatch(proof, 5)
        wait_finished(queue)
        assert w.process.poll() is None
        assert w.stop() == 0, w.text
    assert_all_done(queue, proof, ids)


@pytest.mark.quick_on("postgresql")
def test_a_row_that_somebody_holds_does_not_cost_the_lease(queue: DatabaseBackend, proof: Path) -> None:
    """A settlement waits for it, and the lease is renewed all the same."""
    (job_id,) = dispatch(proof, 1, seconds=0.5)
    rows = Job.objects.using(queue.database)
    with worker(queue, "default", "--max-workers", "1") as w:
        wait_until(lambda: rows.filter(state="running").exists(), "the job to run")
        (before,) = registered(queue)
        other = connections[queue.database].copy()
        try:
            with other.cursor() as cursor:
                cursor.execute("BEGIN")
                cursor.execute("SELECT id FROM django_jobs_job FOR UPDATE")
            wait_until(lambda: lines(proof), "the job to be done")
            wait_until(lambda: renewed_for(queue, before) > 6, "the lease to be renewed for twice its length")
        finally:
            other.close()
        wait_finished(queue)
        assert w.stop() == 0, w.text
    assert_all_done(queue, proof, [job_id])
    assert registered(queue, "lost") == []


def test_a_worker_behind_pgbouncer(queue: DatabaseBackend, services: Services, proof: Path) -> None:
    only_postgresql(queue)
    assert services.postgresql is not None
    backend = {"BACKEND": "django_jobs.backends.database.DatabaseBackend", "OPTIONS": {"LISTEN": False}}
    ids = dispatch(proof, 100)
    try:
        pooler = PgBouncer(services.postgresql)
        pooler.start()
    except ServiceError as error:
        missing("pgbouncer", error)
    with (
        pooler,
        worker(
            queue, "default", "--max-workers", "2", port=pooler.service.port, JOBS_BACKENDS={"default": backend}
        ) as w,
    ):
        wait_finished(queue)
        ids += dispatch(proof, 10)
        wait_finished(queue)
        assert w.stop() == 0, w.text
    assert_all_done(queue, proof, ids)


def renewed_for(store: DatabaseBackend, worker: Worker) -> float:
    """For how long, in seconds, the worker has renewed its lease since it was seen."""
    now = Worker.objects.using(store.database).get(id=worker.id)
    return (now.renewed_at - worker.renewed_at).total_seconds()


def only_postgresql(store: DatabaseBackend) -> None:
    if connections[store.database].vendor != "postgresql":
        pytest.skip("LISTEN is PostgreSQL's")


@pytest.mark.torture
def test_a_job_whose_process_is_not_there_yet_does_not_run_when_it_has_been_given_back(
    queue: DatabaseBackend, proxy: FaultProxy, proof: Path
) -> None:
    """The store is away until the worker ends what runs, and back before the process that it has just forked starts."""
    slow = {"program": "tests/support/slow_forks.py", "environment": {"SLOW_FORKS": "5"}}
    arguments = ("default", "--isolation", "fork", "--max-workers", "1")
    with worker(queue, *arguments, port=proxy.port, **slow, JOBS_HEARTBEAT_INTERVAL=0.3) as w:
        Jobs.push("trial.noop")
        wait_finished(queue)  # so the template is there, and the next child has just been forked
        ref = Jobs.push("trial.write", {"path": str(proof)})
        wait_until(lambda: ref.refresh().state == "running", "the claim")
        target, proxy.target = proxy.target, ("127.0.0.1", 1)
        with cutting(proxy, 0.02):
            wait_until(lambda: "ending what runs" in w.text, "the end of the lease", 20)
        proxy.target = target
        wait_finished(queue)
        assert w.stop() == 0, w.text
    assert ref.refresh().claim_no > 1
    assert len(lines(proof)) == 1
