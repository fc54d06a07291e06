"""`jobs_cronjob_test`: whether a cron expression holds, what it says, and when it is due next."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ...exceptions import InvalidSchedule
from ...scheduler.ticks import Tick, next_ticks
from ...scheduler.timing import Timing
from ...scheduler.words import edge_in_words, in_words
from ..base import JobsCommand, moment, number

MOST = 10_000
MOST_FIELDS = 6


class Command(JobsCommand):
    """Test a cron expression."""

    about = gettext_lazy(
        "Say whether a cron expression holds, what it means in words, and when it is due next. Ends with 1 for one "
        "that does not hold."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("expression", nargs="+", metavar="EXPR", help=_("The expression; best put in quotes."))
        parser.add_argument(
            "--timezone", default="", metavar="Z", help=_("The time zone. Default: JOBS_SCHEDULE_TIMEZONE.")
        )
        parser.add_argument("--seconds", action="store_true", help=_("It has a sixth field, for seconds."))
        parser.add_argument(
            "--both-days",
            action="store_true",
            help=_("Where a day of the month and one of the week are named, both must be. Default: either will do."),
        )
        parser.add_argument("--after", type=moment, metavar="ISO", help=_("Look from this moment on. Default: now."))
        parser.add_argument(
            "--count", type=number(1, most=MOST), default=5, metavar="N", help=_("How many times to print. Default: 5.")
        )
        self.add_json(parser)

    def run(self, **options: Any) -> None:
        expression = " ".join(options["expression"])
        try:
            timing = Timing.of(
                expression, options["timezone"], seconds=options["seconds"], day_or=not options["both_days"]
            )
        except InvalidSchedule as error:
            if options["json"]:
                self.print_json({"expression": expression, "valid": False, "error": str(error)})
            if len(options["expression"]) > MOST_FIELDS:  # a shell has made names of files of each *
                raise CommandError(_("%(error)s Put the expression in quotes.") % {"error": error}) from error
            raise
        found = next_ticks(timing, after=options["after"] or datetime.now(UTC), count=options["count"])
        if options["json"]:
            self.print_json(_as_json(timing, found))
            return
        self.stdout.write(self.style.SUCCESS(_("%(expression)s is valid.") % {"expression": timing.expression}))
        if words := in_words(timing):
            self.stdout.write(words)
        self.stdout.write(_("Next, in %(zone)s:") % {"zone": timing.zone_name})
        for tick in found:
            note = edge_in_words(tick)
            self.stdout.write(f"  {tick.local:%Y-%m-%d %H:%M:%S %z}" + (f"  ({note})" if note else ""))


def _as_json(timing: Timing, found: list[Tick]) -> dict[str, Any]:
    return {
        "expression": timing.expression,
        "valid": True,
        "words": in_words(timing),
        "timezone": timing.zone_name,
        "next": [
            {
                "at": tick.at.isoformat(),
                "local": tick.local.isoformat(),
                "edge": tick.edge.value,
                "meant": None if tick.meant is None else tick.meant.isoformat(),
            }
            for tick in found
        ],
    }
