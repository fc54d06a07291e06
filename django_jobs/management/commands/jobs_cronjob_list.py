"""`jobs_cronjob_list`: the schedule, with the next and the last run of each entry."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ...scheduler.desk import Desk, make_desk
from ...scheduler.listing import Listed, listed
from ...scheduler.words import edge_in_words, in_words
from ..base import table
from ..cron import CronCommand, shown


class Command(CronCommand):
    """List the schedule."""

    about = gettext_lazy("List the entries of the schedule with their next and their last run, the next ones first.")

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_json(parser)

    def run(self, **options: Any) -> None:
        desk = make_desk()
        desk.schedule.refresh()
        found = listed(desk, desk.ledger.now())
        if options["json"]:
            problems = [{"entry": p.entry, "message": p.message, "origin": p.origin} for p in desk.schedule.problems]
            self.print_json({"entries": [as_json(desk, item) for item in found], "problems": problems})
        elif found:
            head = [_("entry"), _("when"), _("next run"), _("last run"), _("where")]
            for line in table([head, *(cells(desk, item) for item in found)]):
                self.print_line(line)
        else:
            self.stdout.write(_("The schedule has no entries. Give it some in JOBS_SCHEDULE."))
        self.complain_of(desk.schedule.problems)


def cells(desk: Desk, item: Listed) -> list[str]:
    """A line of the table."""
    entry, last = item.entry, item.last
    ran = "-" if last is None else f"{shown(desk.ledger.aware(last.instant))} {last.get_state_display()}"
    return [entry.name, in_words(entry.timing) or entry.timing.expression, ahead(item), ran, entry.queue or _("inline")]


def ahead(item: Listed) -> str:
    """When it runs next, or why it does not."""
    if not item.at_home:
        return _("only in %(names)s") % {"names": ", ".join(item.entry.environments)}
    if not item.enabled:
        return _("disabled")
    if item.next is None:
        return _("never again")
    note = edge_in_words(item.next)
    return shown(item.next.at) + (f" ({note})" if note else "")


def as_json(desk: Desk, item: Listed) -> dict[str, Any]:
    """An entry, for `--json`."""
    entry, last = item.entry, item.last
    instant = None if last is None else desk.ledger.aware(last.instant)
    return {
        "name": entry.name,
        "handler": entry.handler,
        "queue": entry.queue,
        "backend": entry.backend,
        "expression": entry.timing.expression,
        "timezone": entry.timing.zone_name,
        "words": in_words(entry.timing),
        "description": entry.description,
        "origin": entry.origin,
        "enabled": item.enabled,
        "environments": entry.environments,
        "here": item.at_home,
        "next": None if item.next is None else item.next.at.isoformat(),
        "last": None if instant is None else instant.isoformat(),
        "last_state": None if last is None else last.state,
        "last_reason": None if last is None else last.reason,
    }
