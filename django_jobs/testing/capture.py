"""What was dispatched: captured as it happens, or looked up where it is stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from .. import api
from ..backends import JobRecord, get_backend
from ..backends.archive import record_of
from ..backends.memory import MemoryBackend
from ..definition import JobDefinition
from ..models import CompletedJob, FailedJob, Job
from ..store import store_of

J = TypeVar("J", JobDefinition, JobRecord)
_MISSING = object()


class CapturedJobs(list[JobDefinition]):
    """The definitions that were dispatched, in order, whatever became of them."""

    def matching(self, handler: Any = None, **like: Any) -> list[JobDefinition]:
        """Those of a handler that are like this; see `assert_dispatched`."""
        return [job for job in self if _matches(job, handler, like)]

    def assert_dispatched(self, handler: Any = None, *, times: int | None = None, **like: Any) -> list[JobDefinition]:
        """Fail unless such jobs were dispatched; answers them."""
        return _assert(self, self.matching(handler, **like), handler, times, like)

    def assert_nothing_dispatched(self) -> None:
        """Fail if anything was dispatched."""
        _assert_nothing(self)


@contextmanager
def capture_jobs() -> Iterator[CapturedJobs]:
    """Capture what the block dispatches, on any backend. The jobs are stored all the same.

    with capture_jobs() as jobs:
        sign_up(user)
    jobs.assert_dispatched("welcome", payload__user_id=user.pk, queue="mail")
    """
    captured = CapturedJobs()
    api.observers.append(captured.extend)
    try:
        yield captured
    finally:
        api.observers.remove(captured.extend)


def dispatched_jobs(handler: Any = None, *, backend: str | None = None, **like: Any) -> list[JobRecord]:
    """The jobs that are stored, whether they wait, run or are finished, oldest first.

    In a `TestCase` these are the jobs that the test has dispatched. Raises `TypeError` for a backend that keeps none.
    """
    return [record for record in _records(backend) if _matches(record, handler, like)]


def assert_dispatched(
    handler: Any = None, *, times: int | None = None, backend: str | None = None, **like: Any
) -> list[JobRecord]:
    """Fail unless jobs of `handler` (a key or a class; None: any) that are like this are stored; answers them.

    `like` names fields of the job and what they should be: `queue="mail"`, `payload__user_id=1` for an item of the
    payload, `payload__items__0="a"` further within. A function is asked: `payload__total=lambda total: total > 5`.
    `times`: so many exactly; None: at least one.
    """
    records = _records(backend)
    return _assert(records, [r for r in records if _matches(r, handler, like)], handler, times, like)


def assert_nothing_dispatched(*, backend: str | None = None) -> None:
    """Fail if any job is stored."""
    _assert_nothing(_records(backend))


def _records(alias: str | None) -> list[JobRecord]:
    backend = get_backend(alias)
    if isinstance(backend, MemoryBackend):
        return backend.records()
    store = store_of(backend)
    if store is None:
        raise TypeError(f"the backend {backend.alias!r} keeps no jobs to look at. Use capture_jobs().")
    tables = (model._default_manager.using(store.database).all() for model in (Job, CompletedJob, FailedJob))
    return sorted((record_of(row) for rows in tables for row in rows), key=lambda record: record.id)


def _matches(job: JobDefinition | JobRecord, handler: Any, like: Mapping[str, Any]) -> bool:
    if handler is not None and job.handler != api.Jobs.key_of(handler):
        return False
    return all(_is_like(_value(job, name), wanted) for name, wanted in like.items())


def _is_like(value: Any, wanted: Any) -> bool:
    if value is _MISSING:
        return False
    return bool(wanted(value)) if callable(wanted) else bool(value == wanted)


def _value(job: JobDefinition | JobRecord, path: str) -> Any:
    name, *items = path.split("__")
    source: Any = job
    if isinstance(job, JobRecord) and not hasattr(job, name):
        source = job.definition
    value = getattr(source, name, _MISSING)
    if value is _MISSING and not hasattr(JobDefinition, name):
        raise TypeError(f"{name!r} is no field of a job")
    for item in items:
        value = _item(value, item)
    return value


def _item(value: Any, item: str) -> Any:
    try:
        if isinstance(value, Mapping):
            return value[item]
        return value[int(item)] if isinstance(value, Sequence) else getattr(value, item, _MISSING)
    except (KeyError, IndexError, ValueError):
        return _MISSING


def _assert(jobs: Sequence[J], found: list[J], handler: Any, times: int | None, like: Mapping[str, Any]) -> list[J]:
    if (times is None and found) or len(found) == times:
        return found
    wanted = ", ".join([str(handler or "any job"), *(f"{name}={value!r}" for name, value in like.items())])
    counted = "none was" if not found else f"{len(found)} were"
    many = "at least one" if times is None else times
    raise AssertionError(f"{many} of ({wanted}) should be dispatched, and {counted}. {_shown(jobs)}")


def _assert_nothing(jobs: Sequence[Any]) -> None:
    if jobs:
        raise AssertionError(f"nothing should be dispatched. {_shown(jobs)}")


def _shown(jobs: Sequence[Any]) -> str:
    if not jobs:
        return "No job was dispatched at all."
    lines = [f"\n  {job.handler} on {job.queue}: {_value(job, 'payload')!r:.200}" for job in jobs[:20]]
    return f"Dispatched were {len(jobs)}:{''.join(lines)}"
