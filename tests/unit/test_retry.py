import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_jobs.exceptions import InvalidDefinition
from django_jobs.retry import (
    BACKOFF_TABLE,
    BEHIND_OTHERS,
    LONGEST_DELAY,
    Facts,
    OutcomeKind,
    Target,
    backoff,
    decide,
    next_delay,
    parse_backoff,
)

K = OutcomeKind
FIXED = {"strategy": "fixed", "base": 7}


def half():
    return 0.5


@pytest.mark.parametrize(
    ("kind", "facts", "expected"),
    [
        (K.COMPLETED, Facts(), ("completed", "acked", "", 0, 0, 0, None)),
        (K.CANCELLED, Facts(), ("cancelled", "cancelled", "", 0, 0, 0, None)),
        (K.INTERRUPTED, Facts(), ("waiting", "released", "", 0, 1, 0, None)),
        (K.INTERRUPTED, Facts(attempt=1, max_attempts=1, suspect=True), ("waiting", "released", "", 0, 1, 0, None)),
        (K.SNOOZED, Facts(), ("waiting", "snoozed", "", 0, 1, 0, None)),
        (K.RETRY, Facts(attempt=1, max_attempts=2, backoff=FIXED), ("waiting", "requeued", "", 7, 0, 0, None)),
        (K.RETRY, Facts(attempt=2, max_attempts=2, backoff=FIXED), ("failed", "dead-lettered", "dead", 0, 0, 0, None)),
        (K.RETRY, Facts(attempt=9, max_attempts=2), ("failed", "dead-lettered", "dead", 0, 0, 0, None)),
        (K.TIMED_OUT, Facts(attempt=1, max_attempts=2, backoff=FIXED), ("waiting", "timed-out", "", 7, 0, 0, None)),
        (K.TIMED_OUT, Facts(), ("failed", "timed-out", "timed_out", 0, 0, 0, None)),
        (K.FAILED, Facts(attempt=1, max_attempts=9), ("failed", "dead-lettered", "failed", 0, 0, 0, None)),
        (K.REJECTED, Facts(attempt=1, max_attempts=9), ("failed", "rejected", "rejected", 0, 0, 0, None)),
        (K.CORRUPT, Facts(attempt=1, max_attempts=9), ("failed", "dead-lettered", "corrupt", 0, 0, 0, None)),
        (K.EXPIRED, Facts(attempt=1, max_attempts=9), ("failed", "dead-lettered", "expired", 0, 0, 0, None)),
        (K.CRASHED, Facts(backoff=FIXED), ("waiting", "requeued", "", 7, 1, 1, True)),
        (K.CRASHED, Facts(crashes=1, backoff=FIXED), ("waiting", "requeued", "", 7, 1, 1, True)),
        (K.CRASHED, Facts(crashes=2), ("failed", "dead-lettered", "crashed", 0, 0, 1, None)),
        (K.CRASHED, Facts(max_crashes=1), ("failed", "dead-lettered", "crashed", 0, 0, 1, None)),
        (K.CRASHED, Facts(retry_on_crash=False), ("failed", "dead-lettered", "crashed", 0, 0, 1, None)),
        (K.LOST, Facts(), ("waiting", "released", "", 0, 1, 0, True)),
        (K.LOST, Facts(crashes=2, retry_on_crash=False), ("waiting", "released", "", 0, 1, 0, True)),
        (K.LOST, Facts(suspect=True), ("waiting", "requeued", "", BEHIND_OTHERS, 1, 2, True)),
        (K.LOST, Facts(suspect=True, backoff=FIXED), ("waiting", "requeued", "", 7, 1, 2, True)),
        (K.LOST, Facts(suspect=True, crashes=1), ("waiting", "requeued", "", BEHIND_OTHERS, 1, 1, True)),
        (K.LOST, Facts(suspect=True, crashes=2), ("failed", "dead-lettered", "crashed", 0, 0, 1, None)),
        (K.LOST, Facts(suspect=True, max_crashes=2), ("failed", "dead-lettered", "crashed", 0, 0, 2, None)),
        (K.HANDLER_MISSING, Facts(), ("waiting", "snoozed", "", 30, 1, 0, None)),
        (K.HANDLER_MISSING, Facts(missing_seconds=299.9), ("waiting", "snoozed", "", 30, 1, 0, None)),
        (K.HANDLER_MISSING, Facts(missing_grace=2), ("waiting", "snoozed", "", 1, 1, 0, None)),
        (
            K.HANDLER_MISSING,
            Facts(missing_seconds=300),
            ("failed", "dead-lettered", "handler_missing", 0, 0, 0, None),
        ),
        (K.HANDLER_MISSING, Facts(missing_grace=0), ("failed", "dead-lettered", "handler_missing", 0, 0, 0, None)),
    ],
)
def test_every_outcome_leads_to_its_transition(kind, facts, expected):
    t = decide(facts, kind, rng=half)
    assert (t.target, t.word, t.reason, t.delay, t.attempt_refund, t.crash, t.suspect) == expected


def test_every_kind_of_outcome_is_decided():
    for kind in OutcomeKind:
        assert decide(Facts(), kind).target in Target


def test_a_chosen_delay_of_zero_means_now_and_none_means_the_backoff():
    facts = Facts(attempt=1, max_attempts=3, backoff=FIXED)
    assert decide(facts, K.RETRY, retry_after=0).delay == 0
    assert decide(facts, K.RETRY, retry_after=None).delay == 7
    assert decide(facts, K.RETRY, retry_after=2.5).delay == 2.5
    assert decide(facts, K.RETRY, retry_after=-5).delay == 0
    assert decide(facts, K.RETRY, retry_after=1e300).delay == LONGEST_DELAY
    assert decide(facts, K.TIMED_OUT, retry_after=0).delay == 0


def test_a_chosen_delay_saves_no_job_whose_attempts_are_used_up():
    assert decide(Facts(attempt=3, max_attempts=3), K.RETRY, retry_after=5).target is Target.FAILED


def test_a_snooze_waits_as_long_as_it_said():
    assert decide(Facts(), K.SNOOZED, retry_after=12).delay == 12
    assert decide(Facts(), K.SNOOZED, retry_after=None).delay == 0
    assert decide(Facts(backoff=FIXED), K.SNOOZED, retry_after=None).delay == 0


@pytest.mark.parametrize(
    ("spec", "delays"),
    [
        (None, [0, 0, 0]),
        ({"strategy": "none"}, [0, 0, 0]),
        ({"strategy": "fixed", "base": 4}, [4, 4, 4]),
        ({"strategy": "linear", "base": 4}, [4, 8, 12]),
        ({"strategy": "linear", "base": 4, "cap": 10}, [4, 8, 10]),
        ({"strategy": "exponential", "base": 5, "factor": 2, "cap": 300}, [5, 10, 20, 40, 80, 160, 300, 300]),
        ({"strategy": "exponential", "base": 1, "factor": 0}, [1, 0, 0]),
        ({"strategy": "table", "delays": [10, 30]}, [10, 30, 30, 30]),
        ({"strategy": "table", "delays": list(BACKOFF_TABLE)}, [10, 30, 120, 600, 1800, 1800]),
    ],
)
def test_each_strategy_gives_its_delays(spec, delays):
    assert [next_delay(spec, n + 1) for n in range(len(delays))] == delays


def test_the_hundred_thousandth_attempt_overflows_nothing():
    for strategy in ("fixed", "linear", "exponential", "table", "none"):
        spec = backoff(strategy)
        assert 0 <= next_delay({**spec, "cap": 10**12}, 100_000) <= LONGEST_DELAY
    assert next_delay({"strategy": "exponential", "base": 1e12, "factor": 1e12}, 10_000) == LONGEST_DELAY


def test_jitter_stays_within_its_share_and_asks_the_given_source():
    spec = backoff("fixed", base=100, jitter=0.15)
    assert next_delay(spec, 1, lambda: 0.0) == pytest.approx(85)
    assert next_delay(spec, 1, lambda: 0.5) == pytest.approx(100)
    assert next_delay(spec, 1, lambda: 1.0) == pytest.approx(115)
    assert next_delay(backoff("fixed", base=100), 1, lambda: 1.0) == 100


def test_jitter_never_makes_a_delay_negative():
    assert next_delay(backoff("fixed", base=100, jitter=1), 1, lambda: 0.0) == 0


@given(
    st.builds(
        Facts,
        attempt=st.integers(1, 50),
        max_attempts=st.integers(1, 50),
        crashes=st.integers(0, 5),
        max_crashes=st.integers(1, 5),
        suspect=st.booleans(),
        retry_on_crash=st.booleans(),
        missing_seconds=st.floats(0, 1000),
        backoff=st.sampled_from([None, FIXED, backoff(), backoff("table", jitter=1)]),
    ),
    st.sampled_from(list(OutcomeKind)),
    st.none() | st.floats(allow_nan=False),
)
def test_no_transition_lets_a_job_run_more_often_than_it_may(facts, kind, retry_after):
    t = decide(facts, kind, retry_after=retry_after)
    assert 0 <= t.delay <= LONGEST_DELAY
    assert 0 <= t.attempt_refund <= 1
    if t.target is Target.WAITING and facts.attempt <= facts.max_attempts:
        assert facts.attempt - t.attempt_refund + 1 <= facts.max_attempts, "the next claim must fit the budget"
    if t.target is Target.WAITING:
        assert facts.crashes + t.crash < facts.max_crashes or not t.crash
    assert bool(t.reason) == (t.target is Target.FAILED)


@given(st.integers(1, 10**6), st.floats(0, 1), st.floats(0, 1e9), st.floats(0, 10), st.floats(0, 1))
def test_every_checked_backoff_gives_a_finite_delay(attempt, draw, base, factor, jitter):
    spec = backoff("exponential", base=base, factor=factor, jitter=jitter)
    assert math.isfinite(next_delay(spec, attempt, lambda: draw))


def test_strategies_have_the_documented_defaults():
    assert backoff() == {"strategy": "exponential", "base": 5, "factor": 2, "cap": 300}
    assert backoff("table") == {"strategy": "table", "delays": [10, 30, 120, 600, 1800]}
    assert backoff("fixed") == {"strategy": "fixed", "base": 5}
    assert backoff("none") == {"strategy": "none"}


@pytest.mark.parametrize(
    ("arguments", "fields", "says"),
    [
        (("polynomial",), {}, "polynomial"),
        ((["fixed"],), {}, "not a strategy"),
        (("fixed",), {"factor": 2}, "factor"),
        (("none",), {"base": 1}, "base"),
        (("fixed",), {"base": -1}, "base"),
        (("fixed",), {"base": "5"}, "base"),
        (("fixed",), {"base": True}, "base"),
        (("fixed",), {"base": float("nan")}, "base"),
        (("fixed",), {"base": float("inf")}, "base"),
        (("fixed",), {"base": 10**400}, "base"),
        pytest.param(("fixed",), {"base": 10**5000}, "base"),
        (("exponential",), {"factor": None}, "factor"),
        (("exponential",), {"cap": -0.1}, "cap"),
        (("fixed",), {"jitter": 1.5}, "jitter"),
        (("table",), {"delays": []}, "delays"),
        (("table",), {"delays": 5}, "delays"),
        (("table",), {"delays": [1, "2"]}, "delays"),
        (("table",), {"delays": [1, -2]}, "delays"),
        (("table",), {"delays": [1, 10**400]}, "delays"),
    ],
)
def test_a_bad_backoff_is_refused_and_names_the_field(arguments, fields, says):
    with pytest.raises(InvalidDefinition, match=rf"^backoff: .*{says}"):
        backoff(*arguments, **fields)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (0, {"strategy": "fixed", "base": 0}),
        (2.5, {"strategy": "fixed", "base": 2.5}),
        ("none", {"strategy": "none"}),
        ([1, 2], {"strategy": "table", "delays": [1, 2]}),
        ((1, 2), {"strategy": "table", "delays": [1, 2]}),
        ({"base": 3}, {"strategy": "exponential", "base": 3, "factor": 2, "cap": 300}),
        ({"strategy": "linear", "base": 3}, {"strategy": "linear", "base": 3}),
    ],
)
def test_a_backoff_may_be_given_in_many_forms(value, expected):
    assert parse_backoff(value) == expected


@pytest.mark.parametrize("value", [True, False, object(), len, "fast", {"stragety": "fixed"}, {1: 2}, -1, [], [[1]]])
def test_what_is_no_backoff_is_refused(value):
    with pytest.raises(InvalidDefinition, match=r"^backoff: "):
        parse_backoff(value)


def test_parsing_changes_nothing_of_what_it_was_given():
    given = {"strategy": "fixed", "base": 1}
    parse_backoff(given)["base"] = 99
    assert given == {"strategy": "fixed", "base": 1}
    steps = [1, 2]
    parse_backoff(steps)["delays"].append(3)
    assert steps == [1, 2]
