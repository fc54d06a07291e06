import json

import pytest

from django_jobs import JobHandler
from django_jobs.retry import OutcomeKind, Target
from django_jobs.runtime import ErrorRecord, Outcome
from django_jobs.settlement import conclude, give_back, history_entries
from tests.support.jobs import make_claim

ERROR = ErrorRecord("app.Broken", "message", "Traceback")


def entries(settlement):
    return json.loads(settlement.history)


def test_a_completed_job_writes_no_history():
    claim = make_claim(history='[{"attempt":1}]')
    settlement = conclude(claim, Outcome("completed", result="1", seconds=2, keep_seconds=3))
    assert settlement.transition.target is Target.COMPLETED
    assert settlement[2:7] == ("1", None, claim.history, 2, 3)


def test_a_failed_attempt_is_added_to_the_history():
    claim = make_claim(attempt=2, max_attempts=3, history='[{"attempt":1,"outcome":"retry"}]')
    settlement = conclude(claim, Outcome("retry", error=ERROR, retry_after=5, seconds=0.25))
    first, second = entries(settlement)
    assert first == {"attempt": 1, "outcome": "retry"}
    assert second["started_at"].endswith("+00:00")
    del second["started_at"]
    assert second == {
        "attempt": 2,
        "worker": claim.worker_id,
        "outcome": "retry",
        "at_epoch": claim.claimed_at,
        "seconds": 0.25,
        "error": "app.Broken",
        "message": "message",
        "traceback": "Traceback",
        "then": "requeued",
    }
    assert settlement.transition.delay == 5


def test_an_interrupted_attempt_leaves_no_trace():
    claim = make_claim(history="[]")
    assert conclude(claim, Outcome("interrupted")).history == "[]"
    released = give_back(claim)
    assert (released.history, released.transition.attempt_refund) == ("[]", 1)


@pytest.mark.parametrize(("limit", "kept"), [(20, 20), (3, 3), (1, 1)])
def test_the_history_is_bounded_and_keeps_the_newest(settings, limit, kept):
    settings.JOBS_MAX_HISTORY = limit
    history = ""
    for attempt in range(1, 31):
        claim = make_claim(attempt=attempt, max_attempts=100, history=history)
        history = conclude(claim, Outcome("retry", error=ErrorRecord("E", "m" * 10_000, "t" * 100_000))).history
    found = [entry["attempt"] for entry in history_entries(history)]
    assert len(found) <= kept
    assert found[-1] == 30
    assert len(history) < limit * 6000


def test_the_first_entry_that_missed_its_handler_survives_the_bound(settings):
    settings.JOBS_MAX_HISTORY = 3
    settings.JOBS_MISSING_HANDLER_GRACE = 1000
    start, history = 1_700_000_000.0, ""
    for minute in range(17):
        claim = make_claim(claimed_at=start + 60 * minute, history=history)
        settlement = conclude(claim, Outcome("handler_missing"))
        assert (settlement.transition.target is Target.FAILED) is (60 * minute >= 1000), minute
        assert settlement.transition.target is Target.FAILED or settlement.transition.attempt_refund == 1
        history = settlement.history
        if settlement.transition.target is Target.FAILED:
            break
    else:
        claim = make_claim(claimed_at=start + 1020, history=history)
        assert conclude(claim, Outcome("handler_missing")).transition.reason == "handler_missing"
    assert len(history_entries(history)) <= 3


@pytest.mark.parametrize(
    "history",
    [
        "not json",
        "{}",
        "5",
        "null",
        '["text", 5, null]',
        "[{}]",
        '[{"outcome":"handler_missing","at_epoch":"x"}]',
        "[" * 10,
    ],
)
def test_an_unreadable_history_stops_no_settlement(history, settings):
    settings.JOBS_MAX_HISTORY = 1
    for kind in OutcomeKind:
        settlement = conclude(make_claim(history=history), Outcome(kind, error=ERROR))
        assert settlement.claim.history == history
        if kind not in (OutcomeKind.COMPLETED, OutcomeKind.INTERRUPTED):
            assert entries(settlement)[-1]["outcome"] == kind


def test_the_budgets_are_those_of_the_envelope():
    claim = make_claim(max_attempts=2, backoff={"strategy": "fixed", "base": 7})
    settlement = conclude(claim, Outcome("retry"))
    assert (settlement.transition.target, settlement.transition.delay) == (Target.WAITING, 7)
    spent = conclude(claim._replace(attempt=2), Outcome("retry"))
    assert (spent.transition.target, spent.transition.reason) == (Target.FAILED, "dead")


def test_a_tampered_envelope_gets_no_second_attempt():
    claim = make_claim(max_attempts=2)
    forged = claim._replace(body=claim.body.replace('"max_attempts":2', '"max_attempts":9999'))
    assert conclude(forged, Outcome("retry")).transition.reason == "dead"
    assert conclude(claim._replace(signature="é:é"), Outcome("retry")).transition.reason == "dead"


def test_a_backoff_that_nobody_checked_stops_no_settlement(settings):
    claim = make_claim(max_attempts=2, backoff={"strategy": "fixed", "base": 7})
    settings.JOBS_VERIFY_SIGNATURES = False
    for backoff in ('{"strategy":"nope"}', '{"strategy":"fixed","base":"x"}', "[]", "true", '"x"', '{"strategy":[]}'):
        body = claim.body.replace('{"strategy":"fixed","base":7}', backoff)
        assert body != claim.body
        assert conclude(claim._replace(body=body), Outcome("retry")).transition.target is Target.WAITING


def test_a_crash_counts_against_its_own_budget(settings, handlers):
    claim = make_claim()
    crashed = conclude(claim, Outcome("crashed")).transition
    assert (crashed.target, crashed.crash, crashed.attempt_refund, crashed.suspect) == (Target.WAITING, 1, 1, True)
    assert conclude(claim._replace(crashes=2), Outcome("crashed")).transition.reason == "crashed"
    settings.JOBS_MAX_CRASHES = 1
    assert conclude(claim, Outcome("crashed")).transition.reason == "crashed"


def test_a_handler_may_refuse_to_run_again_after_a_crash(handlers):
    handle = {"handle": lambda self, ctx: None, "retry_on_crash": False}
    handlers({"unit.once": type("Once", (JobHandler,), handle)})
    assert conclude(make_claim("unit.once"), Outcome("crashed")).transition.reason == "crashed"
    assert conclude(make_claim("unit.once"), Outcome("lost")).transition.target is Target.WAITING
    lost_again = conclude(make_claim("unit.once", suspect=True), Outcome("lost"))
    assert lost_again.transition.reason == "crashed"


# -- dead letters --------------------------------------------------------------------------------------------------


@pytest.fixture
def letter(settings, handlers):
    """The dead letter of a job with this payload and meta that failed."""
    settings.JOBS_DEAD_LETTER_QUEUE = "dead"
    handlers({"unit.job": JobHandler, "unit.letters": JobHandler})

    def make(payload, meta, error=ERROR):
        return conclude(make_claim("unit.job", payload, meta=meta), Outcome("failed", error=error)).dead_letter

    return make


LIMIT = 65_536


@pytest.mark.parametrize(
    ("payload", "meta", "left_out", "kept"),
    [
        ("p" * 10, "m" * 10, None, ("p" * 10, {"m": "m" * 10})),
        ("p" * 40_000, "m" * 40_000, "meta", ("p" * 40_000, {})),
        ("p" * (LIMIT - 2), "m" * 10, "payload and meta", (None, {})),
        ("p" * (LIMIT - 2), "m" * (LIMIT - 8), "payload and meta", (None, {})),
    ],
)
def test_a_dead_letter_that_would_be_too_large_tells_of_the_failure_all_the_same(
    letter, settings, payload, meta, left_out, kept
):
    settings.JOBS_DEAD_LETTER_HANDLER = "unit.letters"
    found = letter(payload, {"m": meta}, ErrorRecord("app.Broken", "é" * 5000, ""))
    assert (found.handler, found.payload["reason"], found.payload.get("left_out")) == (
        "unit.letters",
        "failed",
        left_out,
    )
    assert (found.payload["payload"], found.payload["meta"]) == kept


def test_a_copy_of_a_job_never_has_less_than_the_job(letter):
    meta = {"tenant": "m" * (LIMIT - 200)}
    found = letter("payload", meta)
    facts = found.meta["dead_letter"]
    assert (found.handler, found.payload, found.meta) == ("unit.job", "payload", {**meta, "dead_letter": facts})
    assert facts == {"job_id": facts["job_id"], "reason": "failed", "left_out": "error"}


def test_where_no_dead_letter_fits_the_log_tells(letter, caplog):
    assert letter("payload", {"tenant": "m" * (LIMIT - 13)}) is None
    assert "no dead letter for job" in caplog.text
