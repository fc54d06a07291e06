"""`jobs_cleanup`: delete finished jobs by age."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ...maintenance.cleanup import BATCH, cleanup, cleanup_ticks
from ...maintenance.states import FINISHED
from ...store import clock, store_of
from ..base import JobsCommand, moment

DEFAULT_DAYS = 30.0


class Command(JobsCommand):
    """Delete finished jobs by age."""

    about = gettext_lazy(
        "Delete finished jobs by the time at which they finished, in batches. Jobs that wait or run are never touched."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_states(parser, _("Which jobs: completed (the default), failed, cancelled or all. May be repeated."))
        self.add_queues(parser)
        when = parser.add_mutually_exclusive_group()
        when.add_argument(
            "--before",
            type=moment,
            metavar="DATETIME",
            help=_("Jobs that finished before this moment in ISO 8601; without an offset, in the site's time zone."),
        )
        when.add_argument(
            "--days",
            type=_days,
            metavar="N",
            help=_("Jobs that finished more than so many days ago. Default: %(n)d.") % {"n": DEFAULT_DAYS},
        )
        parser.add_argument(
            "--ticks",
            action="store_true",
            help=_("Ticks of the schedule too, by the time at which they were due; the last of each entry stays."),
        )
        parser.add_argument("--dry-run", action="store_true", help=_("Delete nothing; say how many there are."))
        parser.add_argument(
            *("--force", "--no-input", "--noinput"),
            dest="force",
            action="store_true",
            help=_("Delete failed jobs without asking."),
        )
        self.add_batch_size(parser, BATCH)
        self.add_json(parser)
        self.add_backend(parser)

    def run(self, **options: Any) -> None:
        states = self.states_meant(options["states"], [*FINISHED, "all"]) or ["completed"]
        states = list(FINISHED) if "all" in states else states
        backend = self.backend(options)
        store = store_of(backend)
        if store is None:
            raise CommandError(
                _("The backend '%(backend)s' keeps no finished jobs in a database.") % {"backend": backend.alias}
            )
        days = DEFAULT_DAYS if options["days"] is None else options["days"]
        before = options["before"] or clock(store) - timedelta(days=days)
        queues = options["queues"]

        def count(*, dry_run: bool, only: list[str]) -> dict[str, int]:
            return cleanup(
                backend,
                before=before,
                states=only,
                queues=queues,
                dry_run=dry_run,
                batch_size=options["batch_size"],
                progress=self.count,
            )

        if "failed" in states and not options["dry_run"] and not options["force"]:
            self.confirm(lambda: count(dry_run=True, only=["failed"])["failed"])
        counts = count(dry_run=options["dry_run"], only=states)
        if options["ticks"]:
            asked = {"dry_run": options["dry_run"], "batch_size": options["batch_size"]}
            counts["ticks"] = cleanup_ticks(backend, before=before, **asked)
        self.count(None)
        if options["json"]:
            self.print_json(
                {
                    "dry_run": options["dry_run"],
                    "before": before.isoformat(),
                    "deleted": counts,
                    "total": sum(counts.values()),
                }
            )
        else:
            self.report(counts, dry_run=options["dry_run"])

    def confirm(self, count: Callable[[], int]) -> None:
        """Ask before failed jobs go: nothing else knows what they were to do."""
        if not sys.stdin.isatty():
            self.usage_error(
                _("this would delete failed jobs, and there is no terminal to ask on. Give --force to delete them")
            )
        failed = count()
        question = ngettext(
            "Delete %(n)d failed job, which then can't be retried?",
            "Delete %(n)d failed jobs, which then can't be retried?",
            failed,
        )
        if failed and input(question % {"n": failed} + " [y/N] ").strip().lower() not in ("y", "yes", _("yes")):
            raise CommandError(_("Nothing was deleted."))

    def report(self, counts: dict[str, int], *, dry_run: bool) -> None:
        """One line for each state."""
        titles = {"completed": _("completed"), "cancelled": _("cancelled"), "failed": _("failed")}
        for state, n in counts.items():
            if state == "ticks" and dry_run:
                text = ngettext("Would delete %(n)d tick.", "Would delete %(n)d ticks.", n)
            elif state == "ticks":
                text = ngettext("Deleted %(n)d tick.", "Deleted %(n)d ticks.", n)
            elif dry_run:
                text = ngettext("Would delete %(n)d %(state)s job.", "Would delete %(n)d %(state)s jobs.", n)
            else:
                text = ngettext("Deleted %(n)d %(state)s job.", "Deleted %(n)d %(state)s jobs.", n)
            self.stdout.write(text % {"n": n, "state": titles.get(state, state)})


def _days(text: str) -> float:
    try:
        days = float(text)
        if not 0 <= days <= 36_500:
            raise ValueError
    except ValueError:
        raise ArgumentTypeError(_("%(text)r is not a number of days from 0 to 36500") % {"text": text[:80]}) from None
    return days
