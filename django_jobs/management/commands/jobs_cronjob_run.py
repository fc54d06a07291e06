"""`jobs_cronjob_run`: one turn of the schedule, for the system's cron."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ...conf import conf
from ...models import TickState
from ...scheduler.desk import Desk, make_desk
from ...scheduler.planner import Planner
from ...scheduler.plans import Plan, Report, Step
from ...scheduler.rehearsal import rehearse
from ...scheduler.runner import Runner
from ...worker.foreground import run_attempt_here
from ..base import moment, words
from ..cron import CronCommand, as_json


class Command(CronCommand):
    """Run what is due, once."""

    about = gettext_lazy(
        "Dispatch what is due since the last look, and run here what has no queue. Call it each minute, on one host or "
        "on many: each tick is dispatched once. It ends with 1 where an entry could not be started."
    )
    outlasts_readers = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--only",
            action="extend",
            type=words,
            metavar="NAME",
            help=_("Only this entry. May be repeated, or be several names with commas between."),
        )
        parser.add_argument(
            "--test-time",
            type=moment,
            metavar="DATETIME",
            help=_(
                "Run what is due in this minute, as if it were now, whether it has been run or not. Without an offset, "
                "it is in the site's time zone. The schedule does not take note of it."
            ),
        )
        parser.add_argument("--dry-run", action="store_true", help=_("Change nothing; say what would be done."))
        parser.add_argument("--force-inline", action="store_true", help=_("Queue nothing: run everything here."))
        self.add_json(parser)

    def run(self, **options: Any) -> None:
        if options["only"] is not None and not options["only"]:  # by call_command
            self.usage_error(_("--only: give the name of an entry"))
        desk = make_desk(only=options["only"], force_inline=options["force_inline"], execute=run_attempt_here)
        desk.schedule.refresh()
        self.chosen(desk, options["only"] or ())
        new, reports = self.reports(desk, options["test_time"], options["dry_run"])
        problems = [p for p in desk.schedule.problems if desk.is_mine(p.entry)]
        if options["json"]:
            found = [{"entry": p.entry, "message": p.message, "origin": p.origin} for p in problems]
            ticks = [as_json(report) for report in reports]
            self.print_json({"dry_run": options["dry_run"], "new": new, "ticks": ticks, "problems": found})
        else:
            self.say(new, reports, quiet=not options["verbosity"])
        self.complain_of(problems)
        stuck = len(problems) + sum(report.failed_to_start for report in reports)
        if stuck:
            raise CommandError(_("%(n)d could not be started.") % {"n": stuck})

    def say(self, new: list[str], reports: list[Report], *, quiet: bool) -> None:
        """A line for each thing that happened; where it is to be quiet, as a cron mails every word, what went wrong."""
        if quiet:
            self.tell(report for report in reports if report.state == TickState.FAILED or report.failed_to_start)
            return
        for name in new:
            self.print_line(_("new: %(name)s, which starts from now") % {"name": name})
        self.tell(reports)
        if not (new or reports):
            self.stdout.write(_("Nothing is due."))

    def reports(self, desk: Desk, test_time: datetime | None, dry_run: bool) -> tuple[list[str], list[Report]]:
        """The entries that are new, and what became of each tick."""
        if test_time is not None:
            return [], rehearse(desk, test_time, dry_run=dry_run)
        if dry_run:
            now, entries = desk.ledger.now(), desk.schedule.entries
            rows = desk.ledger.foreseen(entries.values(), now=now, grace=conf.schedule_grace)
            new = [name for name in entries if name not in rows and desk.is_mine(name)]
            return new, [r for plan in Planner(desk).plans(now, rows) for r in expected(plan)]
        runner = Runner(desk)
        return runner.register(), runner.turn().reports


def expected(plan: Plan) -> list[Report]:
    """What a plan would come to."""
    return [Report(plan.name, step.at, state_of(step), step.reason, step.passed_over) for step in plan.steps]


def state_of(step: Step) -> str:
    """What a step would come to."""
    return "due" if step.runs else "failed" if step.error else "skipped"
