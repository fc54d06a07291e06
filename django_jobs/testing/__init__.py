"""For the tests of sites that use django_jobs, and of backends that others write (`django_jobs.testing.conformance`).

    from django_jobs.testing import assert_dispatched, run_jobs

    class SignUpTest(TestCase):
        def test_a_new_user_is_welcomed(self):
            self.client.post("/sign-up/", {...})
            assert_dispatched("welcome", payload__user_id=1)
            run_jobs()
            self.assertEqual(len(mail.outbox), 1)

See `docs/how-to/test-your-jobs.md`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .capture import CapturedJobs as CapturedJobs
    from .capture import assert_dispatched as assert_dispatched
    from .capture import assert_nothing_dispatched as assert_nothing_dispatched
    from .capture import capture_jobs as capture_jobs
    from .capture import dispatched_jobs as dispatched_jobs
    from .cases import JobsTestMixin as JobsTestMixin
    from .clock import freeze_jobs_time as freeze_jobs_time
    from .clock import predictable_ids as predictable_ids
    from .clock import travel as travel
    from .overrides import override_jobs as override_jobs
    from .running import FAULTS as FAULTS
    from .running import JobRun as JobRun
    from .running import JobsFailed as JobsFailed
    from .running import run_job as run_job
    from .running import run_jobs as run_jobs

_HOMES = {
    "CapturedJobs": "capture",
    "FAULTS": "running",
    "JobRun": "running",
    "JobsFailed": "running",
    "JobsTestMixin": "cases",
    "assert_dispatched": "capture",
    "assert_nothing_dispatched": "capture",
    "capture_jobs": "capture",
    "dispatched_jobs": "capture",
    "freeze_jobs_time": "clock",
    "override_jobs": "overrides",
    "predictable_ids": "clock",
    "run_job": "running",
    "run_jobs": "running",
    "travel": "clock",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    # Lazy, as pytest loads the plugin beside this before Django has its settings.
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
