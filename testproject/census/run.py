"""One run of the census: its jobs are the group that is named after it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from django_jobs import Jobs, Priority
from django_jobs.definition import JobBuilder
from django_jobs.models import CompletedJob, FailedJob, Job

from .files import BROKEN, SourceFile
from .jobs import CountFile


class Tally(NamedTuple):
    """How many jobs of a run have come to an end, and how."""

    completed: int
    failed: int

    @property
    def done(self) -> int:
        """Jobs that have come to an end."""
        return self.completed + self.failed


def new_name() -> str:
    """A name for a run that starts now."""
    return f"census-{datetime.now(UTC):%Y%m%d-%H%M%S}"


def enqueue(run: str, files: Iterable[SourceFile]) -> int:
    """Enqueue a job per file, all or none. Answers how many."""
    return len(Jobs.dispatch_many([_job(run, file) for file in files]))


def _job(run: str, file: SourceFile) -> JobBuilder:
    job = CountFile.define({"path": file.path, "root": str(file.root)})
    if file.source == BROKEN:
        # Jobs run by priority, then by due time: a retry that is due would stand behind all that wait already.
        job = job.priority(Priority.HIGH)
    return job.group(run).tag(file.source).reference(file.path[-200:])


def size(run: str) -> int:
    """How many jobs a run has. Ask while no worker runs: between the tables a job could be missed or counted twice."""
    return Job.objects.filter(group=run).count() + tally(run).done


def tally(run: str) -> Tally:
    """How far a run is."""
    return Tally(CompletedJob.objects.filter(group=run).count(), FailedJob.objects.filter(group=run).count())
