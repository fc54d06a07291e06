"""`jobs_retry`: make failed jobs wait again."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ...backends import Backend
from ...conf import conf
from ...exceptions import InvalidDefinition
from ...ids import parse_id
from ...maintenance.retry import FailedFilter, RetryReport, retry_failed, retry_ids
from ...models import FailureReason
from ..base import JobsCommand, at_least_one, duration

DEFAULT_LIMIT = 100


class Command(JobsCommand):
    """Retry failed jobs by their ids or by a filter."""

    about = gettext_lazy(
        "Make failed jobs wait again, under their own ids and with no attempts used: those with the ids given, or "
        "those of a filter, the oldest failure first."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "targets", nargs="*", metavar="id-or-queue", help=_("Ids of failed jobs, or names of configured queues.")
        )
        parser.add_argument(
            "--all", action="store_true", help=_("Everything that the filter finds; no limit unless one is given.")
        )
        self.add_queues(parser)
        self.add_states(
            parser,
            _("Only jobs that failed so: %(reasons)s. Default: every one but rejected.")
            % {"reasons": ", ".join(FailureReason.values)},
        )
        self.add_filters(
            parser, older_than=_("Only jobs that failed longer ago than this: seconds, or a text such as 2h.")
        )
        parser.add_argument(
            "--limit",
            type=at_least_one,
            metavar="N",
            help=_("At most so many by a filter. Default: %(n)d.") % {"n": DEFAULT_LIMIT},
        )
        parser.add_argument(
            "--delay", type=duration, default=0.0, metavar="S", help=_("Seconds to wait first, or a text such as 10m.")
        )
        parser.add_argument(
            "--resign", action="store_true", help=_("Sign rejected jobs anew. Look at what they would do first!")
        )
        parser.add_argument("--dry-run", action="store_true", help=_("Change nothing; say what would be retried."))
        self.add_json(parser)
        self.add_backend(parser)

    def run(self, **options: Any) -> None:
        ids, queues = self.targets(options["targets"])
        queues += options["queues"] or []
        reasons = self.reasons(options["states"], resign=options["resign"])
        chosen = FailedFilter(
            queues or None,
            reasons or None,
            handler=options["handler"],
            group=options["group"],
            tag=options["tag"],
            older_than=options["older_than"],
        )
        filtered = chosen != FailedFilter() or options["all"]
        if ids and filtered:
            self.usage_error(_("give ids or a filter, not both"))
        if ids and options["limit"]:
            self.usage_error(_("--limit goes with a filter; every id that is given is retried"))
        if not ids and not filtered:
            self.usage_error(_("give ids of failed jobs, a queue, another filter or --all"))
        backend = self.backend(options)
        if ids:
            report = self.retry_ids(backend, ids, options)
        else:
            report = retry_failed(
                backend,
                chosen,
                limit=options["limit"] or (None if options["all"] else DEFAULT_LIMIT),
                delay=options["delay"],
                resign=options["resign"],
                dry_run=options["dry_run"],
                progress=self.count,
            )
            self.count(None)
        self.report(report, as_json=options["json"], dry_run=options["dry_run"])
        if ids and (report.missing or report.skipped):
            raise CommandError(_("Not every job could be retried."))

    def targets(self, targets: list[str]) -> tuple[list[str], list[str]]:
        """The ids and the queues among the positional arguments."""
        ids, queues, known = [], [], conf.queue_names()
        for target in targets:
            if target in known:
                queues.append(target)
                continue
            try:
                ids.append(parse_id(target))
            except InvalidDefinition:
                self.usage_error(
                    _("%(target)r is neither the id of a job nor a configured queue (%(queues)s)")
                    % {"target": target[:80], "queues": ", ".join(known)}
                )
        return list(dict.fromkeys(ids)), queues

    def reasons(self, given: list[str] | None, *, resign: bool) -> list[str]:
        """The reasons that `--status` names."""
        reasons = self.states_meant(given, FailureReason.values)
        if FailureReason.REJECTED in reasons and not resign:
            self.usage_error(_("rejected jobs are retried only with --resign. Look at what they would do first"))
        return reasons

    def retry_ids(self, backend: Backend, ids: list[str], options: dict[str, Any]) -> RetryReport:
        """Retry the jobs that were named; with `--dry-run`, see which of them have failed."""
        if not options["dry_run"]:
            return retry_ids(backend, ids, delay=options["delay"], resign=options["resign"])
        report = RetryReport()
        for job_id in ids:
            record = backend.get(job_id)
            if record is None or record.state != "failed":
                report.missing.append(job_id)
            elif record.reason == FailureReason.REJECTED and not options["resign"]:
                report.skipped[job_id] = _("job %(id)s was rejected for its signature") % {"id": job_id}
            else:
                report.retried.append(job_id)
        return report

    def report(self, report: RetryReport, *, as_json: bool, dry_run: bool) -> None:
        """Say what became of the jobs."""
        for job_id in report.missing:
            self.complain(_("No failed job has the id %(id)s.") % {"id": job_id})
        for why in report.skipped.values():
            self.complain(_("Skipped: %(why)s") % {"why": why})
        if as_json:
            self.print_json(
                {
                    "dry_run": dry_run,
                    "retried": report.retried,
                    "skipped": [{"id": job_id, "why": why} for job_id, why in report.skipped.items()],
                    "not_found": report.missing,
                }
            )
            return
        count = len(report.retried)
        if dry_run:
            for job_id in report.retried:
                self.stdout.write(job_id)
            text = ngettext("Would retry %(n)d job.", "Would retry %(n)d jobs.", count)
        else:
            text = ngettext("Retried %(n)d job.", "Retried %(n)d jobs.", count)
        self.stdout.write(text % {"n": count})
