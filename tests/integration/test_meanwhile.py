"""What a worker does while it waits for its store."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from django.db import DatabaseError, connections

from django_jobs import Jobs
from django_jobs.backends import Settled
from django_jobs.backends.database import DatabaseBackend
from django_jobs.testing.conformance import settlement

from .conftest import claim_all

TRIES = 10  # the first statements of a connection are run as they are, later ones are prepared
ON_POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


class Pipe:
    """Can be read when it was told to, and then once."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.read = 0

    def tell(self) -> None:
        os.write(self.writer, b".")

    def act(self) -> None:
        self.read += len(os.read(self.reader, 1))


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    found = Pipe()
    yield found
    os.close(found.reader)
    os.close(found.writer)


def test_statements_answer_what_they_do_alone(jobs_on: DatabaseBackend, pipe: Pipe) -> None:
    for n in range(TRIES):
        job = Jobs.push("trial.noop", {"n": n})
        pipe.tell()
        with jobs_on.meanwhile(pipe.reader, pipe.act):
            (claim,) = claim_all(jobs_on, "default")
            assert jobs_on.settle([settlement(claim)]) == [Settled.WRITTEN]
        assert job.refresh().state == "completed"


@ON_POSTGRESQL
def test_what_is_done_meanwhile_may_be_what_the_server_waits_for(jobs_on: DatabaseBackend, pipe: Pipe) -> None:
    import psycopg

    for n in range(TRIES):
        Jobs.push("trial.noop", {"n": n})
        (claim,) = claim_all(jobs_on, "default")
        with psycopg.connect(**connections[jobs_on.database].get_connection_params()) as other:
            other.execute("SELECT 1 FROM django_jobs_job WHERE id = %s FOR UPDATE", [claim.id])

            def let_go(other: psycopg.Connection[object] = other) -> None:
                pipe.act()
                other.rollback()

            pipe.tell()
            with jobs_on.meanwhile(pipe.reader, let_go):
                assert jobs_on.settle([settlement(claim)]) == [Settled.WRITTEN]
        assert pipe.read == n + 1


@ON_POSTGRESQL
def test_an_end_that_is_closed_keeps_nobody_from_an_answer(jobs_on: DatabaseBackend, pipe: Pipe) -> None:
    os.close(pipe.writer)
    with jobs_on.meanwhile(pipe.reader, pipe.act), connections[jobs_on.database].cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.01)")
    pipe.writer = os.open(os.devnull, os.O_WRONLY)
    assert pipe.read == 0


@ON_POSTGRESQL
def test_errors_of_the_server_arrive_and_nothing_stays_behind(jobs_on: DatabaseBackend, pipe: Pipe) -> None:
    connection = connections[jobs_on.database]
    pipe.tell()
    with (
        jobs_on.meanwhile(pipe.reader, pipe.act),
        connection.cursor() as cursor,
        pytest.raises(DatabaseError, match="division by zero"),
    ):
        cursor.execute("SELECT 1 / 0 FROM pg_sleep(0.01)")
    read = pipe.read
    pipe.tell()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 7")
        assert cursor.fetchone() == (7,)
    assert pipe.read == read
