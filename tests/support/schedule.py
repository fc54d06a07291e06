"""Schedules for the tests with real processes: dotted paths that `JOBS_SCHEDULE` may name there."""

from __future__ import annotations

import os
from typing import Any

QUEUED = "tests.support.schedule.queued"
INLINE = "tests.support.schedule.inline"
MIXED = "tests.support.schedule.mixed"


def queued(s: Any) -> None:
    """Every second, a job."""
    s.define("trial.noop").named("tick").cron("* * * * * *", seconds=True).queue("default")


def inline(s: Any) -> None:
    """Every second, a line in the file `SCHEDULE_PROOF`, written by the scheduler."""
    s.define("trial.write", {"path": os.environ["SCHEDULE_PROOF"]}).named("here").cron("* * * * * *", seconds=True)


def mixed(s: Any) -> None:
    """Every second: one entry that takes its time inline, one that takes none, one with a queue."""
    gate = os.environ["SCHEDULE_PROOF"] + ".gate"
    slow = s.define("trial.gate", {"gate": gate}).named("slow").cron("* * * * * *", seconds=True)
    slow.without_overlapping(1)
    inline(s)
    queued(s)


def crowd(s: Any) -> None:
    """Every second, a job of each of three entries."""
    for n in range(3):
        entry = s.define("trial.noop").named(f"tick-{n}").cron("* * * * * *", seconds=True).queue("default")
        entry.catch_up("all", 10_000)
