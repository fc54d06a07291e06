"""What one job learns of a service spares the others."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from django_jobs import JobHandler, Jobs
from django_jobs.exceptions import RetryAfter
from django_jobs.models import Job
from django_jobs.testing import run_jobs, travel

from .conftest import claim_all

CALLS: list[str] = []


class Charge(JobHandler):
    service = "stripe"
    max_attempts = 5

    def handle(self, ctx):
        CALLS.append(ctx.payload)
        if ctx.payload == "first" and ctx.attempt == 1:
            raise RetryAfter(60)


class Refund(Charge):
    pass


class Odd(Charge):
    service = "nul \x00, surrogate \ud800, " + "long" * 50


class Other(JobHandler):
    def handle(self, ctx):
        CALLS.append("other")


@pytest.fixture(autouse=True)
def site(settings):
    CALLS.clear()
    settings.JOBS = {**settings.JOBS, "charge": Charge, "refund": Refund, "other": Other, "odd": Odd}


def test_the_jobs_of_a_service_wait_until_it_takes_calls_again(jobs_on):
    for key, payload in (("charge", "first"), ("charge", "second"), ("refund", "third"), ("other", None)):
        Jobs.push(key, payload)
    run_jobs()
    assert CALLS == ["first", "other"]
    waiting = Job.objects.using(jobs_on.database).filter(state="scheduled")
    assert {(job.handler, job.attempt) for job in waiting} == {("charge", 1), ("charge", 0), ("refund", 0)}
    travel(70)
    run_jobs()
    assert sorted(CALLS[2:]) == ["first", "second", "third"]


def test_what_is_put_off_is_put_off_for_as_long_as_the_pause_lasts(jobs_on):
    jobs_on.pause_services({"stripe": 1000.0})
    ref = Jobs.push("charge", "x")
    run_jobs()
    wait = (ref.refresh().available_at - datetime.now(UTC)).total_seconds()
    assert 900 < wait < 1200
    assert CALLS == []
    assert claim_all(jobs_on, "default") == []


def test_a_service_may_have_any_name(jobs_on):
    for payload in ("first", "second"):
        Jobs.push("odd", payload)
    run_jobs()
    assert CALLS == ["first"]
