"""The database server is restarted, and crashes: the worker waits for it, and nothing is lost or done twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import CompletedJob
from tests.support.servers import KINDS, ServerProcess, ServiceError
from tests.support.services import Services, missing
from tests.support.waiting import wait_until
from tests.support.worker import counts, lines, wait_finished, worker

ALIAS = "own"
CREATE = {"postgresql": "CREATE DATABASE own", "mysql": "CREATE DATABASE own CHARACTER SET utf8mb4"}


@pytest.fixture(params=["postgresql", "mysql"])
def server(request: pytest.FixtureRequest, services: Services) -> Iterator[ServerProcess]:
    """A server that the test may do anything to."""
    if request.param not in connections.settings:
        missing(request.param, services.reasons.get(request.param, "not configured"))
    try:
        with KINDS[request.param]() as server:
            yield server
    except ServiceError as error:
        missing(request.param, error)


@pytest.fixture
def own(
    server: ServerProcess, settings: Any, django_db_setup: None, django_db_blocker: Any
) -> Iterator[DatabaseBackend]:
    """The queue, on a database of that server."""
    given = connections.settings[server.kind]
    address = {"HOST": server.service.host, "PORT": server.service.port, "USER": server.service.user, "PASSWORD": ""}
    admin = {"postgresql": "postgres", "mysql": "mysql"}[server.kind]
    settings.JOBS_DATABASE_ALIAS = ALIAS
    with django_db_blocker.unblock():
        connections.settings[ALIAS] = {**given, **address, "NAME": admin}
        try:
            with connections[ALIAS].cursor() as cursor:
                cursor.execute(CREATE[server.kind])
            connections[ALIAS].close()
            connections[ALIAS].settings_dict["NAME"] = "own"
            call_command("migrate", database=ALIAS, verbosity=0)
            yield DatabaseBackend("default", {"DATABASE": ALIAS})
        finally:
            connections[ALIAS].close()
            del connections[ALIAS]
            del connections.settings[ALIAS]


def test_a_server_that_is_restarted_and_crashes(own: DatabaseBackend, server: ServerProcess, proof: Path) -> None:
    payload = {"path": str(proof), "seconds": 0.02}
    ids = {str(ref) for ref in Jobs.dispatch_many([Jobs.define("trial.write", payload) for _ in range(300)])}
    with worker(own, "default", "--max-workers", "2", "--show", "quiet") as w:
        for again in (server.restart, lambda: (server.kill(), server.start())):
            seen = len(lines(proof))
            wait_until(lambda: len(lines(proof)) > seen + 20, "jobs to be done")  # noqa: B023
            connections[ALIAS].close()
            again()
        wait_finished(own)
        assert w.process.poll() is None
        assert w.stop() == 0, w.text
    assert counts(own) == {"completed": 300}
    assert {line.split()[0] for line in lines(proof)} == ids
    assert set(CompletedJob.objects.using(ALIAS).values_list("attempt", "crashes")) == {(1, 0)}
