"""The servers that the tests talk to: found, or started for this run alone.

For each of PostgreSQL, MySQL (MariaDB counts as it) and Redis, in this order:

1. its variable, `JOBS_TEST_POSTGRESQL`, `JOBS_TEST_MYSQL` or `JOBS_TEST_REDIS`: a URL such as
   `mysql://root:secret@127.0.0.1:3306`; empty means that it is not to be used
2. a server that answers on the standard port of 127.0.0.1
3. an installed program, started on a free port in a temporary folder until this process ends

Django is not needed here: its settings read what is found here from the same variables.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NoReturn

import pytest

from tests.support.servers import KINDS, LOCALHOST, Service, ServiceError, Unreachable


@dataclass(frozen=True)
class Services:
    """What the tests can use; `reasons` says why a missing one is missing, by its kind."""

    postgresql: Service | None
    mysql: Service | None
    redis: Service | None
    reasons: dict[str, str]

    @property
    def found(self) -> list[Service]:
        return [s for s in (self.postgresql, self.mysql, self.redis) if s is not None]

    def export(self) -> None:
        """Hand the addresses on to Django's settings and to child processes."""
        for kind in KINDS:
            service: Service | None = getattr(self, kind)
            os.environ[variable(kind)] = service.url if service else ""


def variable(kind: str) -> str:
    return f"JOBS_TEST_{kind.upper()}"


def find_services() -> Services:
    """Find or start every server, all at once; those started end with this process."""
    with ThreadPoolExecutor(len(KINDS)) as pool:
        results = dict(zip(KINDS, pool.map(_find, KINDS), strict=True))
    return Services(
        **{kind: None if isinstance(r, str) else r for kind, r in results.items()},
        reasons={kind: r for kind, r in results.items() if isinstance(r, str)},
    )


def _find(kind: str) -> Service | str:
    """The service, or why there is none."""
    try:
        return find_service(kind)
    except ServiceError as error:
        return str(error)


def find_service(kind: str) -> Service:
    """The server of a kind, found or started; ServiceError where there is none."""
    url = os.environ.get(variable(kind))
    if url is not None:
        return _named_service(kind, url)
    server = KINDS[kind]
    for user in server.standard_users():
        service = Service(kind, LOCALHOST, server.standard_port, user)
        try:
            service.probe()
        except Unreachable:
            continue
        return service
    return server().start()


def _named_service(kind: str, url: str) -> Service:
    if not url:
        raise ServiceError(f"{variable(kind)} is empty")
    try:
        service = Service.from_url(kind, url)
        service.probe()
    except ServiceError as error:
        raise ServiceError(f"{variable(kind)}: {error}") from error
    return service


def missing(service: str, why: object) -> NoReturn:
    """A test's service can't be had: skip the test, and say why; where CI=true asks for every service, fail it."""
    says = f"MISSING: {service}: {why}"
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(says)
    pytest.skip(says)
