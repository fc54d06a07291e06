"""The deadline of an attempt: one timer for many jobs, and no job ended by another's."""

import signal
import time

import pytest

from django_jobs.exceptions import JobTimeout
from django_jobs.worker.interrupts import AlarmGuard


@pytest.fixture
def guard(no_collector):
    before = signal.getsignal(signal.SIGALRM)
    yield AlarmGuard()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def busy(seconds):
    """Burn time, in which a signal can come at any moment."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def is_ended(guard, timeout, seconds=5.0):
    try:
        with guard(timeout):
            busy(seconds)
    except JobTimeout:
        return True
    return False


def test_a_job_is_ended_at_its_deadline(guard):
    started = time.monotonic()
    with pytest.raises(JobTimeout, match=r"0\.05 seconds"), guard(0.05):
        busy(5)
    assert time.monotonic() - started >= 0.05


def test_a_shorter_deadline_after_a_longer_one_is_kept(guard):
    assert not is_ended(guard, 300, 0)
    assert is_ended(guard, 0.05)


def test_a_timer_that_an_earlier_job_left_ends_nobody_else(guard):
    assert not is_ended(guard, 0.05, 0)
    assert not is_ended(guard, 300, 0.1)
    assert not is_ended(guard, None, 0.1)
    assert is_ended(guard, 0.05)


def test_a_deadline_holds_when_the_timer_of_an_earlier_job_rings_before_it(guard):
    assert not is_ended(guard, 0.05, 0)
    assert is_ended(guard, 0.15)


def test_a_timer_that_a_job_has_stopped_is_set_again(guard):
    with guard(300):
        signal.setitimer(signal.ITIMER_REAL, 0)
    guard.install()
    assert is_ended(guard, 0.05)


def test_a_job_is_ended_once(guard):
    caught = 0
    with guard(0.05):
        for _ in range(2):
            try:
                busy(0.2)
            except JobTimeout:
                caught += 1
    assert caught == 1
