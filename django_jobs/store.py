"""The database over which maintenance and the schedule work; rows leave it in batches, out of each other's way."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import connections
from django.db.models import DateTimeField, Model, QuerySet
from django.db.models.expressions import RawSQL

from .backends import Backend
from .backends.database import DatabaseBackend
from .backends.sync import SyncBackend


def store_of(backend: Backend) -> DatabaseBackend | None:
    """The database that holds the finished jobs of `backend`, as a backend. None: it keeps them in no database."""
    if isinstance(backend, DatabaseBackend):
        return backend
    if isinstance(backend, SyncBackend):
        return DatabaseBackend(backend.alias, {"DATABASE": backend.database})
    return None


def clock(store: DatabaseBackend) -> datetime:
    """What time the store has."""
    with connections[store.database].cursor() as cursor:
        cursor.execute(f"SELECT {store.sql.epoch(store.sql.now)}, %s", [1])
        return datetime.fromtimestamp(float(cursor.fetchone()[0]), UTC)


def now(store: DatabaseBackend) -> RawSQL:
    """The store's clock, as an expression."""
    return RawSQL(f"({store.sql.now})", [], output_field=DateTimeField())  # noqa: S611 - our own constant


def ago(store: DatabaseBackend, seconds: float) -> RawSQL:
    """`seconds` before the store's now, as an expression."""
    return RawSQL(f"({store.sql.later('%s')})", [-float(seconds)], output_field=DateTimeField())  # noqa: S611


def later(store: DatabaseBackend, seconds: float) -> RawSQL:
    """`seconds` after the store's now, as an expression."""
    return ago(store, -seconds)


def moment(store: DatabaseBackend, when: datetime) -> RawSQL:
    """An aware moment as an expression, whatever USE_TZ says: the store keeps UTC."""
    return RawSQL("%s", [store.sql.moment(when)], output_field=DateTimeField())


def delete_some(store: DatabaseBackend, rows: QuerySet[Any, Any], limit: int) -> int:
    """Delete up to `limit` of `rows` in one short transaction; answers how many.

    Rows that somebody else is deleting are passed over where the database can do that, so that two who clean up at once
    neither wait for nor deadlock each other.
    """
    if not rows.exists():
        return 0  # on SQLite the transaction below takes the only write lock
    features = connections[store.database].features
    limit = min(limit, features.max_query_params or limit)
    with store.sql.transaction():
        chosen = rows
        if features.has_select_for_update:
            chosen = rows.select_for_update(skip_locked=features.has_select_for_update_skip_locked)
        ids = list(chosen.values_list("pk", flat=True)[:limit])
        model: type[Model] = rows.model
        return model._default_manager.using(store.database).filter(pk__in=ids).delete()[0] if ids else 0
