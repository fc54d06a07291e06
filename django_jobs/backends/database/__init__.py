"""The database backend: the queue on a database that Django knows."""

from .backend import DatabaseBackend

__all__ = ["DatabaseBackend"]
