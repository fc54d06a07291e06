"""The database connections that handlers have opened in this thread: looked after between one attempt and the next."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from django.db import connections, reset_queries
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

IDLE_SECONDS = 10.0


class _Opened(threading.local):
    """By alias, the connections that a thread has opened. To ask Django for them takes as long as a quick job."""

    def __init__(self) -> None:
        self.by_alias: dict[str, BaseDatabaseWrapper] = {}
        self.used_at = time.monotonic()


_opened = _Opened()


def _note_connection(*, connection: BaseDatabaseWrapper, **_: Any) -> None:
    _opened.by_alias[connection.alias] = connection


connection_created.connect(_note_connection, dispatch_uid="django_jobs.connections")


def are_open() -> bool:
    """Whether this thread has opened any since it has last forgotten them."""
    return bool(_opened.by_alias)


def forget() -> None:
    """Before all connections of this thread are closed."""
    _opened.by_alias.clear()


def open_afresh() -> None:
    """Before an attempt: close connections that have idled, as the server may have dropped them."""
    if _opened.by_alias and time.monotonic() - _opened.used_at > IDLE_SECONDS:
        for connection in _opened.by_alias.values():
            if not connection.in_atomic_block:
                connection.close()


def tidy() -> None:
    """After an attempt: drop connections that saw an error or lost their autocommit, keep the others for the next
    job.
    """
    if not _opened.by_alias:
        return
    _opened.used_at = time.monotonic()
    for connection in _opened.by_alias.values():
        if connection.connection is None or connection.in_atomic_block:
            continue
        if connection.errors_occurred or connection.autocommit != connection.settings_dict["AUTOCOMMIT"]:
            connection.close_if_unusable_or_obsolete()
        if connection.queries_log:
            reset_queries()


def leave_no_transaction() -> None:
    """In a child, after an attempt: drop connections that it left inside a transaction. The next job is not part of
    it.
    """
    for connection in list(_opened.by_alias.values()):
        if connection.in_atomic_block or connection.run_on_commit:
            with contextlib.suppress(Exception):
                connection.connection.close()
            del _opened.by_alias[connection.alias]
            with contextlib.suppress(AttributeError):
                del connections[connection.alias]


def close() -> None:
    """Before this process ends."""
    for connection in _opened.by_alias.values():
        with contextlib.suppress(Exception):
            connection.close()


def drop() -> None:
    """After a timeout or a cancel: it may have struck in the middle of a query, which still runs on the connection."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            with contextlib.suppress(Exception):
                connection.close()
