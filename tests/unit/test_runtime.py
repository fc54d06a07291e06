import json
import logging
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta, tzinfo

import pytest

from django_jobs import (
    JobCancelled,
    JobHandler,
    JobResult,
    JobTimeout,
    NonRetryableJobError,
    RetryableJobError,
    RetryAfter,
    Snooze,
    signals,
)
from django_jobs.exceptions import RecordedError
from django_jobs.redaction import clip
from django_jobs.retry import COMPLETE, GIVE_BACK, LONGEST_DELAY, Facts, OutcomeKind, decide
from django_jobs.runtime import (
    ErrorRecord,
    Outcome,
    record_error,
    result_json,
    run_attempt,
    run_cancel_handler,
    run_hooks,
    timeline_note,
    wants_hooks,
)
from tests.support.jobs import make_claim, run

KEY = "unit.run"


@pytest.fixture
def attempt(handlers):
    """Run one attempt of a handler whose `handle` is the given function (or raises, or returns, what is given)."""

    def start(act, payload=None, controls=None, base=JobHandler, **options):
        def handle(self, ctx):
            if callable(act) and not isinstance(act, type):
                return act(ctx)
            if isinstance(act, BaseException) or (isinstance(act, type) and issubclass(act, BaseException)):
                raise act
            return act

        handlers({KEY: type("Handler", (base,), {"handle": handle, "__module__": __name__})})
        return run(make_claim(KEY, payload, **options), controls)

    return start


# -- what an attempt comes to ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (None, ""),
        (0, "0"),
        (False, "false"),
        ("", '""'),
        ({"é": [1, None]}, '{"é":[1,null]}'),
        (JobResult.success(), ""),
        (JobResult.success([1]), "[1]"),
    ],
)
def test_a_handler_that_returns_completes_with_its_output(attempt, value, result):
    outcome = attempt(value)
    assert (outcome.kind, outcome.result, outcome.error, outcome.retry_after) == ("completed", result, None, None)
    assert outcome.seconds >= 0


@pytest.mark.parametrize(
    ("end", "kind", "message", "after"),
    [
        (ValueError("boom"), "retry", "boom", None),
        (RetryableJobError("busy"), "retry", "busy", None),
        (RetryableJobError("busy", retry_after=0), "retry", "busy", 0),
        (RetryableJobError("busy", retry_after=2.5), "retry", "busy", 2.5),
        (NonRetryableJobError("never"), "failed", "never", None),
        (JobTimeout("late"), "timed_out", "late", None),
        (JobCancelled("stop"), "cancelled", "stop", None),
        (SystemExit(3), "retry", "3", None),
        (KeyboardInterrupt(), "retry", "", None),
        (GeneratorExit(), "retry", "", None),
        (MemoryError(), "retry", "", None),
        (RecursionError("deep"), "retry", "deep", None),
        (JobResult.retry("again"), "retry", "again", None),
        (JobResult.retry(after=0), "retry", "the handler asked to be tried again", 0),
        (JobResult.fail("bad input"), "failed", "bad input", None),
        (JobResult.fail(ValueError("an error object")), "failed", "an error object", None),
        (JobResult.fail("ctrl \x07\x00"), "failed", "ctrl \ufffd\ufffd", None),
        (JobResult.snooze(9), "snoozed", None, 9),
        (JobResult.snooze(timedelta(minutes=1)), "snoozed", None, 60),
    ],
)
def test_every_way_to_end_has_its_outcome(attempt, end, kind, message, after):
    outcome = attempt(end)
    assert (outcome.kind, outcome.retry_after, outcome.result) == (kind, after, "")
    assert (outcome.error.message if outcome.error else None) == message


@pytest.mark.parametrize(
    ("given", "after"),
    [
        (0, 0),
        (-5, 0),
        (True, 1),
        ("10m", 600),
        (timedelta(seconds=3), 3),
        (10**400, LONGEST_DELAY),
        (float("inf"), LONGEST_DELAY),
        (float("nan"), None),
        ("soon", None),
        ([1], None),
    ],
)
def test_a_delay_that_a_handler_chose_is_seconds_or_left_to_the_backoff(attempt, given, after, caplog):
    assert attempt(RetryableJobError("x", retry_after=given)).retry_after == after
    assert attempt(JobResult.retry(after=given)).retry_after == after
    assert attempt(JobResult.snooze(given)).retry_after == after
    assert ("Its backoff applies" in caplog.text) is (after is None)


def test_an_error_is_recorded_with_its_class_message_and_traceback(attempt):
    def handle(ctx):
        secret = "a local value"  # noqa: F841 - must not be shown
        raise KeyError("missing")

    error = attempt(handle).error
    assert (error.class_path, error.message) == ("KeyError", "'missing'")
    assert "in handle" in error.traceback
    assert error.traceback.endswith("KeyError: 'missing'\n")
    assert "a local value" not in error.traceback.replace('secret = "a local value"', "")
    assert attempt(RetryableJobError("x")).error.class_path == "django_jobs.exceptions.RetryableJobError"


def test_fail_permanently_ends_the_job(attempt):
    class Giving(JobHandler):
        def handle(self, ctx):
            self.fail_permanently("no such user")

    def act(ctx):
        return Giving().handle(ctx)

    assert (attempt(act).kind, attempt(act).error.message) == ("failed", "no such user")


def test_a_handler_cannot_swallow_a_timeout_or_a_cancel_with_except_exception(attempt):
    for end, kind in ((JobTimeout(), "timed_out"), (JobCancelled(), "cancelled")):

        def handle(ctx, end=end):
            try:
                raise end
            except Exception:
                return "swallowed"

        assert attempt(handle).kind == kind


def test_the_context_tells_the_facts_of_the_attempt(attempt):
    seen = []
    options = {"name": "n", "reference": "r", "group": "g", "tags": ("t",), "meta": {"m": 1}, "source": "cli"}
    attempt(seen.append, {"p": 1}, max_attempts=3, timeout=60, attempt=2, claim_no=7, **options)
    (ctx,) = seen
    assert (ctx.payload, ctx.queue, ctx.handler, ctx.attempt, ctx.max_attempts) == ({"p": 1}, "default", KEY, 2, 3)
    assert (ctx.name, ctx.reference, ctx.group, ctx.tags, ctx.meta, ctx.source) == tuple(options.values())
    assert ctx.claim_no == 7
    assert not ctx.is_last_attempt
    assert abs((ctx.deadline - datetime.now(UTC)).total_seconds() - 60) < 5
    assert not ctx.cancelled()
    ctx.raise_if_cancelled()
    ctx.heartbeat()
    ctx.progress(1, "half", total=2)
    ctx.emit("line", k=1)


def test_a_job_without_a_timeout_has_no_deadline(attempt):
    assert attempt(lambda ctx: ctx.deadline is None, timeout=None).result == "true"


def test_controls_deliver_a_cancel_and_take_notes(attempt):
    notes = []

    class Controls:
        def cancelled(self):
            return True

        def note(self, kind, message, data):
            notes.append((kind, message, data))

    def handle(ctx):
        assert ctx.cancelled()
        ctx.progress(3, "third", total=9)
        ctx.emit("hello", user=1)
        ctx.heartbeat()

    assert attempt(handle, controls=Controls()).kind == "cancelled"
    assert notes == [("progress", "third", {"done": 3, "total": 9}), ("message", "hello", {"user": 1})]


def test_the_guard_gets_the_timeout_and_may_end_the_attempt(handlers):
    given = []

    @contextmanager
    def guard(timeout):
        given.append(timeout)
        yield
        raise JobTimeout("the guard")

    handlers({KEY: type("Handler", (JobHandler,), {"handle": lambda self, ctx: "done"})})
    outcome = run_attempt(make_claim(KEY, timeout=12.5), guard)
    assert (outcome.kind, outcome.error.message, given) == ("timed_out", "the guard", [12.5])


def test_every_attempt_has_a_fresh_instance(handlers):
    class Counting(JobHandler):
        def handle(self, ctx):
            self.runs = getattr(self, "runs", 0) + 1
            return self.runs

    handlers({KEY: Counting})
    claim = make_claim(KEY)
    assert [run(claim).result, run(claim).result] == ["1", "1"]


def test_an_async_handler_is_awaited(attempt):
    async def handle(ctx):
        return ctx.payload

    assert attempt(handle, [1]).result == "[1]"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("boom"), "retry"),
        (NonRetryableJobError("never"), "failed"),
        (JobCancelled("stop"), "cancelled"),
        (JobTimeout("late"), "timed_out"),
        (SystemExit(1), "retry"),
    ],
)
def test_an_async_handler_ends_like_any_other(attempt, error, kind):
    async def handle(ctx):
        raise error

    assert attempt(handle).kind == kind


# -- before the handler runs ----------------------------------------------------------------------------------


def test_a_tampered_job_is_rejected_and_never_runs(attempt, handlers, caplog):
    ran = []
    handlers({KEY: type("Handler", (JobHandler,), {"handle": lambda self, ctx: ran.append(ctx)})})
    claim = make_claim(KEY, {"user": 1})
    forged = [
        claim._replace(body=claim.body.replace('"user":1', '"user":2')),
        claim._replace(signature=""),
        claim._replace(signature=claim.signature[:-1] + "é"),
        claim._replace(signature=make_claim(KEY, {"user": 2}).signature),
    ]
    assert [run(each).kind for each in forged] == ["rejected"] * 4
    assert ran == []
    assert {record.levelno for record in caplog.records} == {logging.CRITICAL}


def test_a_copied_envelope_is_corrupt_on_another_id_queue_or_handler(attempt, handlers):
    handlers(
        {KEY: type("Handler", (JobHandler,), {"handle": lambda self, ctx: None}), "unit.other": f"{__name__}.Noted"}
    )
    claim = make_claim(KEY)
    for other in ({"id": make_claim(KEY).id}, {"queue": "mail"}, {"handler": "unit.other"}):
        assert run(claim._replace(**other)).kind == "corrupt"


def test_an_undecodable_job_is_corrupt(settings):
    settings.JOBS_VERIFY_SIGNATURES = False
    for body in ("", "not json", "[1]", '{"v":1}'):
        assert run(make_claim(KEY)._replace(body=body)).kind == "corrupt"


def test_a_missing_handler_is_an_outcome_of_its_own(handlers):
    assert run(make_claim("unit.nobody")).kind == "handler_missing"
    handlers({"unit.broken": "no.such.module"})
    outcome = run(make_claim("unit.broken"))
    assert (outcome.kind, "cannot import" in outcome.error.message) == ("handler_missing", True)


def test_a_handler_whose_construction_fails_is_retried(handlers):
    class Unmakable(JobHandler):
        def __init__(self):
            raise OSError("no config")

    handlers({KEY: Unmakable})
    outcome = run(make_claim(KEY))
    assert (outcome.kind, outcome.error.message) == ("retry", "no config")


def test_a_job_is_not_started_after_it_expired(attempt):
    now = datetime.now(UTC)
    assert attempt("ran", expires_at=now + timedelta(hours=1)).kind == "completed"
    assert attempt("ran", expires_at=now - timedelta(seconds=1)).kind == "expired"
    assert attempt("ran", expires_at=now, claimed_at=now.timestamp()).kind == "expired", "the store's clock decides"


# -- hostile errors and results ----------------------------------------------------------------------------------


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no words")

    __repr__ = __str__


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no words")


def looping():
    error = ValueError("head")
    cause = KeyError("tail")
    error.__cause__, cause.__cause__ = cause, error
    error.__context__ = error
    return error


def chained(length):
    error = None
    for n in range(length):
        following = ValueError(f"link {n}")
        following.__cause__ = error
        error = following
    return error


@pytest.mark.parametrize(
    "error",
    [
        Unspeakable(),
        ValueError(Unprintable()),
        ValueError("m" * 20_000_000),
        ValueError("☕" * 1_000_000),
        ValueError("nul \x00 escape \x1b[31m bell \x07 line \r sep \x85"),
        ValueError("surrogate \ud800"),
        ValueError(b"\xff\xfe"),
        looping(),
        chained(2000),
        ExceptionGroup("group", [ValueError(n) for n in range(5000)]),
        type("E" * 100_000, (Exception,), {})("long name"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        RetryableJobError(None),
        NonRetryableJobError(5),
    ],
    ids=lambda error: type(error).__name__[:20],
)
def test_any_error_is_recorded_bounded_and_clean(attempt, error):
    outcome = attempt(error)
    assert outcome.kind in ("retry", "failed")
    record = outcome.error
    assert len(record.class_path) <= 255
    for text in record:
        raw = text.encode()
        assert len(raw) <= 32_768 + 16
        assert not any(ord(c) < 32 and c not in "\t\n\r" for c in text)
    json.dumps(record)


class Words(str):
    """What an object may answer where a text is asked for: one whose methods fail."""

    def __getitem__(self, index):
        raise RuntimeError("no part of me")

    __len__ = encode = __getitem__


class WordsError(Exception):
    def __str__(self):
        return Words("boom")


class Nobody(type):
    def __getattribute__(cls, name):
        raise RuntimeError("no names")


class Guest(RetryableJobError):
    """Says no word of what was asked for, and fails where it is asked."""

    @property
    def retry_after(self):
        raise RuntimeError("no idea when")

    @retry_after.setter
    def retry_after(self, seconds):
        pass


class Impostor(Exception):
    @property
    def __class__(self):
        raise RuntimeError("no class")


class Nowhere(tzinfo):
    def utcoffset(self, when):
        raise RuntimeError("no offset")


class Never(float):
    def __eq__(self, other):
        raise RuntimeError("not comparable")

    __lt__ = __gt__ = __le__ = __ge__ = __hash__ = __eq__


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (WordsError(), "boom"),
        (Nobody("Unnamed", (Exception,), {})("boom"), "boom"),
        (Guest("boom"), "no idea when"),
        (Impostor("boom"), "no class"),
        (Snooze(datetime(2030, 1, 1, tzinfo=Nowhere())), "no offset"),
        (JobResult.retry("boom", after=Never(5)), "not comparable"),
    ],
    ids=["text", "metaclass", "property", "class", "time zone", "number"],
)
def test_an_end_whose_own_methods_fail_is_an_error_like_any_other(attempt, end, said):
    outcome = attempt(lambda ctx: end if isinstance(end, JobResult) else throw(end))
    assert (outcome.kind, outcome.error.message) == ("retry", said)


def throw(error):
    raise error


class Busy(RetryableJobError):
    def __init__(self, code):
        self.code = code


class Later(Snooze):
    def __init__(self, code):
        self.code = code


class BusyService(RetryAfter):
    def __init__(self, code):
        self.code = code


@pytest.mark.parametrize(
    ("error", "kind", "after"), [(Busy, "retry", None), (BusyService, "retry", None), (Later, "snoozed", 0)]
)
def test_an_error_of_the_sites_need_not_call_the_constructor_of_its_base(attempt, error, kind, after):
    outcome = attempt(error(503))
    assert (outcome.kind, outcome.retry_after) == (kind, after)
    assert outcome.error.class_path.endswith(error.__qualname__)


def test_a_service_has_a_name_that_every_store_can_keep(attempt):
    outcome = attempt(RetryAfter(5, service="mail\x00\ud800" + "s" * 100))
    assert outcome.service == "mail\ufffd?" + "s" * 44


def test_an_error_that_cannot_be_shown_is_recorded_by_its_class():
    record = record_error(Unspeakable())
    assert record.message == "<Unspeakable, which could not be shown: RuntimeError>"
    assert record.class_path == f"{__name__}.Unspeakable"


def test_a_long_traceback_keeps_its_end_and_a_long_message_its_head():
    record = record_error(ValueError("head " + "x" * 100_000 + " tail"))
    assert record.message.startswith("head ")
    assert record.traceback.endswith(" tail\n")


@pytest.mark.parametrize(("text", "limit"), [("é" * 50, 50), ("a" * 51, 50), ("☕" * 100, 99), ("\U0001f389" * 30, 50)])
@pytest.mark.parametrize("keep_end", [False, True])
def test_clipping_counts_bytes_and_cuts_no_character(text, limit, keep_end):
    clipped = clip(text, limit, keep_end=keep_end)
    assert len(clipped.encode()) <= limit + 8
    assert set(clipped) <= {text[0], "…", " "}
    assert clip("short", 50) == "short"


class HostileDict(dict):
    def items(self):
        raise RuntimeError("no items")


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, b"x", float("nan"), {1: 2}, "\ud800", 10**5000, Unprintable(), HostileDict(a=1), [[[object()]]]],
    ids=lambda value: type(value).__name__,
)
def test_an_output_that_json_cannot_carry_is_marked_and_the_job_is_done(attempt, value):
    outcome = attempt(lambda ctx: value)
    assert outcome.kind == "completed"
    kept = json.loads(outcome.result)
    assert set(kept) == {"not_json", "error"}
    assert len(outcome.result) < 10_000


def test_an_output_that_is_too_long_is_cut_and_marked(attempt):
    outcome = attempt(lambda ctx: "é" * 100_000)
    kept = json.loads(outcome.result)
    assert (outcome.kind, kept["truncated"], kept["bytes"]) == ("completed", True, 200_002)
    assert kept["head"].startswith('"ééé')
    assert len(outcome.result.encode()) < 65_536


def test_an_output_of_exactly_the_limit_is_kept(settings):
    settings.JOBS_MAX_RESULT_BYTES = 10
    assert result_json("a" * 8) == '"aaaaaaaa"'
    assert json.loads(result_json("a" * 9))["truncated"]


# -- hooks ------------------------------------------------------------------------------------------------------


class Noted(JobHandler):
    lines = []
    error_in = ""

    def handle(self, ctx):
        self.note("handle")
        return {"n": 1}

    def before_run(self, ctx):
        self.note("before_run")

    def after_run(self, ctx, result):
        self.note(f"after_run {result}")

    def on_success(self, ctx, result):
        self.note(f"on_success {result}")

    def on_retry(self, ctx, error):
        self.note(f"on_retry {error.class_path} {error}")

    def on_failure(self, ctx, error):
        self.note(f"on_failure {error.class_path} {error}")

    def on_cancel(self, ctx):
        self.note("on_cancel")

    def note(self, line):
        self.lines.append(line)
        if line.split()[0] == self.error_in:
            raise RuntimeError("in a hook")


@pytest.fixture
def noted(handlers):
    noted = type("Noted", (Noted,), {"lines": [], "__module__": __name__})
    handlers({KEY: noted})
    return noted


def test_hooks_run_round_the_handler(noted):
    assert run(make_claim(KEY)).kind == "completed"
    assert noted.lines == ["before_run", "handle", "after_run {'n': 1}"]


def test_an_error_in_before_run_fails_the_attempt(noted):
    noted.error_in = "before_run"
    assert run(make_claim(KEY)).kind == "retry"
    assert noted.lines == ["before_run"]


def test_an_error_in_after_run_is_logged_and_changes_nothing(noted, caplog):
    noted.error_in = "after_run"
    assert run(make_claim(KEY)).kind == "completed"
    assert "after_run of job" in caplog.text


FAILED = decide(Facts(), OutcomeKind.FAILED)
RETRIED = decide(Facts(max_attempts=2), OutcomeKind.RETRY)
CANCELLED = decide(Facts(), OutcomeKind.CANCELLED)


@pytest.mark.parametrize(
    ("transition", "line", "signal"),
    [
        (COMPLETE, "on_success {'n': 1}", signals.job_succeeded),
        (RETRIED, "on_retry E m", signals.job_retrying),
        (FAILED, "on_failure E m", signals.job_failed),
        (CANCELLED, "on_cancel", signals.job_cancelled),
    ],
)
def test_each_transition_calls_its_hook_and_its_signal_whatever_they_raise(noted, caplog, transition, line, signal):
    heard = []

    def receiver(sender, **arguments):
        heard.append((sender, arguments))
        raise ValueError("in a receiver")

    noted.error_in = line.split()[0]
    signal.connect(receiver)
    try:
        claim = make_claim(KEY, {"p": 1})
        run_hooks(claim, transition, '{"n":1}', ErrorRecord("E", "m", "t"))
    finally:
        signal.disconnect(receiver)
    assert noted.lines == [line]
    ((sender, arguments),) = heard
    assert sender is noted
    assert (arguments["ctx"].job_id, arguments["ctx"].payload) == (claim.id, {"p": 1})
    if transition in (RETRIED, FAILED):
        assert isinstance(arguments["error"], RecordedError)
        assert arguments["error"].traceback == "t"
    assert caplog.text.count("RuntimeError: in a hook") == 1
    assert "ValueError: in a receiver" in caplog.text


def test_what_a_handler_notes_fails_no_handler():
    for strange in (HostileDict(a=1), Unprintable(), {"a": HostileDict(a=1)}, {Unprintable(): 1}):
        message, data = timeline_note("message", strange, {"it": strange})
        json.dumps([message, data])


def leave(*_, **__):
    raise SystemExit(3)


@pytest.mark.parametrize(
    "attributes",
    [
        {"create": classmethod(leave)},
        {"on_failure": leave},
        {"on_failure": property(leave)},
        {"on_failure": leave, "__getattribute__": leave},
    ],
    ids=["create", "hook", "property", "everything"],
)
def test_what_follows_an_outcome_ends_no_process(handlers, caplog, attributes):
    handlers({KEY: type("Leaving", (JobHandler,), {"handle": lambda self, ctx: None, **attributes})})
    heard = []

    def receiver(sender, **_):
        heard.append(sender)
        raise SystemExit(4)

    signals.job_failed.connect(receiver)
    try:
        run_hooks(make_claim(KEY), FAILED, "", ErrorRecord("E", "m", "t"))
    finally:
        signals.job_failed.disconnect(receiver)
    assert len(heard) == 1
    assert caplog.text.count("SystemExit") >= 2


@pytest.mark.parametrize("worker_id", ["", "a worker"])
def test_an_interrupt_of_the_caller_ends_what_follows_a_job_too(handlers, worker_id):
    """Where there is no worker, it is the caller's own process, and Ctrl-C is meant for that."""

    def receiver(sender, **_):
        raise KeyboardInterrupt

    signals.job_failed.connect(receiver)
    claim = make_claim(KEY)._replace(worker_id=worker_id)
    try:
        with nullcontext() if worker_id else pytest.raises(KeyboardInterrupt):
            run_hooks(claim, FAILED, "", ErrorRecord("E", "m", "t"))
    finally:
        signals.job_failed.disconnect(receiver)


def test_a_cancel_handler_ends_no_process(handlers, caplog):
    handlers({KEY: type("Leaving", (JobHandler,), {"handle": lambda self, ctx: None, "undo": leave})})
    error = run_cancel_handler(make_claim(KEY, cancel_handler="undo"), "")
    assert error.class_path == "SystemExit"


def test_the_start_signal_is_sent_before_the_handler_and_its_errors_change_nothing(noted, caplog):
    def receiver(sender, ctx, **_):
        noted.lines.append("started")
        raise ValueError("in a receiver")

    signals.job_started.connect(receiver)
    try:
        assert run(make_claim(KEY)).kind == "completed"
    finally:
        signals.job_started.disconnect(receiver)
    assert noted.lines[0] == "started"
    assert "in a receiver" in caplog.text


def test_hooks_are_wanted_only_where_somebody_listens(handlers, noted):
    handlers({"unit.deaf": type("Deaf", (JobHandler,), {"handle": lambda self, ctx: None})})
    for transition in (COMPLETE, RETRIED, FAILED, CANCELLED):
        assert wants_hooks(KEY, transition)
        assert not wants_hooks("unit.deaf", transition)
        assert not wants_hooks("unit.nobody", transition)
    assert not wants_hooks(KEY, GIVE_BACK), "a release is no retry"


def test_hooks_of_a_tampered_or_unknown_job_do_not_run(noted):
    claim = make_claim(KEY, {"user": 1})
    run_hooks(claim._replace(body=claim.body.replace("1", "2")), FAILED, "", None)
    run_hooks(make_claim("unit.nobody"), FAILED, "", None)
    assert noted.lines == []


# -- the handler's own backoff, and how long a record is kept ------------------------------------------------------


def test_a_handler_may_compute_its_delay(handlers):
    class Computed(JobHandler):
        backoff = staticmethod(lambda attempt: attempt * 10)

        def handle(self, ctx):
            if ctx.payload == "chosen":
                raise RetryableJobError("x", retry_after=1)
            raise ValueError

    handlers({KEY: Computed})
    assert run(make_claim(KEY, attempt=3)).retry_after == 30
    assert run(make_claim(KEY, "chosen", attempt=3)).retry_after == 1


@pytest.mark.parametrize("answer", ["soon", object(), ValueError("in backoff_delay")])
def test_a_delay_that_cannot_be_computed_is_left_to_the_backoff(handlers, answer, caplog):
    def backoff_delay(self, ctx, error):
        if isinstance(answer, Exception):
            raise answer
        return answer

    handle = {"handle": lambda self, ctx: 1 / 0, "backoff_delay": backoff_delay}
    handlers({KEY: type("Handler", (JobHandler,), handle)})
    assert run(make_claim(KEY))[:4:3] == ("retry", None)
    assert "backoff applies" in caplog.text


def test_how_long_a_record_is_kept_is_decided_by_the_job_then_its_handler_its_queue_and_the_site(handlers, settings):
    handlers(
        {
            "unit.short": type("Short", (JobHandler,), {"handle": lambda self, ctx: None, "ttl": 60}),
            "unit.plain": type("Plain", (JobHandler,), {"handle": lambda self, ctx: None}),
        }
    )
    settings.JOBS_QUEUES = {"default": {}, "brief": {"keep_completed": 10}, "none": {"keep_completed": 0}}

    def kept(handler, **options):
        return run(make_claim(handler, **options)).keep_seconds

    assert kept("unit.short", ttl=5, queue="brief") == 5
    assert kept("unit.short", ttl=None, queue="brief") is None
    assert kept("unit.short", ttl=0) == 0
    assert kept("unit.short", queue="brief") == 60
    assert kept("unit.plain", queue="brief") == 10
    assert kept("unit.plain", queue="none") == 0
    assert kept("unit.plain") == 604_800
    settings.JOBS_DEFAULTS = {"ttl": None}
    assert kept("unit.plain") is None


def test_an_outcome_is_plain_data():
    outcome = Outcome("retry", error=ErrorRecord("a", "b", "c"))
    assert Outcome(*json.loads(json.dumps(outcome))).kind == "retry"


# -- what a handler's own answers about its options may do ---------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, JobTimeout, JobCancelled])
def test_options_that_fail_when_they_are_asked_undo_no_work(handlers, error, caplog):
    def get_ttl(cls):
        raise error("the settings are away")

    attributes = {"get_ttl": classmethod(get_ttl), "handle": lambda self, ctx: "done"}
    handlers({KEY: type("Handler", (JobHandler,), attributes)})
    outcome = run(make_claim(KEY))
    assert (outcome.kind, outcome.result, outcome.keep_seconds) == ("completed", '"done"', 7 * 24 * 3600)
    assert "its queue's ttl applies" in caplog.text


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, JobTimeout, JobCancelled])
def test_a_backoff_that_fails_in_any_way_is_the_jobs_own_backoff(attempt, error, caplog):
    class Base(JobHandler):
        def backoff_delay(self, ctx, raised):
            raise error

    outcome = attempt(ValueError("first"), base=Base)
    assert (outcome.kind, outcome.error.message, outcome.retry_after) == ("retry", "first", None)
    assert "its backoff applies" in caplog.text


def test_an_instance_that_can_not_be_asked_for_its_backoff_ends_no_process(attempt):
    class Strange:
        def handle(self, ctx):
            raise ValueError("first")

        def __getattr__(self, name):
            raise RuntimeError(name)

    class Base(JobHandler):
        @classmethod
        def create(cls, ctx):
            return Strange()

    assert attempt(None, base=Base).kind == "retry"


@pytest.mark.parametrize("timeout", [1e18, 10**30, float("nan"), float("inf"), 0, -5])
def test_a_stored_timeout_that_no_clock_can_reckon_with_is_corrupt(attempt, settings, timeout):
    settings.JOBS_VERIFY_SIGNATURES = False
    claim = make_claim(KEY)
    body = json.dumps({**json.loads(claim.body), "timeout": timeout})
    attempt(None)
    assert run(claim._replace(body=body)).kind == "corrupt"


def test_a_stored_cancel_handler_calls_nothing_private(handlers, settings, caplog):
    called = []
    attributes = {"_private": lambda self, *args: called.append(1), "public": lambda self: called.append(2)}
    handlers({KEY: type("Handler", (JobHandler,), attributes)})
    settings.JOBS_VERIFY_SIGNATURES = False
    claim = make_claim(KEY, cancel_handler="_private")
    run_cancel_handler(claim, "")
    assert "'_private' names no method" in caplog.text
    claim = make_claim(KEY, cancel_handler="public")
    run_cancel_handler(claim, "")
    assert called == [2]
