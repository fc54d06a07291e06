"""`jobs_cronjob_history`: the latest ticks of an entry."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ...models import ScheduleTick, TickState
from ...scheduler.desk import make_desk
from ...scheduler.ledger import Ledger
from ..base import age, at_least_one, table
from ..cron import CronCommand, shown

LIMIT = 5


class Command(CronCommand):
    """Print the latest ticks of an entry."""

    about = gettext_lazy(
        "Print the latest ticks of an entry of the schedule and what became of them, the latest first."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help=_("The name of the entry."))
        parser.add_argument(
            "--limit",
            type=at_least_one,
            default=LIMIT,
            metavar="N",
            help=_("At most so many. Default: %(n)d.") % {"n": LIMIT},
        )
        self.add_states(parser, _("Only ticks in this state: %(states)s.") % {"states": ", ".join(TickState.values)})
        parser.add_argument("--full", action="store_true", help=_("With the job of each, and the errors in full."))
        self.add_json(parser)

    def run(self, **options: Any) -> None:
        states = options["states"] or []
        for state in states:
            if state not in TickState.values:
                self.usage_error(_("%(state)r is no state of a tick") % {"state": state[:80]})
        desk = make_desk()
        desk.schedule.refresh()
        found = desk.ledger.history(options["name"], states=states, limit=options["limit"])
        if not found and not desk.ledger.history(options["name"], limit=1):
            self.chosen(desk, [options["name"]])
        if options["json"]:
            self.print_json({"entry": options["name"], "ticks": [as_json(desk.ledger, tick) for tick in found]})
            return
        if not found:
            self.stdout.write(_("No tick yet."))
            return
        lines = table([[_("due at"), _("state"), _("took"), _("why")], *(cells(desk.ledger, tick) for tick in found)])
        self.stdout.write(lines[0])
        for line, tick in zip(lines[1:], found, strict=True):
            self.stdout.write(line)
            if options["full"]:
                self.details(tick)

    def details(self, tick: ScheduleTick) -> None:
        """The job of a tick, and what went wrong."""
        if tick.job_id:
            self.stdout.write(_("    job %(id)s") % {"id": tick.job_id})
        for line in tick.notes.splitlines():
            self.stdout.write(f"    {line}")


def cells(ledger: Ledger, tick: ScheduleTick) -> list[str]:
    """A line of the table."""
    why = tick.reason
    if tick.passed_over:
        more = ngettext("%(n)d tick before it too", "%(n)d ticks before it too", tick.passed_over)
        why = f"{why}, {more % {'n': tick.passed_over}}"
    return [shown(ledger.aware(tick.instant)), str(tick.get_state_display()), age(_seconds(tick)), why]


def _seconds(tick: ScheduleTick) -> float | None:
    if tick.started_at is None or tick.finished_at is None:
        return None
    return float((tick.finished_at - tick.started_at).total_seconds())


def as_json(ledger: Ledger, tick: ScheduleTick) -> dict[str, Any]:
    """A tick, for `--json`."""

    def moment(name: str) -> str | None:
        at = ledger.aware(getattr(tick, name))
        return None if at is None else at.isoformat()

    return {
        "due_at": moment("instant"),
        "state": tick.state,
        "reason": tick.reason,
        "passed_over": tick.passed_over,
        "job_id": None if tick.job_id is None else str(tick.job_id),
        "decided_at": moment("decided_at"),
        "started_at": moment("started_at"),
        "finished_at": moment("finished_at"),
        "seconds": _seconds(tick),
        "notes": tick.notes,
    }
