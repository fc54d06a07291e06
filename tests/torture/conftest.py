"""The torture tests use what the process tests use."""

from tests.processes.conftest import proof, queue

__all__ = ["proof", "queue"]
