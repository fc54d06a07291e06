"""What every test can use: the databases, and a clean queue in each of them.

`database` is one of the aliases, `store` the database backend on it with empty tables, whose commits are real: other
threads and processes see them. `site_env(database)` (tests/support/site.py) takes the same database to other processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from django.test.utils import setup_databases, teardown_databases
from hypothesis import settings as hypothesis_settings

from django_jobs.backends.database import DatabaseBackend
from tests.support.services import Services, missing
from tests.support.site import empty_tables

# A slow machine is no failure, and a run of its own file of examples would differ from everybody else's.
hypothesis_settings.register_profile("django_jobs", deadline=None, database=None)
hypothesis_settings.load_profile("django_jobs")

pytest_plugins = ["django_jobs.testing.pytest_plugin"]
DATABASES = {"sqlite": "default", "postgresql": "postgresql", "mysql": "mysql"}


@pytest.fixture(scope="session")
def django_db_setup(
    request: pytest.FixtureRequest,
    django_test_environment: None,
    django_db_blocker: Any,
    django_db_modify_db_settings: None,
) -> Iterator[None]:
    """Every test database, whichever tests were collected: pytest-django's own makes only those that marks name."""
    verbosity = request.config.option.verbose
    with django_db_blocker.unblock():
        made = setup_databases(verbosity, interactive=False, aliases=set(connections), serialized_aliases=set())
    yield
    with django_db_blocker.unblock():
        teardown_databases(made, verbosity)


@pytest.fixture(params=list(DATABASES))
def database(request: pytest.FixtureRequest, services: Services) -> str:
    """The alias of a database; the test runs once for each. Skips where its server is missing, and says why."""
    alias = DATABASES[request.param]
    if alias not in connections.settings:
        missing(request.param, services.reasons.get(request.param, "not configured"))
    return alias


@pytest.fixture
def store(database: str, django_db_setup: None, django_db_blocker: Any) -> Iterator[DatabaseBackend]:
    """The database backend on `database`, with empty tables and without a transaction around the test."""
    with django_db_blocker.unblock():
        empty_tables(database)
        try:
            yield DatabaseBackend("default", {"DATABASE": database})
        finally:
            if not connections[database].in_atomic_block:
                empty_tables(database)


@pytest.fixture
def jobs_on(store: DatabaseBackend, settings: Any) -> DatabaseBackend:
    """`store`, which is what `Jobs` uses too."""
    settings.JOBS_DATABASE_ALIAS = store.database
    return store
