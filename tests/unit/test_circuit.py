"""The circuit breaker round the enqueue."""

import pytest

from django_jobs.circuit import CircuitBreaker
from django_jobs.exceptions import CircuitOpen, InvalidDefinition, StoreBusy, StoreUnavailable


@pytest.fixture
def breaker(settings):
    settings.JOBS_CIRCUIT_THRESHOLD = 3
    settings.JOBS_CIRCUIT_COOLDOWN = 60
    made = CircuitBreaker(clock=lambda: made.now)
    made.now = 100.0
    return made


def fail(breaker, error=StoreUnavailable):
    def act():
        raise error("as asked")

    with pytest.raises(error):
        breaker.call(act)


def test_it_opens_after_so_many_failures_in_a_row_and_asks_the_store_no_more(breaker):
    for _ in range(2):
        fail(breaker)
    assert breaker.call(lambda: "well") == "well"
    for _ in range(3):
        fail(breaker)
    asked = []
    with pytest.raises(CircuitOpen, match="3 times in a row; it is asked again in 60 s"):
        breaker.call(lambda: asked.append(1))
    assert not asked


def test_one_probe_decides_after_the_cooldown(breaker):
    for _ in range(3):
        fail(breaker)
    breaker.now += 60
    fail(breaker)
    with pytest.raises(CircuitOpen):
        breaker.call(lambda: "not yet")
    breaker.now += 60

    def probe():
        with pytest.raises(CircuitOpen):  # meanwhile everybody else is refused
            breaker.call(lambda: "no")
        return "back"

    assert breaker.call(probe) == "back"
    assert breaker.call(lambda: "well") == "well"


@pytest.mark.parametrize("error", [InvalidDefinition, StoreBusy, KeyError])
def test_only_a_store_that_is_away_counts(breaker, error):
    for _ in range(10):
        fail(breaker, error)
    assert not breaker.is_open


def test_a_probe_that_learns_nothing_leaves_the_next_one_to_probe(breaker):
    for _ in range(3):
        fail(breaker)
    breaker.now += 60
    fail(breaker, InvalidDefinition)
    assert breaker.call(lambda: "back") == "back"


def test_a_threshold_of_zero_never_opens(breaker, settings):
    settings.JOBS_CIRCUIT_THRESHOLD = 0
    for _ in range(20):
        fail(breaker)
    assert breaker.call(lambda: "well") == "well"
