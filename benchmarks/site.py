"""A database of its own for each benchmark, on the servers that the tests use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.services import find_services

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def fresh_site(kind: str) -> Iterator[dict[str, str]]:
    """The environment of a site with an empty, migrated database of this kind; dropped afterwards."""
    services = find_services()
    services.export()
    var = tempfile.mkdtemp(prefix="jobs-bench-")
    name = f"jobs_bench_{os.getpid()}"
    env = {**os.environ, "TESTPROJECT_DATABASE": kind, "TESTPROJECT_NAME": name, "TESTPROJECT_VAR": var}
    env |= {"DJANGO_SETTINGS_MODULE": "testproject.settings", "TESTPROJECT_ALL_DATABASES": "0"}
    try:
        _administer(kind, f"CREATE DATABASE {name}")
        run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], env)
        yield env
    finally:
        _administer(kind, f"DROP DATABASE IF EXISTS {name}")
        shutil.rmtree(var, ignore_errors=True)


def run(command: list[str], env: dict[str, str]) -> str:
    """Run a command to its end; answers what it printed."""
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _administer(kind: str, statement: str) -> None:
    services = find_services()
    if kind == "postgresql":
        import psycopg

        server = services.postgresql
        if server is None:
            raise SystemExit(f"no PostgreSQL: {services.reasons.get('postgresql')}")
        with psycopg.connect(f"{server.url}/postgres", autocommit=True) as connection:
            connection.execute(statement)
    elif kind == "mysql":
        from testproject.mysql_driver import install_mysql_driver

        install_mysql_driver()
        import MySQLdb

        server = services.mysql
        if server is None:
            raise SystemExit(f"no MariaDB or MySQL: {services.reasons.get('mysql')}")
        connection = MySQLdb.connect(
            host=server.host, port=server.port, user=server.user, password=server.password or "", charset="utf8mb4"
        )
        connection.cursor().execute(statement)
        connection.close()
