"""Narrowing rows down to those of a filter, exactly."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db.models import QuerySet, Value
from django.db.models.functions import StrIndex
from django.db.models.lookups import GreaterThan

from ..backends.database import DatabaseBackend
from ..store import ago


def narrowed(
    store: DatabaseBackend,
    rows: QuerySet[Any, Any],
    *,
    queues: Collection[str] | None = None,
    handler: str | None = None,
    group: str | None = None,
    tag: str | None = None,
    older_than: float | None = None,
    since: str = "finished_at",
) -> QuerySet[Any, Any]:
    """Those of `rows` that are in one of `queues`, of this handler key, of this group, with this tag, and whose
    moment `since` is over `older_than` seconds ago by the store's clock. None is no restriction.

    Some conditions are said twice: `=` on MySQL and LIKE on SQLite take no heed of case, and what is deleted or run
    again must be just what was meant.
    """
    if queues is not None:
        rows = rows.filter(queue__in=list(queues))
    if handler is not None:
        rows = rows.filter(handler=handler, handler__contains=handler)
    if group is not None:
        rows = rows.filter(group=group, group__contains=group)
    if tag is not None:
        rows = rows.filter(GreaterThan(StrIndex("tags", Value(f" {tag} ")), 0), tags__contains=f" {tag} ")
    if older_than is not None:
        rows = rows.filter(**{f"{since}__lt": ago(store, older_than)})
    return rows
