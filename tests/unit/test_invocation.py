"""How a handler is called: versions, instances, middleware, output, warnings, and coroutines."""

import asyncio
import os
import signal
import sys
import threading
import time
import warnings
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async

from django_jobs import JobHandler, Jobs, job, registry
from django_jobs.awaiting import settled
from django_jobs.context import NoControls
from django_jobs.exceptions import (
    DeferTo,
    Discard,
    Fail,
    InvalidDefinition,
    JobTimeout,
    RetryAfter,
    Snooze,
)
from django_jobs.retry import Target
from django_jobs.runtime import run_hooks
from django_jobs.settlement import conclude, history_entries
from tests.support.jobs import make_claim, run
from tests.support.waiting import wait_until


class Notes(NoControls):
    def __init__(self):
        self.kept = []

    def note(self, kind, message, data):
        self.kept.append((kind, message))


@pytest.fixture
def attempt(handlers):
    def make(attributes, payload=None, **claim):
        handler = type("Handler", (JobHandler,), attributes)
        handlers({"unit.job": handler})
        return run(make_claim("unit.job", payload, **claim))

    return make


def value_of(outcome):
    assert outcome.kind == "completed", outcome
    return outcome.result


# -- versions of payloads ---------------------------------------------------------------------------------------


def migrate(cls, payload, from_version):
    return {"name": payload, "from": from_version}


def test_an_older_payload_is_brought_to_the_handlers_version(attempt):
    attributes = {
        "schema_version": 3,
        "migrate_payload": classmethod(migrate),
        "handle": lambda self, ctx: ctx.payload,
    }
    assert value_of(attempt(attributes, "Zoë", schema_version=1)) == '{"name":"Zoë","from":1}'
    assert value_of(attempt(attributes, "Zoë", schema_version=3)) == '"Zoë"'


def test_a_newer_payload_waits_for_newer_code(attempt):
    outcome = attempt({"handle": lambda self, ctx: "ran"}, schema_version=2)
    assert (outcome.kind, outcome.result) == ("handler_missing", "")
    assert "version 2, newer" in outcome.error.message


def test_an_older_payload_that_nobody_can_migrate_fails_at_once(attempt):
    outcome = attempt({"schema_version": 2, "handle": lambda self, ctx: "ran"})
    assert outcome.kind == "failed"
    assert "migrate_payload" in outcome.error.message


# -- instances ---------------------------------------------------------------------------------------------------


def test_a_handler_makes_its_own_instance(attempt):
    def create(cls, ctx):
        made = cls()
        made.greeting = f"hello {ctx.payload}"
        return made

    assert (
        value_of(attempt({"create": classmethod(create), "handle": lambda self, ctx: self.greeting}, "x"))
        == '"hello x"'
    )


def container(handler_class, ctx):
    made = handler_class()
    made.service = f"for {ctx.job_id}"
    return made


def test_a_container_makes_the_instances_of_all_handlers(attempt, settings):
    settings.JOBS_CONTAINER = "tests.unit.test_invocation.container"
    claim_id = "01900000-0000-7000-8000-000000000001"
    assert value_of(attempt({"handle": lambda self, ctx: self.service}, id=claim_id)) == f'"for {claim_id}"'


def test_a_constructor_that_fails_fails_the_attempt(attempt):
    def create(cls, ctx):
        raise OSError("no service")

    outcome = attempt({"create": classmethod(create), "handle": lambda self, ctx: None})
    assert (outcome.kind, outcome.error.message) == ("retry", "no service")


# -- middleware --------------------------------------------------------------------------------------------------

SEEN = []


def tracing(name):
    def middleware(ctx, call_next):
        SEEN.append(f"{name} in")
        value = call_next()
        SEEN.append(f"{name} out {value}")
        return value

    return middleware


site = tracing("site")
named = tracing("named")


async def asynchronous(ctx, call_next):
    return f"awaited {call_next()}"


def test_middleware_wraps_the_attempt_from_the_site_inwards(attempt, settings):
    SEEN.clear()
    settings.JOBS_MIDDLEWARE = ["tests.unit.test_invocation.site"]
    settings.JOBS_MIDDLEWARE_ALLOWED = ["tests.unit.test_invocation.named"]
    attributes = {"middleware": [tracing("own")], "handle": lambda self, ctx: SEEN.append("handle") or "done"}
    assert value_of(attempt(attributes, middleware=("tests.unit.test_invocation.named",))) == '"done"'
    assert SEEN == ["site in", "own in", "named in", "handle", "named out done", "own out done", "site out done"]


def test_middleware_may_answer_instead_of_the_handler_or_change_its_answer(attempt):
    handle = {"handle": lambda self, ctx: 1}
    assert value_of(attempt({**handle, "middleware": [lambda ctx, call: "cached"]})) == '"cached"'
    assert value_of(attempt({**handle, "middleware": [lambda ctx, call: call() + 1]})) == "2"
    assert value_of(attempt({**handle, "middleware": [asynchronous]})) == '"awaited 1"'


def test_what_middleware_raises_fails_the_attempt(attempt):
    def refuse(ctx, call):
        raise Fail("not today")

    outcome = attempt({"middleware": [refuse], "handle": lambda self, ctx: 1})
    assert (outcome.kind, outcome.error.message) == ("failed", "not today")


def test_stored_middleware_that_the_site_does_not_allow_is_never_imported(attempt):
    outcome = attempt({"handle": lambda self, ctx: 1}, middleware=("tests.unit.no_such_module.run",))
    assert outcome.kind == "failed"
    assert "JOBS_MIDDLEWARE_ALLOWED" in outcome.error.message


# -- output and warnings -----------------------------------------------------------------------------------------


def test_what_a_handler_prints_goes_into_its_timeline_where_it_wants_that(handlers, settings, capsys):
    settings.JOBS_MAX_OUTPUT_LENGTH = 20

    class Prints(JobHandler):
        capture_output = True

        def handle(self, ctx):
            print("x" * 100)
            print("the end", file=sys.stderr)
            raise ValueError("it fails, and still")

    class Quiet(JobHandler):
        def handle(self, ctx):
            print("to the worker's own output")

    handlers({"unit.prints": Prints, "unit.quiet": Quiet})
    notes = Notes()
    assert run(make_claim("unit.prints"), notes).kind == "retry"
    assert notes.kept == [("output", "… (89 characters cut)\nxxxxxxxxxxx\nthe end\n")]
    run(make_claim("unit.quiet"), notes)
    assert len(notes.kept) == 1
    assert capsys.readouterr().out == "to the worker's own output\n"


@pytest.mark.parametrize(
    ("handler", "queue", "kind"),
    [
        (True, {}, "retry"),
        (None, {"warnings_as_errors": True}, "retry"),
        (False, {"warnings_as_errors": True}, "completed"),
    ],
)
def test_a_warning_fails_the_attempt_where_the_handler_or_its_queue_says_so(attempt, settings, handler, queue, kind):
    settings.JOBS_QUEUES = {"default": queue}

    def handle(self, ctx):
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert attempt({"warnings_as_errors": handler, "handle": handle}).kind == kind
        warnings.warn("the filters are as they were", DeprecationWarning, stacklevel=1)


# -- what a handler may raise to say what is to become of its job -------------------------------------------------


def raising(error):
    def handle(self, ctx):
        raise error

    return {"handle": handle}


@pytest.mark.parametrize(
    ("error", "target", "word", "delay"),
    [
        (Snooze(30), Target.WAITING, "snoozed", 30),
        (Snooze("10m"), Target.WAITING, "snoozed", 600),
        (Snooze(-0.5), Target.WAITING, "snoozed", 0),
        (Snooze(timedelta(seconds=-1)), Target.WAITING, "snoozed", 0),
        (RetryAfter(7), Target.WAITING, "requeued", 7),
        (Discard("nobody needs it"), Target.CANCELLED, "discarded", 0),
        (Fail("no such customer"), Target.FAILED, "dead-lettered", 0),
        (DeferTo("slow", after=5), Target.WAITING, "deferred", 5),
        (DeferTo("No Such Queue!"), Target.FAILED, "dead-lettered", 0),
        (Snooze("soon"), Target.FAILED, "dead-lettered", 0),
    ],
)
def test_an_outcome_may_be_raised(handlers, error, target, word, delay):
    handlers({"unit.job": type("Handler", (JobHandler,), raising(error))})
    claim = make_claim("unit.job", max_attempts=2)
    settlement = conclude(claim, run(claim))
    assert (settlement.transition.target, settlement.transition.word) == (target, word)
    assert settlement.transition.delay == delay
    refund = 1 if word in ("snoozed", "deferred") else 0
    assert settlement.transition.attempt_refund == refund
    assert (settlement.moved is not None) is (word == "deferred")


def test_snoozes_are_counted_apart_from_attempts_and_bounded(handlers):
    class Sleepy(JobHandler):
        max_snoozes = 3

        def handle(self, ctx):
            raise Snooze(1)

    handlers({"unit.job": Sleepy})
    claim = make_claim("unit.job")
    for n in range(1, 4):
        settlement = conclude(claim, run(claim))
        assert settlement.transition.word == "snoozed"
        entries = history_entries(settlement.history)
        assert [entry["snoozes"] for entry in entries] == [n]
        claim = claim._replace(history=settlement.history)
    end = conclude(claim, run(claim))
    assert (end.transition.target, end.transition.reason) == (Target.FAILED, "dead")


def test_a_job_that_is_deferred_for_ever_is_dead_in_the_end(handlers, settings):
    settings.JOBS_MAX_SNOOZES = 3
    handlers({"unit.job": type("Handler", (JobHandler,), raising(DeferTo("default")))})
    claim = make_claim("unit.job")
    for _ in range(3):
        settlement = conclude(claim, run(claim))
        assert settlement.transition.word == "deferred"
        claim = claim._replace(history=settlement.history)
    end = conclude(claim, run(claim))
    assert (end.transition.target, end.transition.reason, end.moved) == (Target.FAILED, "dead", None)


def test_a_job_is_not_deferred_to_a_queue_that_does_not_take_it(handlers, settings):
    settings.JOBS_QUEUES = {"narrow": {"handlers": ["unit.other"]}}
    handlers({"unit.job": type("Handler", (JobHandler,), raising(DeferTo("narrow")))})
    outcome = run(make_claim("unit.job"))
    assert outcome.kind == "failed"
    assert "JOBS_QUEUES['narrow']['handlers'] does not allow 'unit.job'" in outcome.error.message


# -- what can't be run by calling it ------------------------------------------------------------------------------


def yields(*args):
    yield


async def yields_asynchronously(*args):
    yield


@pytest.mark.parametrize("function", [yields, yields_asynchronously])
@pytest.mark.parametrize("place", ["handle", "before_run", "middleware"])
def test_a_generator_does_not_count_as_done(attempt, function, place):
    """Calling it runs nothing: the job would be completed with nothing done."""
    attributes = {"handle": lambda self, ctx: "done"} | {place: [function] if place == "middleware" else function}
    outcome = attempt(attributes)
    assert (outcome.kind, outcome.result) == ("failed", "")
    assert "is a generator, so nothing of it has run" in outcome.error.message


# -- coroutines --------------------------------------------------------------------------------------------------


def test_hooks_may_be_coroutines(handlers):
    seen = []

    class Handler(JobHandler):
        async def before_run(self, ctx):
            seen.append("before")

        async def handle(self, ctx):
            await asyncio.sleep(0)
            return "value"

        async def after_run(self, ctx, result):
            seen.append(f"after {result}")

        async def on_success(self, ctx, result):
            seen.append(f"success {result}")

    handlers({"unit.job": Handler})
    claim = make_claim("unit.job")
    settlement = conclude(claim, run(claim))
    run_hooks(claim, settlement.transition, settlement.result, None)
    assert seen == ["before", "after value", "success value"]


def test_what_a_coroutine_calls_synchronously_happens_in_this_thread():
    async def where():
        return await sync_to_async(threading.get_ident)()

    assert settled(where()) == threading.get_ident()
    assert settled("plain") == "plain"


def test_a_coroutine_does_not_outlive_its_attempt(handlers):
    ticks, ended, threads = [], threading.Event(), threading.active_count()

    class Endless(JobHandler):
        async def handle(self, ctx):
            try:
                while True:
                    ticks.append(time.monotonic())
                    if len(ticks) == 3:
                        os.kill(os.getpid(), signal.SIGUSR1)
                    await asyncio.sleep(0.001)
            finally:
                ended.set()

    def ring(number, frame):
        raise JobTimeout("time is up")

    handlers({"unit.job": Endless})
    before = signal.signal(signal.SIGUSR1, ring)
    try:
        outcome = run(make_claim("unit.job"))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert outcome.kind == "timed_out"
    assert ended.is_set()
    wait_until(lambda: threading.active_count() <= threads, "the loop's thread to end")


# -- handlers of other forms ---------------------------------------------------------------------------------------


class OldTask:
    max_attempts = 4

    def run(self, data, job_id):
        return {"data": data, "id": job_id}


class Reports:
    methods = ("monthly",)

    def handle(self, ctx):
        return "daily"

    def monthly(self, ctx):
        return f"monthly {ctx.payload}"

    def secret(self, ctx):
        return "never"


def test_a_task_of_the_older_form_runs_as_it_is(handlers):
    handlers({"unit.old": OldTask})
    claim = make_claim("unit.old", {"a": 1})
    assert value_of(run(claim)) == f'{{"data":{{"a":1}},"id":"{claim.id}"}}'


def test_a_method_that_the_class_lists_may_stand_for_handle(handlers):
    handlers({"unit.reports": Reports})
    assert value_of(run(make_claim("unit.reports:monthly", 6))) == '"monthly 6"'
    assert value_of(run(make_claim("unit.reports"))) == '"daily"'
    assert run(make_claim("unit.reports:secret")).kind == "handler_missing"
    assert run(make_claim("unit.reports:__init__")).kind == "handler_missing"


def test_lists_that_are_one_text_by_mistake_allow_no_part_of_it(handlers, settings):
    handlers({"unit.reports": type("Misspelt", (Reports,), {"methods": "secrets"})})
    assert run(make_claim("unit.reports:secret")).kind == "handler_missing"
    with pytest.raises(InvalidDefinition, match="List it in `methods`"):
        Jobs.define(["unit.reports", "secret"])
    path = "tests.unit.test_invocation.named"
    settings.JOBS_MIDDLEWARE_ALLOWED = f"{path}_as_well"
    assert run(make_claim("unit.reports", middleware=(path,))).kind == "failed"
    with pytest.raises(InvalidDefinition, match="JOBS_MIDDLEWARE_ALLOWED"):
        Jobs.prepare(Jobs.define("unit.reports").middleware(path))


def test_an_old_key_stands_for_the_new_one(handlers, settings):
    handlers({"unit.reports": Reports})
    settings.JOBS_ALIASES = {"Reports.Old": "unit.reports"}
    assert value_of(run(make_claim("Reports.Old"))) == '"daily"'


def warn():
    warnings.warn("no", UserWarning, stacklevel=1)


def test_a_function_job_takes_the_attributes_of_a_handler():
    strict = job("unit.strict", max_retries=2, warnings_as_errors=True, unique=True)(warn)
    assert registry.defaults_of(strict.job_handler)["max_attempts"] == 3
    assert run(make_claim("unit.strict")).kind == "retry"


def test_a_queue_runs_only_what_it_allows(handlers, settings):
    handlers({"unit.reports": Reports})
    settings.JOBS_QUEUES = {"default": {"handlers": ["other"]}, "all": {}, "none": {"handlers": []}}
    assert run(make_claim("unit.reports")).kind == "rejected"
    assert run(make_claim("unit.reports", queue="none")).kind == "rejected"
    assert run(make_claim("unit.reports", queue="all")).kind == "completed"


def test_an_expiry_counts_from_the_enqueue_by_the_stores_clock(handlers):
    handlers({"unit.reports": Reports})
    assert run(make_claim("unit.reports", expires_in=10.0, enqueued_at=100.0, claimed_at=109.0)).kind == "completed"
    assert run(make_claim("unit.reports", expires_in=10.0, enqueued_at=100.0, claimed_at=110.0)).kind == "expired"


def test_an_attempt_leaves_the_output_as_it_was(attempt):
    out = sys.stdout
    attempt({"capture_output": True, "handle": lambda self, ctx: print("x")})
    assert sys.stdout is out
