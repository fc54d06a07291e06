"""`jobs_cronjob_work`: the schedule's loop."""

from __future__ import annotations

import signal
import uuid
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ...scheduler.children import Children
from ...scheduler.desk import Desk, make_desk
from ...scheduler.loop import Loop
from ...scheduler.plans import Report
from ...scheduler.runner import Runner
from ...worker import orphans
from ...worker.beside import fork_to
from ...worker.foreground import run_attempt_here
from ...worker.interrupts import hear_of_the_end_of_the_parent
from ...worker.stopping import StopSignals
from ..base import seconds_above_zero
from ..cron import CronCommand


class Command(CronCommand):
    """Run the schedule until told to stop."""

    about = gettext_lazy(
        "Run the schedule until told to stop: dispatch each tick when it is due, and run what has no queue in "
        "processes beside this one. Any number of these may run at once, on any number of hosts."
    )
    outlasts_readers = True
    is_patient = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--interval",
            type=seconds_above_zero,
            default=60.0,
            metavar="SECONDS",
            help=_("How often to read the whole schedule anew, from the full minute on. Default: 60."),
        )
        parser.add_argument("--parent", type=int, default=0, help=SUPPRESS)  # whose end is this one's too

    stop_signals: StopSignals | None = None

    def begin(self) -> None:
        self.stop_signals = StopSignals()
        self.stop_signals.install()

    def run(self, **options: Any) -> None:
        stop = self.stop_signals or StopSignals()
        if options["parent"]:
            stop.parent = options["parent"]
            hear_of_the_end_of_the_parent(signal.SIGTERM)
        if not stop.installed:
            stop.install()
        self.check_ready(self.backend(options))
        desk = make_desk(inline=False, execute=run_attempt_here)
        tell = self.tell if options["verbosity"] else lambda reports: None
        try:
            Loop(
                Runner(desk), Children(fork_to, Work(desk, tell), orphans.ended), stop, tell, options["interval"]
            ).run()
        finally:
            if self.stop_signals is None:
                stop.restore()


class Work:
    """What a process beside the loop does: some inline entries, up to a moment."""

    def __init__(self, desk: Desk, tell: Callable[[Iterable[Report]], None]) -> None:
        self.desk = desk
        self.tell = tell

    def __call__(self, names: Collection[str], now: datetime) -> None:
        desk = replace(self.desk, only=frozenset(names), inline=True, holder=uuid.uuid4())
        self.tell(Runner(desk).turn(now).reports)
