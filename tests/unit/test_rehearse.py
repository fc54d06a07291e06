"""The rehearsal before a fork: everything up to a handler, and nothing of the handler."""

from __future__ import annotations

from typing import Any

import pytest

from django_jobs import JobHandler, registry, runtime, signals
from django_jobs.invocation import plan_of
from django_jobs.runtime import rehearse


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
