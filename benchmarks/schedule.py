"""What a turn of the schedule costs with 10,000 entries, as `jobs_cronjob_run` makes it each minute.

The entries have 1,440 different expressions, one for each minute of the day. Measured are the turn alone (reading how
the entries stand, deciding, dispatching), and the whole command from its start, which imports the site and reads the
schedule first. The bare minimum is one query for the rows of all entries; of the command, one that does nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import timedelta
from functools import partial
from typing import Any

from .harness import Contenders, Figures
from .site import ROOT, Site

ROUNDS = 5
ENTRIES = 10_000
TURN, COMMAND = "turn, ms", "command, s"


def declare(count: int, always: int, scheduler: Any) -> None:
    """A schedule: some entries that are due each minute, and others that are due once a day."""
    for n in range(count):
        entry = scheduler.define("trial.noop").named(f"entry-{n:05}").queue("default")
        if n < always:
            entry.cron("* * * * *")
        else:
            entry.cron(f"{n % 60} {n // 60 % 24} * * *")


def nothing_due(scheduler: Any) -> None:
    """10,000 entries, of which a few are due in a given minute."""
    declare(ENTRIES, 0, scheduler)


def all_due(scheduler: Any) -> None:
    """10,000 entries that are due each minute."""
    declare(ENTRIES, ENTRIES, scheduler)


def contenders(site: Site, *, quick: bool) -> Contenders:
    """A bare query, and turns in which few or all of the entries are due."""
    return {
        "one query for all rows; a command that does nothing": partial(_bare, site),
        "10,000 entries, about 7 due": partial(_turn, site, "nothing_due"),
        "10,000 entries, all due": partial(_turn, site, "all_due"),
    }


def _settings(name: str) -> dict[str, str]:
    return {"TESTPROJECT_SETTINGS": json.dumps({"JOBS_SCHEDULE": f"benchmarks.schedule.{name}"})}


def _bare(site: Site) -> Figures:
    from django_jobs.models import ScheduleEntry

    site.enter()
    _prepare("nothing_due")
    started = time.perf_counter()
    list(ScheduleEntry.objects.values_list("name", "enabled", "timing_mark", "seen_at", "look_at"))
    turn = time.perf_counter() - started
    return {TURN: turn * 1e3, COMMAND: _command(site, "nothing_due", "jobs_cronjob_run", "--help")}


def _turn(site: Site, name: str) -> Figures:
    from django_jobs.scheduler.desk import make_desk
    from django_jobs.scheduler.runner import Runner

    site.enter()
    _prepare(name)
    runner = Runner(make_desk())
    runner.desk.schedule.refresh()
    started = time.perf_counter()
    runner.register()
    dispatched = len(runner.turn().reports)
    turn = time.perf_counter() - started
    assert dispatched, "nothing was due"
    _prepare(name)
    return {TURN: turn * 1e3, COMMAND: _command(site, name, "jobs_cronjob_run")}


def _prepare(name: str) -> None:
    """Every entry is known, and was looked at a minute ago; no job and no tick is left."""
    from django.test.utils import override_settings

    from django_jobs.conf import conf
    from django_jobs.models import Job, ScheduleEntry, ScheduleTick
    from django_jobs.scheduler.desk import make_desk

    for model in (Job, ScheduleTick, ScheduleEntry):
        model.objects.all().delete()
    override_settings(JOBS_SCHEDULE=f"benchmarks.schedule.{name}").enable()
    desk = make_desk()
    desk.schedule.refresh()
    before = desk.ledger.now() - timedelta(minutes=1)
    desk.ledger.register(desk.schedule.entries.values(), {}, now=before, grace=conf.schedule_grace)


def _command(site: Site, name: str, *command: str) -> float:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env={**site.env, **_settings(name)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - started
