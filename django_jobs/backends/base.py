"""The contract of a backend: about a dozen verbs over jobs, in batches.

Laws, which `django_jobs.testing.conformance` tests on every backend:

- A claim is (job id, worker id, `claim_no`); `claim_no` rises with every claim and never falls.
- `settle` writes only for the present holder of a claim, and says of each what became of it.
- A cancel that came before the settlement wins over every outcome.
- A job's id is in exactly one place: live, completed or failed.
- Due times and leases are judged by the store's clock.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from ..definition import JobDefinition
from ..exceptions import NonRetryableJobError
from ..logs import get_logger
from ..redaction import presentable
from ..retry import Target, Transition
from ..runtime import Claim, Complete, ErrorRecord
from ..settlement import Settlement, give_back

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

logger = get_logger("backends")


@dataclass(frozen=True, slots=True)
class Supports:
    """What a backend can do."""

    claim: bool = True
    """Jobs are kept for workers. False: they run at once (`sync`) or never (`null`)."""
    delay: bool = True
    """Jobs may be due later. False: they run at once all the same."""
    cancel: bool = True
    """What waits or runs can be cancelled."""
    results: bool = True
    """What handlers return is kept."""
    transactional: bool = False
    """An enqueue is part of the caller's transaction."""
    atomic: bool = False
    """What a handler writes and its completion can be one transaction."""
    unique: bool = True
    """Unique jobs are kept apart. False: every one of them is run."""
    shared: bool = True
    """Other processes see the jobs."""


class CancelOutcome(StrEnum):
    """What a cancel came to."""

    CANCELLED = "cancelled"
    REQUESTED = "requested"
    ALREADY_FINISHED = "already_finished"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as the store has it. `state` is a live state, `completed`, `cancelled` or `failed`."""

    id: str
    state: str
    queue: str
    handler: str
    definition: JobDefinition | None
    priority: int = 0
    attempt: int = 0
    max_attempts: int = 1
    crashes: int = 0
    claim_no: int = 0
    worker_id: str | None = None
    enqueued_at: datetime | None = None
    available_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    result: Any = None
    reason: str = ""
    error_class: str = ""
    error_message: str = ""
    traceback: str = ""
    attempts: list[dict[str, Any]] = field(default_factory=list)
    body: str = field(default="", repr=False)
    signature: str = field(default="", repr=False)

    @property
    def is_finished(self) -> bool:
        """Whether the job has come to an end."""
        return self.state in ("completed", "cancelled", "failed")


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker as it registers itself."""

    id: str
    host: str
    pid: int
    queues: Sequence[str]
    children: int = 0


class Settled(IntEnum):
    """What became of a settlement. True in a condition where something was written."""

    LOST = 0  # the claim is not the present one: nothing was written
    WRITTEN = 1
    CANCELLED = 2  # a cancel had been asked for, and won


Note = tuple[str, str, str, str, Mapping[str, Any]]
"""An entry for a timeline: job id, queue, type, message, data."""


class Promotion(NamedTuple):
    """How many due jobs became pending, and the seconds until the next one is due (None: none is scheduled)."""

    promoted: int
    next_in: float | None


class QueueStats(NamedTuple):
    """The numbers of one queue. `oldest_pending_seconds` is how long the longest-waiting due job has waited."""

    queue: str
    counts: Mapping[str, int]
    oldest_pending_seconds: float | None
    paused: bool = False


class Wakeup:
    """Tells a waiting worker that there may be work: a hint only, polling goes on underneath.

    `fileno()` is a descriptor to watch, or None; `interval` is how long to wait at most, in seconds, while idle, and
    `watch_interval` how often to ask for `cancels` while jobs run, where there is no descriptor.
    """

    interval: float = 1.0
    watch_interval: float = math.inf

    def fileno(self) -> int | None:
        """A descriptor that becomes readable when there may be work."""
        return None

    def ready(self) -> bool:
        """Whether there may be work now. Takes in what has arrived."""
        return False

    def cancels(self, worker_id: str) -> bool:
        """Whether the cancel of something that this worker runs may have been asked for. Takes in what has arrived."""
        return False

    def worked(self) -> None:
        """Told when a claim brought jobs."""

    def close(self) -> None:
        """Let go of every resource."""


class Backend(ABC):
    """A store of jobs. Instances are made once per alias and process, and hold no open resource across a fork."""

    supports = Supports()

    def __init__(self, alias: str, options: Mapping[str, Any]) -> None:
        self.alias = alias
        self.options = dict(options)

    # -- putting in -----------------------------------------------------------------------------------------

    def enqueue(self, definition: JobDefinition) -> str:
        """Store a whole definition; answers its id. An id given by the caller makes a repeat harmless."""
        return self.enqueue_many([definition])[0]

    @abstractmethod
    def enqueue_many(self, definitions: Sequence[JobDefinition]) -> list[str]:
        """Store definitions, all or none; answers their ids in order.

        Of a unique job whose key is taken it answers the id of the job that has the key (`django_jobs.unique`), or
        raises `DuplicateJob`.
        """

    def after_commit(self, act: Callable[[], object]) -> None:
        """Call `act` when what was enqueued is there for others to see: at once, or after the caller's commit."""
        act()

    # -- the worker's verbs -----------------------------------------------------------------------------------

    @abstractmethod
    def register(self, worker: WorkerInfo, lease_seconds: float) -> None:
        """Make a worker known, with a lease."""

    @abstractmethod
    def renew(self, worker_id: str, lease_seconds: float, *, state: str, running: int, settled: int) -> bool:
        """Prolong the lease. False: the worker is lost, and holds nothing any more."""

    @abstractmethod
    def deregister(self, worker_id: str) -> None:
        """The worker has stopped. What it should still hold is up for reaping at once."""

    @abstractmethod
    def claim(self, queue: str, worker_id: str, limit: int, *, suspect: bool = False) -> list[Claim]:
        """Claim up to `limit` pending jobs of `queue`, in order: priority, due time, id.

        Answers none for a paused queue, and for a worker that does not hold a lease. With `suspect`, it claims from the
        jobs that a worker was lost with; without, from the others.
        """

    @abstractmethod
    def claim_job(self, job_id: str, worker_id: str, *, force: bool = False) -> Claim | None:
        """Claim exactly this job, if it is pending or due, suspect or not; None where it can't be claimed.

        The worker must hold a lease. With `force`, neither its due time nor a pause of its queue is in the way.
        """

    @abstractmethod
    def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """Write outcomes; answers, per settlement, what became of it."""

    def settle_anyway(self, settlements: Sequence[Settlement]) -> list[Settled]:
        """`settle`; where one of a batch can't be written, it becomes a failure that can, and the others are as they
        are. What was stored in the job's own transaction is not written again.
        """
        to_write = [s for s in settlements if not s.stored]
        if len(to_write) < len(settlements):
            answers = iter(self.settle_anyway(to_write))
            return [Settled.WRITTEN if s.stored else next(answers) for s in settlements]
        try:
            return self.settle(settlements)
        except Exception as error:
            if self.is_outage(error):
                raise
            logger.exception("a batch can't be settled as a whole")
        return [self._settle_alone(s) for s in settlements]

    def _settle_alone(self, s: Settlement) -> Settled:
        try:
            return self.settle([s])[0]
        except Exception as error:
            if self.is_outage(error):
                raise
            logger.exception("the outcome of job %s can't be written", s.claim.id)
            text = f"the outcome could not be written: {presentable(str(error), 500)!a}"
            record = ErrorRecord(type(error).__name__, text)
        plain = Transition(Target.FAILED, "dead-lettered", reason="corrupt")
        return self.settle([Settlement(s.claim, plain, error=record)])[0]

    def is_outage(self, error: BaseException) -> bool:
        """Whether `error` says that the store is away or busy, so that the same may work later."""
        return isinstance(error, OSError)

    def release(self, claims: Sequence[Claim]) -> list[Settled]:
        """Give claims back without charging them."""
        return self.settle([give_back(claim) for claim in claims])

    @property
    def longest_transaction(self) -> float | None:
        """How many seconds the transaction of an atomic handler may take; None is no limit."""
        return None

    def completing(self, claim: Claim) -> AbstractContextManager[Complete]:
        """A transaction for an atomic handler, and what writes its completion as the last part of it
        (`runtime.Store`). `backends.completing` has all but the statements.
        """
        raise NonRetryableJobError(f"{claim.handler!r} is atomic, and the backend {self.alias!r} can't complete it so")

    @abstractmethod
    def promote_due(self, limit: int = 1000) -> Promotion:
        """Make up to `limit` scheduled jobs that are due pending."""

    @abstractmethod
    def lost_claims(self, limit: int = 500, queues: Collection[str] | None = None) -> list[Claim]:
        """Mark workers whose lease is over as lost, then answer up to `limit` claims of lost and stopped workers.

        Only those on `queues`, where some are named.

        The claims are still theirs in the store: settle them.
        """

    @abstractmethod
    def held(self, worker_id: str) -> dict[str, int]:
        """What the store says that a worker holds: `claim_no` by job id."""

    def cancel_requests(self, worker_id: str) -> set[str]:
        """The ids of the jobs that a worker runs and that somebody wants cancelled."""
        return set()

    def pause_services(self, seconds: Mapping[str, float]) -> None:
        """Note for how long no job of these services is to be started. A backend may have no notion of it."""

    def paused_services(self, names: Collection[str]) -> dict[str, float]:
        """Those of `names` that are paused, with the seconds that are left."""
        return {}

    def queue_names(self) -> list[str]:
        """The queues on which jobs wait, sorted. Asked now and then by a worker that serves a prefix."""
        return [numbers.queue for numbers in self.stats() if numbers.counts.get("pending")]

    def paused_queues(self, queues: Collection[str]) -> set[str]:
        """Those of `queues` that are paused. Asked about twice a second by a worker that has jobs in hand."""
        return {numbers.queue for numbers in self.stats(list(queues)) if numbers.paused}

    def record_events(self, events: Sequence[Note]) -> None:
        """Write timeline entries. A backend may have no timeline."""

    def bound_waits(self, lease_seconds: float) -> None:
        """In this process, from the next connection on, wait for no lock and no answer so long that a lease would end.

        For a worker. A process that is forked from this one is not bound.
        """

    def meanwhile(self, fileno: int, act: Callable[[], object]) -> AbstractContextManager[bool]:
        """Within it, `act` is called each time that `fileno` can be read while this thread waits for the store.

        A backend that never waits, or whose driver can't do anything else the while, does not call it. As what it is
        bound to, it says whether it may be called.
        """
        return nullcontext(False)

    def wakeup(self, queues: Sequence[str]) -> Wakeup:
        """How a worker of `queues` learns of new work."""
        return Wakeup()

    def not_ready(self) -> str:
        """Why a worker can't start on this store yet, with what to do; empty where it can, or nobody can tell."""
        return ""

    def close(self) -> None:
        """Close what must not cross a fork."""

    # -- people's verbs ---------------------------------------------------------------------------------------

    @abstractmethod
    def get(self, job_id: str) -> JobRecord | None:
        """The job, wherever it is."""

    @abstractmethod
    def cancel(self, job_id: str, *, reason: str = "") -> CancelOutcome:
        """Cancel a job that waits; ask for it where it runs. `reason` goes into its timeline."""

    @abstractmethod
    def retry(self, job_id: str, *, delay: float = 0.0, resign: bool = False) -> None:
        """Make a failed job wait again, with no attempts used.

        Raises `JobNotFound`, and `JobConflict` for a job that is rejected (unless `resign`) or whose unique key is
        taken.
        """

    @abstractmethod
    def delete(self, job_id: str, *, force: bool = False) -> bool:
        """Delete a job. False: there is none. Raises `JobConflict` for a running one, unless `force`."""

    def set_paused(self, queues: Sequence[str], *, paused: bool) -> list[str]:
        """Pause these queues, or resume them; answers those that were not so before.

        Nothing is claimed from a paused queue. A backend may have no notion of it.
        """
        return []

    @abstractmethod
    def stats(self, queues: Sequence[str] | None = None) -> list[QueueStats]:
        """The numbers per queue, sorted by name."""

    # -- the site's verbs -------------------------------------------------------------------------------------

    def check(self) -> list[CheckMessage]:
        """What is wrong with the backend's options or its store, for `manage.py check`."""
        return []

    def check_store(self, databases: Collection[str]) -> list[CheckMessage]:
        """What is wrong with the store itself, which is asked. Of databases, only these may be asked."""
        return []
