"""Locks in a cache of the site."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

from django.core.cache import BaseCache, caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from .mutex import Locks

_IF_OURS = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call({}) else return 0 end"


def cache_locks(alias: str = "default") -> Locks:
    """Locks in the cache of this alias, between those who share it: with `LocMemCache` the threads of one process.

    With django-redis each verb is one step of the server's. Elsewhere renewing and releasing first look whose the lock
    is: one whose time ends at that very moment may be freed although another holder has just taken it.

    Raises `ImproperlyConfigured` for a cache that can't keep two apart: Django's dummy, and its files.
    """
    cache: Any = caches[alias]
    if isinstance(cache, DummyCache | FileBasedCache):
        raise ImproperlyConfigured(
            f"CACHES[{alias!r}] is a {type(cache).__name__}, which can't keep locks. Use another cache, or FileLocks."
        )
    return _RedisLocks(cache) if _is_django_redis(cache) else _CacheLocks(cache)


class _CacheLocks:
    def __init__(self, cache: BaseCache) -> None:
        self.cache = cache

    def take(self, name: str, token: str, ttl: float) -> bool:
        return self.cache.add(_key_of(name), token, math.ceil(ttl))

    def renew(self, name: str, token: str, ttl: float) -> bool:
        return self.holds(name, token) and self.cache.touch(_key_of(name), math.ceil(ttl))

    def release(self, name: str, token: str) -> bool:
        return self.holds(name, token) and self.cache.delete(_key_of(name))

    def holds(self, name: str, token: str) -> bool:
        return bool(self.cache.get(_key_of(name)) == token)


class _RedisLocks:
    def __init__(self, cache: Any) -> None:
        self.cache = cache

    def take(self, name: str, token: str, ttl: float) -> bool:
        return bool(self._client.set(self._key(name), token, nx=True, px=math.ceil(ttl * 1000)))

    def renew(self, name: str, token: str, ttl: float) -> bool:
        script = _IF_OURS.format("'pexpire', KEYS[1], ARGV[2]")
        return bool(self._client.eval(script, 1, self._key(name), token, math.ceil(ttl * 1000)))

    def release(self, name: str, token: str) -> bool:
        return bool(self._client.eval(_IF_OURS.format("'del', KEYS[1]"), 1, self._key(name), token))

    def holds(self, name: str, token: str) -> bool:
        return bool(self._client.get(self._key(name)) == token.encode())

    @property
    def _client(self) -> Any:
        return self.cache.client.get_client(write=True)

    def _key(self, name: str) -> str:
        return str(self.cache.make_key(_key_of(name)))


def _key_of(name: str) -> str:
    """A key for every cache: memcached takes no spaces, and no more than 250 characters."""
    return f"django_jobs.lock.{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}"


def _is_django_redis(cache: BaseCache) -> bool:
    try:
        from django_redis.cache import RedisCache  # type: ignore[import-untyped]
    except ImportError:
        return False
    return isinstance(cache, RedisCache)
