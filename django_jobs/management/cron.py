"""What the commands of the schedule have in common."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..backends import Backend, get_backend
from ..redaction import one_line
from ..scheduler.desk import Desk
from ..scheduler.entries import Problem
from ..scheduler.plans import Report
from .base import JobsCommand, words

LINE_BYTES = 4000


class CronCommand(JobsCommand):
    """The base of the commands of the schedule, which is kept beside the default backend."""

    def backend(self, options: dict[str, Any]) -> Backend:
        return get_backend()

    def add_names(self, parser: ArgumentParser, help_text: str) -> None:
        """Names of entries."""
        parser.add_argument("names", nargs="*", metavar="name", type=words, help=help_text)

    def chosen(self, desk: Desk, names: Iterable[str]) -> list[str]:
        """These names, each once. Ends with 1 where the schedule has no entry of a name."""
        found = list(dict.fromkeys(names))
        known = {*desk.schedule.everything, *(problem.entry for problem in desk.schedule.problems)}
        for name in found:
            if name not in known:
                raise CommandError(_("The schedule has no entry '%(name)s'.") % {"name": one_line(name)})
        return found

    def print_line(self, text: str) -> None:
        """Print a line, whatever the names in it hold."""
        self.stdout.write(one_line(text, LINE_BYTES))

    def complain(self, message: str) -> None:
        super().complain(one_line(message, LINE_BYTES))

    def complain_of(self, problems: Iterable[Problem]) -> None:
        """Say which entries are left out, and why."""
        for problem in problems:
            self.complain(str(problem))

    def tell(self, reports: Iterable[Report]) -> None:
        """A line for each tick."""
        for report in reports:
            line = self.line_of(report)
            if report.state == "failed" or report.failed_to_start:
                self.complain(line)
            else:
                self.print_line(line)
        self.stdout.flush()

    def line_of(self, report: Report) -> str:
        """What became of a tick, in a line."""
        why = report.error or report.reason
        if report.passed_over:
            more = ngettext("and %(n)d tick before it", "and %(n)d ticks before it", report.passed_over)
            why = f"{why}, {more % {'n': report.passed_over}}"
        facts = {"name": report.name, "at": shown(report.at), "job": report.job_id or "-", "why": why}
        return LINES[report.state]() % facts


LINES = {
    "due": lambda: _("due: %(name)s, at %(at)s"),
    "dispatched": lambda: _("dispatched %(name)s, due %(at)s: job %(job)s"),
    "succeeded": lambda: _("ran %(name)s, due %(at)s: job %(job)s"),
    "failed": lambda: _("failed: %(name)s, due %(at)s: %(why)s"),
    "skipped": lambda: _("skipped %(name)s, due %(at)s: %(why)s"),
    "waiting": lambda: _("waiting: %(name)s, due %(at)s: %(why)s"),
    "lost": lambda: _("lost: %(name)s, due %(at)s: %(why)s"),
}


def as_json(report: Report) -> dict[str, Any]:
    """What became of a tick, for `--json`."""
    return {**report._asdict(), "at": report.at.isoformat(), "state": str(report.state)}


def shown(at: datetime | None) -> str:
    """A moment for people: in the site's time zone, without what is zero."""
    if at is None:
        return "-"
    local = timezone.localtime(at) if timezone.is_aware(at) else at
    return local.strftime("%Y-%m-%d %H:%M:%S %Z").strip()
