"""Jobs in the shapes in which they can be stuck, made on purpose, so that one can see how the reaper resolves each."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _

from ..api import Jobs
from ..backends import WorkerInfo
from ..backends.database import DatabaseBackend
from ..conf import conf
from ..exceptions import JobConflict
from ..models import Job, Worker
from ..store import ago

HOST = "jobs_test_monitor"
LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Shape:
    """A way of being stuck: `about` says how, and `becomes` the state to which the reaper brings the job."""

    name: str
    about: object
    becomes: str
    reason: str = ""
    lease_seconds: float = 0.0
    """For how long the worker that holds it still is alive."""


SHAPES = (
    Shape("live-overdue", _("runs longer than it may, on a worker whose lease lasts"), "pending", lease_seconds=3.0),
    Shape("dead-owner", _("its worker has not renewed its lease"), "pending"),
    Shape("stopped-owner", _("its worker has stopped without settling it"), "pending"),
    Shape("never-registered", _("its worker has no row"), "pending"),
    Shape("no-owner", _("it is running, and no worker is named"), "pending"),
    Shape("no-attempts-left", _("its worker was lost during its last attempt"), "pending"),
    Shape("no-crashes-left", _("a worker was lost with it once too often"), "failed", "crashed"),
    Shape("cancel-requested", _("its worker was lost before it saw the cancel"), "cancelled"),
)


@dataclass(slots=True)
class Stuck:
    """A job in such a shape. `state` is what it has become; empty as long as it is stuck."""

    shape: Shape
    id: str
    claim_no: int
    state: str = ""
    reason: str = ""

    @property
    def is_as_expected(self) -> bool:
        """Whether it has become what it should; what is pending may have been run meanwhile."""
        wanted = self.shape.becomes
        if wanted == "pending":
            return self.state in ("pending", "running", "completed")
        return (self.state, self.reason) == (wanted, self.shape.reason)


def seed(store: DatabaseBackend, queue: str) -> list[Stuck]:
    """Make a job in each shape on `queue`. Nobody else's job is touched."""
    return [_made(store, queue, shape) for shape in SHAPES]


def _made(store: DatabaseBackend, queue: str, shape: Shape) -> Stuck:
    # Scheduled for later: no worker takes it before we do.
    job = Jobs.define("jobs_test.success", {"seconds": 0.0}).queue(queue).delay("1 day")
    job = job.max_attempts(2).timeout(60).named(f"jobs_test_monitor {shape.name}")
    job = job.with_options(source="cli", backend=store.alias)
    ref = Jobs.dispatch(job)
    worker = WorkerInfo(str(uuid.uuid4()), HOST, os.getpid(), [queue])
    store.register(worker, max(shape.lease_seconds, conf.lease_seconds))
    claim = store.claim_job(ref, worker.id, force=True)
    if claim is None:
        raise JobConflict(f"job {ref} could not be claimed; somebody has cancelled or deleted it.")
    rows = Job.objects.using(store.database).filter(pk=ref)
    workers = Worker.objects.using(store.database).filter(pk=worker.id)
    match shape.name:
        case "live-overdue":
            rows.update(started_at=ago(store, 3600))
        case "no-attempts-left":
            rows.update(attempt=2)
        case "no-crashes-left":
            rows.update(suspect=True, crashes=conf.max_crashes - 1)
        case "cancel-requested":
            store.cancel(ref, reason="jobs_test_monitor")
        case "no-owner":
            rows.update(worker_id=None)
    # Last, as from here on a reaper may take it.
    match shape.name:
        case "stopped-owner":
            store.deregister(worker.id)
        case "never-registered":
            workers.delete()
        case _:
            workers.update(lease_expires_at=ago(store, -shape.lease_seconds or 60))
    return Stuck(shape, str(ref), claim.claim_no)


def await_all(store: DatabaseBackend, jobs: list[Stuck], reap: Callable[[], object], seconds: float) -> bool:
    """Reap, and look what they have become, for at most so long. Answers whether each has become something."""
    deadline = time.monotonic() + seconds
    while True:
        reap()
        for job in jobs:
            record = store.get(job.id)
            is_held = record is not None and record.state in ("running", "cancel_requested")
            if not job.state and record is not None and not (is_held and record.claim_no == job.claim_no):
                job.state, job.reason = record.state, record.reason
        if all(job.state for job in jobs):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)
