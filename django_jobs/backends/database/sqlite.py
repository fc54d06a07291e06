"""SQLite: one writer at a time, so every transaction of ours begins IMMEDIATE; a version counter tells of commits."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from ...conf import conf
from ...runtime import Claim
from ..base import Wakeup
from .inotify import FileChanges
from .statements import Statements

WATCH_INTERVAL = 0.005
LOOK_SECONDS = 0.25  # after a write that the kernel told of
CANCELS_INTERVAL = 0.05


class SQLiteStatements(Statements):
    """The statements for SQLite. Moments are texts in UTC, in the form in which Django keeps them."""

    now = "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')"
    for_update = ""

    def later(self, seconds: str) -> str:
        return f"strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', ({seconds}) || ' seconds')"

    def epoch(self, column: str) -> str:
        return f"(julianday({column}) - 2440587.5) * 86400.0"

    def is_retryable(self, error: Exception) -> bool:
        return "locked" in str(error)

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        # A deferred BEGIN that reads first cannot always be raised to a write: it would fail with "database is locked"
        # at once, whatever the busy timeout is.
        mode = getattr(self.connection, "transaction_mode", None)
        self.connection.transaction_mode = "IMMEDIATE"  # type: ignore[attr-defined]
        try:
            with super().transaction() as cursor:
                yield cursor
        finally:
            self.connection.transaction_mode = mode  # type: ignore[attr-defined]

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        if self.connection.queries_logged or self.connection.execute_wrappers:  # they know Django's marks
            super().execute_many(sql, rows)
            return
        # Django's own cursor rewrites the marks of each statement each time, which takes a third as long as the insert.
        self.connection.ensure_connection()
        with self.connection.make_cursor(self.connection.connection.cursor()) as cursor:
            cursor.executemany(_with_own_marks(sql), rows)

    def claim(self, queue: str, worker_id: str, limit: int, suspect: bool) -> list[Claim]:
        if not self.connection.features.can_return_columns_from_insert:  # RETURNING needs SQLite 3.35
            return super().claim(queue, worker_id, limit, suspect)
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"""UPDATE {self.job} SET {self.claimed()}
                    WHERE id IN (
                        SELECT j.id FROM {self.job} j
                        WHERE j.queue = %s AND j.state = 'pending' AND j.suspect = {suspect!s} {self.countable}
                          AND {self.may_claim()}
                        ORDER BY j.rank, j.available_at, j.id LIMIT %s)
                    RETURNING {self.claimed_columns()}, CAST(rank AS INTEGER), hex(available_at)""",
                [self.uid(worker_id), queue, self.uid(worker_id), queue, limit],
            )
            # Cast, as a column of SQLite may hold anything: one value that can't be compared would fail the claim.
            rows = sorted(cursor.fetchall(), key=lambda row: (row[-2], row[-1], row[0]))
            return [self.claim_of(row[:-2]) for row in rows]

    def promote(self, limit: int) -> int:
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"""UPDATE {self.job} SET state = 'pending' WHERE id IN (
                        SELECT id FROM {self.job} WHERE state = 'scheduled' AND available_at <= {self.now}
                        ORDER BY available_at LIMIT %s)""",
                [limit],
            )
            return int(cursor.rowcount)

    def wakeup(self, queues: Sequence[str]) -> Wakeup:
        if self.connection.is_in_memory_db():  # type: ignore[attr-defined]
            return Wakeup()
        return DataVersionWakeup(self.connection.get_connection_params())


@lru_cache(maxsize=16)
def _with_own_marks(sql: str) -> str:
    """A statement whose parameters are marked as SQLite's driver has it."""
    return sql.replace("%%", "\0").replace("%s", "?").replace("\0", "%")


class DataVersionWakeup(Wakeup):
    """Looks at `PRAGMA data_version`, which changes with every commit of another connection (3 µs a look).

    Where the kernel tells of writes to the database's files, it looks only for a while after one: the commit becomes
    visible some time after the write. Elsewhere, or where a commit was not told of, it looks all the time.
    """

    watch_interval = CANCELS_INTERVAL

    def __init__(self, params: dict[str, Any]) -> None:
        import sqlite3  # here, as a worker on another database has no use for it

        uri = params.get("uri", False)
        self._raw = sqlite3.connect(params["database"], uri=uri, timeout=0, isolation_level=None)
        self._version(0)  # the first look opens the file to which commits are written first
        self._looks_until: float | None = None
        self._changes: FileChanges | None = None
        with contextlib.suppress(OSError, sqlite3.Error):
            self._changes = FileChanges(self._files())
        self._seen = self._seen_for_cancels = self._version(0)  # after that: what is new from now on is told of

    @property
    def interval(self) -> float:  # type: ignore[override]
        return conf.poll_interval if self._is_told else WATCH_INTERVAL

    def fileno(self) -> int | None:
        return self._changes.fileno() if self._changes is not None and self._is_told else None

    def ready(self) -> bool:
        told = self._hear()
        seen = self._seen
        self._seen = self._version(seen)
        is_new = seen != self._seen
        if self._looks_until is None:
            if is_new and not self._hear():  # a filesystem that does not tell
                self._close_changes()
        elif not told and not is_new and time.monotonic() >= self._looks_until:
            self._looks_until = None
            return True  # once more, so that the descriptor is watched again
        return is_new

    def cancels(self, worker_id: str) -> bool:
        self._hear()
        seen = self._seen_for_cancels
        self._seen_for_cancels = self._version(seen)
        return seen != self._seen_for_cancels

    def close(self) -> None:
        self._raw.close()
        self._close_changes()

    @property
    def _is_told(self) -> bool:
        """Whether it waits to be told of a write."""
        return self._changes is not None and self._looks_until is None

    def _hear(self) -> bool:
        """Whether it was told of a write. Each one is followed by a while of looking, also one that comes within it."""
        if self._changes is None or not self._changes.take():
            return False
        self._looks_until = time.monotonic() + LOOK_SECONDS
        return True

    def _close_changes(self) -> None:
        if self._changes is not None:
            self._changes.close()
            self._changes = None

    def _files(self) -> list[str]:
        """The database's file, and the one to which commits are written first, if that is another."""
        (path,) = (file for _, name, file in self._raw.execute("PRAGMA database_list") if name == "main")
        log = f"{path}-wal"
        return [path, log] if os.path.exists(log) else [path]

    def _version(self, known: int) -> int:
        try:
            return int(self._raw.execute("PRAGMA data_version").fetchone()[0])
        except Exception:  # busy or gone: that is no news, and polling goes on
            return known
