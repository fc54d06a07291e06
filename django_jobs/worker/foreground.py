"""One job in the foreground: claims exactly that one, runs it in this process, and settles it. For debugging."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from django.db import DatabaseError

from ..backends import Backend, Note, Settled, WorkerInfo
from ..backends.completing import Unrecorded
from ..conf import conf
from ..exceptions import JobConflict, JobsError
from ..retry import CANCEL, OutcomeKind
from ..runtime import Claim, Outcome, wants_hooks
from ..settlement import Settlement, conclude
from .inline import Inline
from .journal import log_settled, notes_of_claimed, notes_of_settled
from .pool import Finished


def run_job(backend: Backend, job_id: str, *, force: bool = False) -> Settlement | None:
    """Claim this job, run it here with its lease renewed, and write its outcome; answers what was written.

    None: it could not be claimed. With `force`, neither its due time nor a pause of its queue is in the way. Raises
    `JobConflict` where it was taken from us while it ran. An interrupt from the keyboard ends the run and gives the job
    back, uncharged.
    """
    worker = WorkerInfo(str(uuid.uuid4()), socket.gethostname(), os.getpid(), [])
    backend.register(worker, conf.lease_seconds)
    try:
        claim = backend.claim_job(job_id, worker.id, force=force)
        if claim is None:
            return None
        executor = Inline(partial(_renew, backend, worker.id), partial(backend.cancel_requests, worker.id), backend)
        executor.start(lambda: None)
        try:
            return _run(backend, executor, claim)
        finally:
            executor.stop()
    finally:
        with suppress(DatabaseError, JobsError):
            backend.deregister(worker.id)  # what it should still hold is up for reaping


def _renew(backend: Backend, worker_id: str) -> bool:
    return backend.renew(worker_id, conf.lease_seconds, state="running", running=1, settled=0)


def _run(backend: Backend, executor: Inline, claim: Claim) -> Settlement:
    executor.notes += notes_of_claimed([claim])
    executor.submit([claim])
    (finished,) = executor.collect()
    settlement = conclude(claim, _uncharged(finished).outcome)
    (answer,) = backend.settle_anyway([settlement])
    if answer is Settled.LOST:
        raise JobConflict(f"job {claim.id} was taken from us while it ran; its outcome is dropped.")
    if answer is Settled.CANCELLED:
        settlement = settlement._replace(transition=CANCEL, result="")
    log_settled([settlement])
    if conf.events != "none":
        backend.record_events([*executor.notes, *notes_of_settled([settlement])])
    if wants_hooks(claim.handler, settlement.transition):
        executor.run_hooks(settlement)
        executor.collect()
    return settlement


def _uncharged(finished: Finished) -> Finished:
    """Where somebody pressed Ctrl-C, a run that was interrupted: that is no fault of the handler."""
    claim, outcome = finished
    if outcome.error is not None and outcome.error.class_path == "KeyboardInterrupt":
        return Finished(claim, outcome._replace(kind=OutcomeKind.INTERRUPTED))
    return finished


def run_attempt_here(claim: Claim, renew: Callable[[], bool]) -> tuple[Outcome, list[Note]]:
    """Run one attempt in this process, with its deadline, while a thread calls `renew` now and then.

    Answers also what the handler noted. What holds on beyond its deadline and `JOBS_KILL_GRACE` ends the process.
    """
    executor = Inline(renew, store=Unrecorded())
    executor.start(lambda: None)
    try:
        executor.submit([claim])
        (finished,) = executor.collect()
        return finished.outcome, executor.notes
    finally:
        executor.stop()
