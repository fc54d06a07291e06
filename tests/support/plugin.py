"""Pytest finds or starts the servers before Django reads its settings.

A missing server means skipped tests, said at the start and at the end of the run. Under
`--require-services`, or with CI=true, it ends the run at once.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator

import pytest

from tests.support.services import Services, find_services

services_key = pytest.StashKey[Services]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-services",
        action="store_true",
        default=os.environ.get("CI", "").lower() in ("1", "true"),
        help="fail at once when PostgreSQL, MariaDB/MySQL or Redis is missing (implied by CI=true)",
    )


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    # A wrapper runs before pytest-django's hook of this name, which loads the settings.
    services = find_services()
    services.export()
    early_config.stash[services_key] = services
    # One run covers every database, in files and databases of its own.
    var = tempfile.mkdtemp(prefix="django_jobs_")
    early_config.add_cleanup(lambda: shutil.rmtree(var, ignore_errors=True))
    os.environ |= {
        "TESTPROJECT_ALL_DATABASES": "1",
        "TESTPROJECT_DATABASE": "sqlite",
        "TESTPROJECT_NAME": os.environ.get("TESTPROJECT_NAME", "jobs"),
        "TESTPROJECT_VAR": var,
    }
    return (yield)


def pytest_sessionstart(session: pytest.Session) -> None:
    missing = _missing(session.config)
    if missing and session.config.getoption("require_services"):
        pytest.exit("\n".join(["these tests need every service:", *missing]), returncode=1)


def pytest_report_header(config: pytest.Config) -> list[str]:
    found = config.stash[services_key].found
    origins = [f"{s.kind} on port {s.port}{' (started)' if s.started else ''}" for s in found]
    return [f"services: {', '.join(origins) or 'none'}", *_missing(config)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if missing := _missing(config):
        terminalreporter.section("services missing: their tests were skipped", red=True, bold=True)
        for line in missing:
            terminalreporter.write_line(line, red=True)


@pytest.fixture(scope="session")
def services(pytestconfig: pytest.Config) -> Services:
    return pytestconfig.stash[services_key]


def _missing(config: pytest.Config) -> list[str]:
    reasons = config.stash[services_key].reasons
    return [f"MISSING: {kind}: {reason}" for kind, reason in reasons.items()]
