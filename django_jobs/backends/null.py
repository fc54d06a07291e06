"""The `null` backend: accepts every job and discards it. For tests and for switching a site's jobs off."""

from __future__ import annotations

from collections.abc import Sequence

from ..definition import JobDefinition
from ..envelope import seal
from ..exceptions import JobNotFound
from .base import CancelOutcome, JobRecord, Supports
from .storeless import StorelessBackend


class NullBackend(StorelessBackend):
    """Checks a job as every backend does, then forgets it."""

    supports = Supports(claim=False, cancel=False, results=False, shared=False)

    def enqueue_many(self, definitions: Sequence[JobDefinition]) -> list[str]:
        for definition in definitions:
            seal(definition)
        return [str(definition.id) for definition in definitions]

    def get(self, job_id: str) -> JobRecord | None:
        return None

    def cancel(self, job_id: str, *, reason: str = "") -> CancelOutcome:
        return CancelOutcome.NOT_FOUND

    def retry(self, job_id: str, *, delay: float = 0.0, resign: bool = False) -> None:
        raise JobNotFound(f"the null backend keeps no jobs, so there is none with the id {job_id}")

    def delete(self, job_id: str, *, force: bool = False) -> bool:
        return False
