"""Locks in the jobs' database."""

from __future__ import annotations

from django.db.models import QuerySet

from ..backends import get_backend
from ..backends.database import DatabaseBackend
from ..conf import conf
from ..models import Lock
from ..store import later, now, store_of


class DatabaseLocks:
    """A lock is a row, and its time is that of the database's clock.

    Within a transaction of the caller's, nobody sees the lock, or its release, before the commit: whoever wants it
    meanwhile waits for that.
    """

    def __init__(self) -> None:
        self.store = store_of(get_backend()) or DatabaseBackend("locks", {"DATABASE": conf.database_alias})

    def take(self, name: str, token: str, ttl: float) -> bool:
        return self.store.retrying(lambda: self._take(name, token, ttl))

    def _take(self, name: str, token: str, ttl: float) -> bool:
        until = later(self.store, ttl)
        self._rows.bulk_create([Lock(name=name, token=token, until=until)], ignore_conflicts=True)
        if self._rows.filter(name=name, token=token).exists():
            return True
        return bool(self._rows.filter(name=name, until__lte=now(self.store)).update(token=token, until=until))

    def renew(self, name: str, token: str, ttl: float) -> bool:
        return bool(self.store.retrying(lambda: self._held(name, token).update(until=later(self.store, ttl))))

    def release(self, name: str, token: str) -> bool:
        return bool(self.store.retrying(lambda: self._held(name, token).delete())[0])

    def holds(self, name: str, token: str) -> bool:
        return self._held(name, token).exists()

    @property
    def _rows(self) -> QuerySet[Lock]:
        return Lock._default_manager.using(self.store.database)

    def _held(self, name: str, token: str) -> QuerySet[Lock]:
        return self._rows.filter(name=name, token=token, until__gt=now(self.store))
