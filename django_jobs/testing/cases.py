"""The test kit as methods of a `TestCase`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from ..backends import JobRecord
from . import capture, running


class JobsTestMixin:
    """For those who like assertions as methods: `class SignUpTest(JobsTestMixin, TestCase)`."""

    def assertDispatched(self, handler: Any = None, *, times: int | None = None, **like: Any) -> list[JobRecord]:  # noqa: N802
        """See `assert_dispatched`."""
        return capture.assert_dispatched(handler, times=times, **like)

    def assertNothingDispatched(self) -> None:  # noqa: N802
        """See `assert_nothing_dispatched`."""
        capture.assert_nothing_dispatched()

    def captureJobs(self) -> AbstractContextManager[capture.CapturedJobs]:  # noqa: N802
        """See `capture_jobs`."""
        return capture.capture_jobs()

    def runJobs(self, *queues: str, **options: Any) -> list[running.JobRun]:  # noqa: N802
        """See `run_jobs`."""
        return running.run_jobs(*queues, **options)
