import itertools
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_jobs import JobHandler, JobRef, Jobs
from django_jobs.backends import CancelOutcome, WorkerInfo, get_backend
from django_jobs.exceptions import (
    InvalidDefinition,
    JobConflict,
    JobFailed,
    JobNotFinished,
    JobNotFound,
    PayloadTooLarge,
    UnknownHandler,
)
from django_jobs.testing.conformance import settlement

MEMORY = {"BACKEND": "django_jobs.backends.memory.MemoryBackend"}
SOME_ID = "01900000-0000-7000-8000-0000000000aa"


class Plain(JobHandler):
    def handle(self, ctx):
        return None


class Tuned(Plain):
    queue = "tuned"
    max_attempts = 4
    timeout = 44


@pytest.fixture(autouse=True)
def memory(settings, handlers):
    settings.JOBS_BACKENDS = {"default": MEMORY, "other": MEMORY, "broken": {"BACKEND": "no.such.Backend"}}
    handlers({"unit.plain": Plain, "unit.tuned": Tuned})
    return get_backend()


def stored(ref):
    return ref.refresh()


def claim(memory, ref):
    worker = SOME_ID
    memory.register(WorkerInfo(worker, "h", 1, []), 30)
    (found,) = (c for c in memory.claim(stored(ref).queue, worker, 100) if c.id == ref)
    return found


def test_a_reference_is_the_id_as_text_and_knows_its_backend(memory):
    ref = Jobs.push("unit.plain", {"a": 1})
    assert isinstance(ref, str)
    assert isinstance(ref, JobRef)
    assert stored(ref).id == ref
    assert stored(ref).definition.payload == {"a": 1}
    other = Jobs.define("unit.plain").dispatch(backend="other")
    assert other.refresh().state == "pending"
    assert Jobs.backend("other").get(other) is not None
    assert Jobs.get(other).id == other
    with pytest.raises(JobNotFound):
        Jobs.get(str(other))  # a bare text says nothing of a backend
    assert Jobs.get(str(other), backend="other").id == other


def test_the_call_wins_over_the_handler_the_queue_and_the_site(settings):
    settings.JOBS_QUEUES = {
        "tuned": {"max_attempts": 5, "timeout": 55, "priority": 5, "backoff": "none"},
        "default": {"priority": 6},
    }
    settings.JOBS_DEFAULTS = {"max_attempts": 6, "timeout": 66, "priority": 7, "queue": "default"}

    def options(handler, **given):
        definition = stored(Jobs.push(handler, **given)).definition
        record = stored(Jobs.push(handler, **given))
        return definition.queue, definition.max_attempts, definition.timeout, record.priority, definition.backoff

    site_backoff = {"strategy": "exponential", "base": 5, "factor": 2, "cap": 300, "jitter": 0.15}
    assert options("unit.plain") == ("default", 6, 66, 6, site_backoff)
    assert options("unit.tuned") == ("tuned", 4, 44, 5, {"strategy": "none"})
    given = {"queue": "elsewhere", "max_attempts": 9, "timeout": None, "priority": 0, "backoff": 1}
    assert options("unit.tuned", **given) == ("elsewhere", 9, None, 0, {"strategy": "fixed", "base": 1})
    assert options("unit.tuned", queue="elsewhere")[:4] == ("elsewhere", 4, 44, 7)


def test_a_queue_may_name_its_backend(settings):
    settings.JOBS_QUEUES = {"default": {}, "far": {"backend": "other"}}
    assert Jobs.push("unit.plain", queue="far").backend == "other"
    assert Jobs.push("unit.plain").backend == "default"
    assert Jobs.push("unit.plain", queue="far", backend="default").backend == "default"


def test_a_bad_default_of_the_site_is_named_at_the_enqueue(settings):
    settings.JOBS_DEFAULTS = {"max_attempts": 0}
    with pytest.raises(InvalidDefinition, match=r"^JOBS_DEFAULTS: max_attempts"):
        Jobs.push("unit.plain")


def test_push_takes_every_option_and_a_builder_in_between():
    when = datetime.now(UTC) + timedelta(hours=1)
    ref = Jobs.push("unit.plain", None, "mail", SOME_ID, configure=lambda b: b.priority(3).named("n"), tags=["t"])
    record = stored(ref)
    assert (ref, record.queue, record.priority) == (SOME_ID, "mail", 3)
    assert (record.definition.name, record.definition.tags) == ("n", ("t",))
    assert stored(Jobs.push_at(when, "unit.plain")).available_at == when
    kept = stored(Jobs.push("unit.plain", configure=lambda builder: None, name="kept"))
    assert kept.definition.name == "kept"


def test_an_unknown_option_or_handler_or_backend_stores_nothing(memory):
    with pytest.raises(TypeError, match="'piority' is not an option"):
        Jobs.push("unit.plain", piority=1)
    with pytest.raises(UnknownHandler):
        Jobs.push("unit.nobody")
    with pytest.raises(ImproperlyConfigured, match="no backend 'nowhere'"):
        Jobs.push("unit.plain", backend="nowhere")
    with pytest.raises(ImproperlyConfigured, match="No module named"):
        Jobs.push("unit.plain", backend="broken")
    assert memory.stats() == []


def test_a_class_dispatches_itself():
    ref = Tuned.dispatch({"a": 1}, delay="1h", name="n")
    record = stored(ref)
    assert (record.handler, record.queue, record.state) == ("unit.tuned", "tuned", "scheduled")
    assert record.definition.name == "n"
    assert stored(Tuned.define([1]).priority(9).dispatch()).priority == 9


def test_many_are_dispatched_in_order():
    refs = Jobs.dispatch_many(Jobs.define("unit.plain", n).delay(n) for n in range(5))
    assert [stored(ref).definition.payload for ref in refs] == list(range(5))
    assert all(a < b for a, b in itertools.pairwise(refs))
    assert Jobs.dispatch_many([]) == []


def test_one_handler_takes_many_payloads(memory):
    refs = Jobs.push_many("unit.plain", ({"n": n} for n in range(5)), queue="mail", meta={"of": "many"})
    definitions = [stored(ref).definition for ref in refs]
    assert [d.payload["n"] for d in definitions] == list(range(5))
    assert {(d.queue, d.meta["of"], d.id in refs) for d in definitions} == {("mail", "many", True)}
    assert Jobs.push_many("unit.plain", []) == []
    for bad in ([{"n": 1}, {1: 2}], ["x" * 100_000]):
        with pytest.raises(InvalidDefinition):
            Jobs.push_many("unit.plain", bad)
    with pytest.raises(InvalidDefinition, match="can't share one"):
        Jobs.push_many("unit.plain", [1, 2], id=refs[0])
    assert sum(sum(s.counts.values()) for s in memory.stats()) == 5


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (lambda: Jobs.define("unit.plain", "x" * 100_000).using("other"), PayloadTooLarge),
        (lambda: Jobs.define("unit.plain", {1: 2}).using("other"), InvalidDefinition),
        (lambda: Jobs.define("unit.plain").using("nowhere"), ImproperlyConfigured),
        (lambda: Jobs.define("unit.nobody"), UnknownHandler),
    ],
)
def test_one_bad_job_of_many_leaves_none_on_any_backend(memory, bad, error):
    good = Jobs.define("unit.plain")
    with pytest.raises(error):
        Jobs.dispatch_many([good, good.using("other"), bad()])
    assert memory.stats() == get_backend("other").stats() == []


def test_a_result_is_there_once_the_job_is_done(memory):
    ref = Jobs.push("unit.plain")
    with pytest.raises(JobNotFinished, match="is pending"):
        ref.result()
    memory.settle([settlement(claim(memory, ref), result="[1]")])
    assert ref.result() == [1]


def test_a_result_of_a_failed_or_cancelled_job_says_why(memory):
    failed, cancelled = Jobs.push("unit.plain"), Jobs.push("unit.plain", delay=60)
    memory.settle([settlement(claim(memory, failed), "failed")])
    with pytest.raises(JobFailed) as caught:
        failed.result()
    assert caught.value.reason == "failed"
    assert cancelled.cancel() is CancelOutcome.CANCELLED
    with pytest.raises(JobFailed) as caught:
        cancelled.result()
    assert caught.value.reason == "cancelled"


def test_the_reference_and_the_face_say_the_same(memory):
    ref = Jobs.push("unit.plain")
    memory.settle([settlement(claim(memory, ref), "failed")])
    ref.retry(delay=60)
    assert Jobs.get(ref.upper()).state == "scheduled"
    assert Jobs.cancel(ref) is CancelOutcome.CANCELLED
    assert Jobs.cancel(ref) is CancelOutcome.ALREADY_FINISHED
    assert Jobs.delete(ref) is True
    assert Jobs.delete(ref) is False
    with pytest.raises(JobNotFound):
        ref.refresh()
    with pytest.raises(JobNotFound):
        Jobs.retry(ref)


@pytest.mark.parametrize(
    "delay", [-1, float("nan"), float("inf"), 10**30, 10**5000, "soon", None, True, []], ids=lambda d: type(d).__name__
)
def test_a_retry_takes_no_delay_that_is_none(memory, delay):
    ref = Jobs.push("unit.plain")
    memory.settle([settlement(claim(memory, ref), "failed")])
    with pytest.raises(InvalidDefinition, match=r"^delay: "):
        ref.retry(delay=delay)
    assert stored(ref).state == "failed"
    ref.retry(delay="10m")
    assert stored(ref).state == "scheduled"


def test_a_running_job_is_not_deleted_unless_by_force(memory):
    ref = Jobs.push("unit.plain")
    claim(memory, ref)
    with pytest.raises(JobConflict):
        Jobs.delete(ref)
    assert Jobs.delete(ref, force=True)


@pytest.mark.parametrize("verb", [Jobs.get, Jobs.cancel, Jobs.retry, Jobs.delete])
def test_what_is_no_id_is_refused(verb):
    with pytest.raises(InvalidDefinition, match=r"^id: "):
        verb("not-an-id")
