"""The finished jobs, which every backend keeps in the same two tables."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connections
from django.utils import timezone

from ..definition import JobDefinition
from ..models import CompletedJob, FailedJob, StoredJob
from ..retry import Target
from ..runtime import ErrorRecord
from ..settlement import Settlement
from .base import JobRecord

_SHARED = tuple(field.attname for field in StoredJob._meta.local_fields)


def write(database: str, settlement: Settlement, definition: JobDefinition) -> None:
    """Record a job that never was a live row, such as one that ran at once. The clock is this host's."""
    claim, transition = settlement.claim, settlement.transition
    now = datetime.now(UTC)

    values: dict[str, Any] = {
        "id": claim.id,
        "queue": claim.queue,
        "handler": claim.handler,
        "rank": -(definition.priority or 0),
        "attempt": claim.attempt,
        "max_attempts": definition.max_attempts,
        "crashes": claim.crashes,
        "claim_no": claim.claim_no,
        "name": definition.name,
        "reference": definition.reference,
        "group": definition.group,
        "tags": f" {' '.join(definition.tags)} " if definition.tags else "",
        "source": definition.source,
        "envelope": claim.body,
        "signature": claim.signature,
        "history": settlement.history,
        "enqueued_at": kept(datetime.fromtimestamp(claim.enqueued_at, UTC), database),
        "available_at": kept(datetime.fromtimestamp(claim.enqueued_at, UTC), database),
        "started_at": kept(datetime.fromtimestamp(claim.claimed_at, UTC), database),
        "run_seconds": settlement.seconds,
        "finished_at": kept(now, database),
    }
    if transition.target is Target.FAILED:
        error = settlement.error or ErrorRecord()
        FailedJob(
            **values,
            reason=transition.reason,
            error_class=error.class_path,
            error_message=error.message,
            traceback=error.traceback,
        ).save(using=database, force_insert=True)
    elif settlement.keep_seconds != 0:
        keep = settlement.keep_seconds
        CompletedJob(
            **values,
            state=str(transition.target),
            result=settlement.result,
            keep_until=None if keep is None else kept(now + timedelta(seconds=keep), database),
        ).save(using=database, force_insert=True)


def kept(when: datetime, database: str) -> datetime:
    """An aware moment as the ORM takes it: where USE_TZ is False, naive, in the zone that the connection keeps."""
    if settings.USE_TZ:
        return when
    return timezone.make_naive(when) if connections[database].vendor == "postgresql" else when.replace(tzinfo=None)


def aware(when: datetime, database: str) -> datetime:
    """A moment that the ORM has read, aware whatever USE_TZ says."""
    if timezone.is_aware(when):
        return when
    return timezone.make_aware(when) if connections[database].vendor == "postgresql" else when.replace(tzinfo=UTC)


def find(database: str, job_id: str) -> JobRecord | None:
    """A finished job."""
    for model in (FailedJob, CompletedJob):
        row = model._default_manager.using(database).filter(id=job_id).first()
        if row is not None:
            return record_of(row)
    return None


def shared_values(row: StoredJob) -> dict[str, Any]:
    """The values that move with a job from table to table."""
    return {name: getattr(row, name) for name in _SHARED}


def record_of(row: StoredJob) -> JobRecord:
    """A row of any of the three tables as a record."""
    result = getattr(row, "result", "")
    return JobRecord(
        id=str(row.id),
        state=getattr(row, "state", "failed"),
        queue=row.queue,
        handler=row.handler,
        definition=row.definition,
        priority=row.priority,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        crashes=row.crashes,
        claim_no=row.claim_no,
        worker_id=str(row.worker_id) if row.worker_id else None,
        enqueued_at=row.enqueued_at,
        available_at=row.available_at,
        started_at=row.started_at,
        finished_at=getattr(row, "finished_at", None),
        result=_loaded(result),
        reason=getattr(row, "reason", ""),
        error_class=getattr(row, "error_class", ""),
        error_message=getattr(row, "error_message", ""),
        traceback=getattr(row, "traceback", ""),
        attempts=row.attempts,
        body=row.envelope,
        signature=row.signature,
    )


def _loaded(result: str) -> Any:
    try:
        return json.loads(result) if result else None
    except (ValueError, RecursionError):  # a row that somebody has edited
        return {"not_json": result[:1000]}
