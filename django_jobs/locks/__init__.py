"""Mutexes between processes and hosts: `mutex(name, ttl)`, and where they may be kept."""

from .cache import cache_locks
from .file import FileLocks
from .mutex import Locks, Mutex, mutex

__all__ = ["FileLocks", "Locks", "Mutex", "cache_locks", "mutex"]
