"""How a worker on SQLite hears of new jobs: from the kernel, or by looking again and again."""

from __future__ import annotations

import contextlib
import select
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_jobs.backends.database.inotify import FileChanges
from django_jobs.backends.database.sqlite import WATCH_INTERVAL, DataVersionWakeup
from django_jobs.conf import conf

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
DEADLINE_SECONDS = 10.0


@pytest.fixture(params=["wal", "delete"])
def writer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "site.sqlite3", isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={request.param}")
    connection.execute("CREATE TABLE t (n)")
    yield connection
    connection.close()


@pytest.fixture
def wakeup(writer: sqlite3.Connection, tmp_path: Path) -> Iterator[DataVersionWakeup]:
    found = DataVersionWakeup({"database": str(tmp_path / "site.sqlite3")})
    yield found
    found.close()


def is_readable(fd: int | None, seconds: float = DEADLINE_SECONDS) -> bool:
    assert fd is not None
    return bool(select.select([fd], [], [], seconds)[0])


def write_a_lot(writer: sqlite3.Connection) -> None:
    """Begin a transaction of which much is written to a file before it is committed."""
    writer.execute("PRAGMA cache_size = 5")
    writer.execute("BEGIN IMMEDIATE")
    writer.executemany("INSERT INTO t VALUES (?)", (("x" * 2000,) for _ in range(200)))


def test_nobody_looks_while_nothing_is_written(wakeup: DataVersionWakeup) -> None:
    assert wakeup.interval == conf.poll_interval
    assert not is_readable(wakeup.fileno(), 0.0)
    assert not wakeup.ready()


def test_a_commit_is_told_of(writer: sqlite3.Connection, wakeup: DataVersionWakeup) -> None:
    writer.execute("INSERT INTO t VALUES (1)")
    assert is_readable(wakeup.fileno())
    assert wakeup.ready()
    assert not wakeup.ready()


def test_after_a_write_it_looks_for_a_while_as_the_commit_comes_later(
    writer: sqlite3.Connection, wakeup: DataVersionWakeup
) -> None:
    write_a_lot(writer)
    assert is_readable(wakeup.fileno())
    assert not wakeup.ready()
    assert (wakeup.fileno(), wakeup.interval) == (None, WATCH_INTERVAL)
    writer.execute("COMMIT")
    assert wakeup.ready()


def test_it_looks_on_after_a_write_that_comes_while_it_looks(
    writer: sqlite3.Connection, wakeup: DataVersionWakeup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_jobs.backends.database.sqlite.LOOK_SECONDS", 0.0)
    writer.execute("INSERT INTO t VALUES (1)")
    assert wakeup.ready()
    write_a_lot(writer)
    assert not wakeup.ready()
    assert (wakeup.fileno(), wakeup.interval) == (None, WATCH_INTERVAL)
    writer.execute("COMMIT")
    assert wakeup.ready()


def test_a_commit_while_it_is_opened_does_not_look_like_one_that_is_not_told_of(
    writer: sqlite3.Connection, tmp_path: Path
) -> None:
    class Slow(DataVersionWakeup):
        def _files(self) -> list[str]:
            writer.execute("INSERT INTO t VALUES (1)")
            return super()._files()

    with contextlib.closing(Slow({"database": str(tmp_path / "site.sqlite3")})) as wakeup:
        assert not wakeup.ready()
        assert wakeup.interval == conf.poll_interval


def test_a_database_without_a_file_is_looked_at_all_the_time() -> None:
    with contextlib.closing(DataVersionWakeup({"database": "file::memory:?cache=shared", "uri": True})) as wakeup:
        assert (wakeup.fileno(), wakeup.interval) == (None, WATCH_INTERVAL)


def test_when_all_is_quiet_again_it_looks_once_more_and_waits_to_be_told(
    writer: sqlite3.Connection, wakeup: DataVersionWakeup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_jobs.backends.database.sqlite.LOOK_SECONDS", 0.0)
    writer.execute("INSERT INTO t VALUES (1)")
    assert wakeup.ready()
    assert wakeup.ready()
    assert not wakeup.ready()
    assert not is_readable(wakeup.fileno(), 0.0)
    writer.execute("INSERT INTO t VALUES (2)")
    assert is_readable(wakeup.fileno())


def test_what_is_asked_of_cancels_hides_nothing_of_jobs(writer: sqlite3.Connection, wakeup: DataVersionWakeup) -> None:
    writer.execute("INSERT INTO t VALUES (1)")
    assert wakeup.cancels("worker")
    assert not wakeup.cancels("worker")
    assert wakeup.ready()


def test_a_filesystem_that_tells_nothing_is_looked_at_all_the_time(
    writer: sqlite3.Connection, wakeup: DataVersionWakeup, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.touch()
    wakeup._close_changes()
    wakeup._changes = FileChanges([str(other)])
    writer.execute("INSERT INTO t VALUES (1)")
    assert wakeup.ready()
    assert (wakeup.fileno(), wakeup.interval) == (None, WATCH_INTERVAL)
    writer.execute("INSERT INTO t VALUES (2)")
    assert wakeup.ready()


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileChanges([str(tmp_path / "nothing")])
