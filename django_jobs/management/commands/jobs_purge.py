"""`jobs_purge`: another name of `jobs_cleanup`."""

from .jobs_cleanup import Command

__all__ = ["Command"]
