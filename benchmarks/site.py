"""Databases for the benchmarks alone, on the servers that the tests use, with the site of `testproject` on them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.services import find_services

ROOT = Path(__file__).resolve().parents[1]
WAIT_SECONDS = 120.0
POOL = ("--isolation", "pool", "--max-workers", "2")
INLINE = ("--isolation", "inline")


@dataclass(frozen=True)
class Site:
    """A site with an empty, migrated database. `kind` is sqlite, postgresql or mysql."""

    kind: str
    name: str
    folder: str

    @property
    def env(self) -> dict[str, str]:
        """The environment in which processes work on this site."""
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "testproject.settings",
            "TESTPROJECT_ALL_DATABASES": "0",
            "TESTPROJECT_DATABASE": self.kind,
            "TESTPROJECT_NAME": self.name,
            "TESTPROJECT_VAR": self.folder,
        }

    def enter(self) -> None:
        """Make this the site of this process."""
        from django.db import connection

        connection.close()
        connection.settings_dict["NAME"] = self.database

    @property
    def database(self) -> str:
        """What Django calls the database's NAME."""
        return str(Path(self.folder) / f"{self.name}.sqlite3") if self.kind == "sqlite" else self.name


@contextmanager
def sites(kind: str, *suffixes: str) -> Iterator[list[Site]]:
    """Sites on databases of this kind, the first one entered; their databases are dropped afterwards."""
    services = find_services()
    services.export()
    folder = tempfile.mkdtemp(prefix="jobs-bench-")
    found = [Site(kind, f"jobs_bench_{os.getpid()}{suffix}", folder) for suffix in (suffixes or ("",))]
    try:
        for site in found:
            administer(kind, f"CREATE DATABASE {site.name}")
        os.environ.update(found[0].env)
        import django

        django.setup()
        from django.core.management import call_command

        for site in reversed(found):
            site.enter()
            call_command("migrate", verbosity=0)
        yield found
    finally:
        if "django.db" in sys.modules:
            from django.db import connections

            connections.close_all()
        for site in found:
            administer(kind, f"DROP DATABASE IF EXISTS {site.name}")
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def worker(site: Site, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """`jobs_work` as a user starts it; told to stop with the block."""
    command = [sys.executable, "manage.py", "jobs_work", "default", *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=site.env, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()


def run_worker(site: Site, *arguments: str) -> float:
    """Let a worker run until a limit of its own ends it; answers the CPU seconds of it and all its children."""
    with worker(site, *arguments) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the worker ended with {process.returncode}")
    return used.ru_utime + used.ru_stime


def wait_for(look: Callable[[], object], what: str) -> None:
    """Until `look` answers something true."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not look():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.01)


def administer(kind: str, statement: str) -> None:
    """Run a statement on the server itself, not in a database of ours; nothing on SQLite."""
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
