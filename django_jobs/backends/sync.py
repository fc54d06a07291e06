"""The `sync` backend: runs each job at once, in the caller's process, with its hooks, attempts and record."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction

from ..conf import conf
from ..definition import JobDefinition
from ..envelope import seal
from ..exceptions import InvalidDefinition, JobConflict, JobNotFound
from ..models import CompletedJob, FailedJob
from ..retry import OutcomeKind, Target, Transition
from ..runtime import Claim, Complete, ErrorRecord, Outcome, run_attempt, run_hooks, wants_hooks
from ..settlement import Settlement, conclude
from . import archive
from .base import CancelOutcome, JobRecord, Settled, Supports
from .completing import completing
from .storeless import StorelessBackend

MOST_SNOOZES = 10


class SyncBackend(StorelessBackend):
    """Runs jobs where they are dispatched. For tests, scripts and sites without a worker.

    Attempts follow each other without their delays; a job that snoozes ten times in a row is dead. Timeouts are not
    enforced, as the process is the caller's. `OPTIONS`: `DATABASE`, the alias in which outcomes are recorded;
    `DELAY`, `"ignore"` (default) or `"raise"` for jobs that are due later.
    """

    supports = Supports(claim=False, delay=False, cancel=False, unique=False, shared=False, atomic=True)

    def __init__(self, alias: str, options: Mapping[str, Any]) -> None:
        super().__init__(alias, options)
        self.database: str = self.options.get("DATABASE") or conf.database_alias
        self.on_delay: str = self.options.get("DELAY", "ignore")
        if set(options) - {"DATABASE", "DELAY"} or self.on_delay not in ("ignore", "raise"):
            raise ImproperlyConfigured(
                f"JOBS_BACKENDS[{alias!r}]['OPTIONS']: the sync backend takes DATABASE, and DELAY 'ignore' or 'raise'."
            )

    def enqueue_many(self, definitions: Sequence[JobDefinition]) -> list[str]:
        sealed = [seal(definition) for definition in definitions]
        if self.on_delay == "raise" and any(d.delay or d.available_at for d in definitions):
            raise InvalidDefinition(
                "delay: the sync backend runs jobs at once. Drop the delay, or use another backend."
            )
        for definition, (body, signature) in zip(definitions, sealed, strict=True):
            if (
                definition.fresh_id or self.get(str(definition.id)) is None
            ):  # a repeat under the caller's id is harmless
                self._run(definition, body, signature)
        return [str(definition.id) for definition in definitions]

    def get(self, job_id: str) -> JobRecord | None:
        return archive.find(self.database, job_id)

    def cancel(self, job_id: str, *, reason: str = "") -> CancelOutcome:
        return CancelOutcome.NOT_FOUND if self.get(job_id) is None else CancelOutcome.ALREADY_FINISHED

    def retry(self, job_id: str, *, delay: float = 0.0, resign: bool = False) -> None:
        if self.get(job_id) is None:
            raise JobNotFound(f"no failed job has the id {job_id}")
        raise JobConflict("the sync backend keeps no jobs that wait. Dispatch the job again.")

    def delete(self, job_id: str, *, force: bool = False) -> bool:
        return any(
            model._default_manager.using(self.database).filter(id=job_id).delete()[0]
            for model in (FailedJob, CompletedJob)
        )

    def _run(self, definition: JobDefinition, body: str, signature: str) -> None:
        store = _AtOnce(self, definition)
        settlement = run_to_the_end(definition, body, signature, lambda claim: self._attempt(claim, store))
        if not settlement.stored:
            archive.write(self.database, settlement, definition)
        follow(settlement)

    def _attempt(self, claim: Claim, store: _AtOnce) -> Outcome:
        """One attempt; within a caller's transaction its writes are undone if it fails, so that the transaction lives
        on.
        """
        if not connections[self.database].in_atomic_block:
            return run_attempt(claim, _no_guard, store=store)
        with transaction.atomic(using=self.database):
            outcome = run_attempt(claim, _no_guard, store=store)
            if outcome.kind != OutcomeKind.COMPLETED:
                transaction.set_rollback(True, using=self.database)
        return outcome


def run_to_the_end(
    definition: JobDefinition, body: str, signature: str, attempt: Callable[[Claim], Outcome]
) -> Settlement:
    """Run a job that nobody has claimed, one attempt after the other; answers its end, which is not recorded yet."""
    now = time.time()
    claim = Claim(
        *(str(definition.id), str(definition.queue), definition.handler, "", 1, 1, 0, False),
        *(body, signature, "", now, now),
    )
    snoozes = 0
    while True:
        outcome = attempt(claim)
        settlement = conclude(claim, outcome)
        if settlement.transition.target is not Target.WAITING:
            return settlement
        follow(settlement)
        snoozes = snoozes + 1 if settlement.transition.attempt_refund else 0
        if snoozes >= MOST_SNOOZES:
            return settlement._replace(
                transition=Transition(Target.FAILED, "dead-lettered", reason="dead"),
                error=outcome.error or ErrorRecord("", f"snoozed {snoozes} times in a row, and nobody can wait here"),
            )
        claim = claim._replace(
            attempt=claim.attempt + 1 - settlement.transition.attempt_refund,
            claim_no=claim.claim_no + 1,
            history=settlement.history,
            claimed_at=time.time(),
        )


def follow(settlement: Settlement) -> None:
    """Call the hooks of a settlement, in this process."""
    if wants_hooks(settlement.claim.handler, settlement.transition):
        run_hooks(settlement.claim, settlement.transition, settlement.result, settlement.error)


@dataclass(frozen=True, slots=True)
class _AtOnce:
    """The store of an atomic attempt: its record is a part of its transaction."""

    backend: SyncBackend
    definition: JobDefinition
    longest_transaction: float | None = None

    def completing(self, claim: Claim) -> AbstractContextManager[Complete]:
        database = self.backend.database
        return completing(
            claim,
            database=database,
            transaction=transaction.atomic(using=database),
            settle=self._settle,
            is_outage=self.backend.is_outage,
        )

    def _settle(self, settlement: Settlement) -> Settled:
        archive.write(self.backend.database, settlement, self.definition)
        return Settled.WRITTEN


def _no_guard(timeout: float | None) -> AbstractContextManager[Any]:
    return nullcontext()
