"""The contract through PgBouncer in transaction mode, where no session lasts: `OPTIONS` say `"LISTEN": False`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections

from django_jobs.backends.base import Wakeup
from django_jobs.backends.database import DatabaseBackend
from django_jobs.backends.database.prepared import WORTH_IT
from tests.contract import test_concurrency, test_contract
from tests.support.jobs import whole
from tests.support.servers import PgBouncer, ServiceError
from tests.support.services import Services, missing
from tests.support.site import empty_tables

ALIAS = "pgbouncer"


@pytest.fixture(scope="module")
def pooler(services: Services, django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The alias `pgbouncer`: the test database on PostgreSQL, by way of a pooler."""
    if services.postgresql is None:
        missing("postgresql", services.reasons.get("postgresql"))
    try:
        with PgBouncer(services.postgresql) as server, django_db_blocker.unblock():
            given = connections["postgresql"].settings_dict
            connections.settings[ALIAS] = {
                **given,
                "HOST": server.service.host,
                "PORT": server.service.port,
                "DISABLE_SERVER_SIDE_CURSORS": True,
            }
            yield
            connections[ALIAS].close()
            del connections[ALIAS]
            del connections.settings[ALIAS]
    except ServiceError as error:
        missing("pgbouncer", error)


@pytest.fixture
def backend(pooler: None, django_db_blocker: Any) -> Iterator[DatabaseBackend]:
    with django_db_blocker.unblock():
        empty_tables(ALIAS)
        yield DatabaseBackend("default", {"DATABASE": ALIAS, "LISTEN": False})
        empty_tables(ALIAS)


class TestPooled(test_contract.TestDatabase):
    @pytest.fixture
    def backend(self, backend):
        return backend

    def test_a_worker_is_told_of_new_work(self, backend):
        """It is not: it polls."""
        assert type(backend.wakeup(["contract"])) is Wakeup

    def test_a_worker_is_told_of_a_cancel_at_once_and_not_of_new_work_instead(self, backend):
        """It is not: it asks."""
        assert not backend.wakeup(["contract"]).cancels("worker")


class TestPooledConcurrency(test_concurrency.TestConcurrency):
    @pytest.fixture
    def backend(self, backend):
        return backend


def test_nothing_is_prepared_behind_a_pooler(backend: DatabaseBackend) -> None:
    for _ in range(2 * WORTH_IT):
        backend.enqueue(whole(queue="contract"))
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        assert cursor.fetchone() == (0,)
