"""What the integration tests share: a worker in this process, which takes one step when it is told to."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from django_jobs import Jobs
from django_jobs.backends import Backend, WorkerInfo
from django_jobs.runtime import Claim
from django_jobs.settlement import conclude
from tests.support.jobs import run


def claim_all(backend: Backend, *queues: str) -> list[Claim]:
    """Claim what is ready, as a worker that has only just started, and that never renews its lease."""
    worker = str(uuid.uuid4())
    backend.register(WorkerInfo(worker, "host.test", 4711, list(queues)), 3600)
    return [claim for queue in queues for claim in backend.claim(queue, worker, 1000)]


def work_off(backend: Backend, *queues: str) -> None:
    """Claim, run and settle what is ready, once."""
    claims = claim_all(backend, *(queues or ("default", "mail")))
    assert all(backend.settle([conclude(claim, run(claim)) for claim in claims]))


def lose(backend: Backend, *queues: str) -> list[str]:
    """Claim what is ready, and stop without settling it; answers the ids."""
    claims = claim_all(backend, *queues)
    for worker in {claim.worker_id for claim in claims}:
        backend.deregister(worker)
    return [claim.id for claim in claims]


@pytest.fixture
def failed() -> Callable[..., str]:
    """Make a job that failed on its only attempt: dispatched, claimed, run and settled. Answers its id."""

    def make(handler: str = "trial.fail", payload: object = None, **options: object) -> str:
        job = Jobs.push(handler, payload, max_attempts=1, **options)  # type: ignore[arg-type]
        backend = Jobs.backend()
        work_off(backend, str(options.get("queue", "default")))
        assert job.refresh().state == "failed"
        return str(job)

    return make
