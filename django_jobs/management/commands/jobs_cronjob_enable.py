"""`jobs_cronjob_enable`: let entries of the schedule run again."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ...scheduler.desk import make_desk
from ..cron import CronCommand


class Command(CronCommand):
    """Enable entries."""

    about = gettext_lazy(
        "Let entries of the schedule run again, from now on: what they have missed passes by. On every host."
    )
    enabled = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_names(parser, _("Names of entries."))
        parser.add_argument("--all", action="store_true", help=_("Every entry of the schedule."))
        self.add_json(parser)

    def run(self, **options: Any) -> None:
        given = [name for some in options["names"] for name in some]
        if bool(given) is options["all"]:
            self.usage_error(_("give the names of entries, or --all"))
        desk = make_desk()
        desk.schedule.refresh()
        names = list(desk.schedule.everything) if options["all"] else self.chosen(desk, given)
        changed = desk.ledger.set_enabled(names, enabled=self.enabled, now=desk.ledger.now())
        if options["json"]:
            self.print_json({"enabled": self.enabled, "changed": changed, "names": names})
            return
        if not names:
            self.stdout.write(_("The schedule has no entries."))
        for name in names:
            self.print_line(self.said(name, name in changed))
        for name in names:
            if self.enabled and name in desk.schedule.everything and not desk.schedule.everything[name].enabled:
                self.complain(_("%(name)s is disabled in the code, and stays so.") % {"name": name})

    def said(self, name: str, has_changed: bool) -> str:
        """What became of an entry."""
        text = _("%(name)s is enabled now.") if has_changed else _("%(name)s was enabled already.")
        return text % {"name": name}
