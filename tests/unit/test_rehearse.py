"""The rehearsal before a fork: everything up to a handler, and nothing of the handler."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from django_jobs import JobHandler, envelope, registry, runtime, signals
from django_jobs.invocation import plan_of
from django_jobs.retry import OutcomeKind
from django_jobs.runtime import blank, rehearse, run_attempt


def test_a_rehearsal_calls_no_handler_and_makes_its_plans(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    class Real(JobHandler):
        def before_run(self, ctx: Any) -> None:
            called.append("before_run")

        def handle(self, ctx: Any) -> None:
            called.append("handle")

    def heard(**_: Any) -> None:
        called.append("signal")

    seen = []
    prepare = runtime.prepare
    monkeypatch.setattr(runtime, "prepare", lambda *args: seen.append(prepare(*args)) or seen[-1])
    settings.JOBS = {"real": Real, "broken": "nowhere.to.be.found"}
    settings.JOBS_QUEUES = ["default", "mail"]
    settings.JOBS_MIDDLEWARE = [lambda ctx, call: called.append("middleware")]
    signals.job_started.connect(heard)
    try:
        rehearse()
    finally:
        signals.job_started.disconnect(heard)
    assert called == []
    assert Real in {getattr(got[1], "handler_class", None) for got in seen if isinstance(got, tuple) and len(got) == 2}
    hits = plan_of.cache_info().hits
    plan_of(registry.get("real"), "real", "mail")
    assert plan_of.cache_info().hits == hits + 1


def test_a_blank_attempt_comes_to_its_end() -> None:
    claim = blank()
    assert claim is not None
    assert run_attempt(claim, lambda timeout: nullcontext()).kind == OutcomeKind.COMPLETED


def test_there_is_no_blank_attempt_where_the_site_would_see_it(settings: Any) -> None:
    settings.JOBS_MIDDLEWARE = [lambda ctx, call: call()]
    assert blank() is None
    settings.JOBS_MIDDLEWARE = []
    settings.JOBS_CONTAINER = lambda handler, ctx: handler()
    assert blank() is None
    settings.JOBS_CONTAINER = None
    settings.JOBS_QUEUES = {"default": {"handlers": ["unit.other"]}}
    assert blank() is None
    settings.JOBS_QUEUES = ["default"]

    def heard(**_: Any) -> None: ...

    signals.job_started.connect(heard)
    try:
        assert blank() is None
    finally:
        signals.job_started.disconnect(heard)
    assert blank() is not None


def test_what_a_handler_has_by_default_is_known_after_a_rehearsal(settings: Any) -> None:
    """So a child that is forked for one of its jobs need not read the whole envelope."""

    class Real(JobHandler):
        timeout = 77

        def handle(self, ctx: Any) -> None: ...

    settings.JOBS = {"real": Real}
    rehearse()
    assert [kind for kind in envelope._kinds.values() if (kind.handler, kind.timeout) == ("real", 77)]
