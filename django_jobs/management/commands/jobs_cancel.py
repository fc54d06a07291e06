"""`jobs_cancel`: cancel jobs by id or filter."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ...backends import Backend
from ...exceptions import InvalidDefinition
from ...maintenance.cancel import CANCELLABLE, CancelReport, cancel_ids, cancel_selected, count_selected
from ...maintenance.selection import Selection
from ...names import check_label
from ...store import store_of
from ..base import JobsCommand, job_id


def reason(text: str) -> str:
    """A reason, as a timeline takes it."""
    try:
        return check_label("reason", text)
    except InvalidDefinition as error:
        raise ArgumentTypeError(str(error)) from None


class Command(JobsCommand):
    """Cancel jobs by their ids or by a filter."""

    about = gettext_lazy(
        "Cancel jobs: those with the ids given, or those of a filter. One that waits is cancelled at once; one that "
        "runs is asked to stop, and ended by its worker, on whatever host. None of them is retried."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("ids", nargs="*", type=job_id, metavar="id", help=_("Ids of jobs."))
        self.add_queues(parser)
        self.add_states(
            parser, _("Only jobs in this state: %(states)s. May be repeated.") % {"states": ", ".join(CANCELLABLE)}
        )
        self.add_filters(
            parser, older_than=_("Only jobs that were enqueued longer ago than this: seconds, or a text such as 7d.")
        )
        parser.add_argument("--all", action="store_true", help=_("Every job, where no filter is given."))
        parser.add_argument(
            "--reason", type=reason, default="", metavar="TEXT", help=_("Why; it goes into the timelines.")
        )
        parser.add_argument("--dry-run", action="store_true", help=_("Cancel nothing; say how many there are."))
        parser.add_argument(
            *("--no-input", "--noinput"), dest="no_input", action="store_true", help=_("Cancel without asking.")
        )
        self.add_json(parser)
        self.add_backend(parser)

    def run(self, **options: Any) -> None:
        ids = list(dict.fromkeys(options["ids"]))
        chosen = Selection(
            states=self.states_meant(options["states"], CANCELLABLE) or None,
            queues=options["queues"],
            handler=options["handler"],
            group=options["group"],
            tag=options["tag"],
            older_than=options["older_than"],
        )
        filtered = chosen != Selection() or options["all"]
        if ids and filtered:
            self.usage_error(_("give ids or a filter, not both"))
        if not ids and not filtered:
            self.usage_error(_("give ids of jobs, a filter or --all"))
        backend = self.backend(options)
        if not backend.supports.cancel:
            raise CommandError(_("The backend '%(backend)s' can't cancel jobs.") % {"backend": backend.alias})
        how: dict[str, Any] = {"reason": options["reason"], "dry_run": options["dry_run"], "progress": self.count}
        if ids:
            report = cancel_ids(backend, ids, **how)
        else:
            self.ask(backend, chosen, options)
            report = cancel_selected(backend, chosen, **how)
        self.count(None)
        self.report(report, options)
        if report.missing:
            raise CommandError(_("Not every job could be cancelled."))

    def ask(self, backend: Backend, chosen: Selection, options: dict[str, Any]) -> None:
        """Ask before many jobs are cancelled at once."""
        if store_of(backend) is None:
            raise CommandError(
                _("The backend '%(backend)s' keeps no jobs in a database: give ids.") % {"backend": backend.alias}
            )
        if options["dry_run"] or options["no_input"]:
            return
        count = count_selected(backend, chosen)
        question = ngettext("Cancel %(n)d job?", "Cancel %(n)d jobs?", count) % {"n": count}
        self.ask_first(question if count else "", _("Nothing was cancelled."), _("cancel"))

    def report(self, report: CancelReport, options: dict[str, Any]) -> None:
        """Say what became of the jobs."""
        for missing in report.missing:
            self.complain(_("No job has the id %(id)s.") % {"id": missing})
        if options["json"]:
            self.print_json(
                {
                    "dry_run": options["dry_run"],
                    "cancelled": report.cancelled,
                    "requested": report.requested,
                    "already_finished": report.finished,
                    "not_found": report.missing,
                }
            )
            return
        if options["dry_run"]:
            text = ngettext("Would cancel %(n)d job", "Would cancel %(n)d jobs", report.total)
        else:
            text = ngettext("Cancelled %(n)d job", "Cancelled %(n)d jobs", report.total)
        if running := len(report.requested):
            text += ngettext(", of which %(running)d runs", ", of which %(running)d run", running)
        self.stdout.write(text % {"n": report.total, "running": running} + ".")
        if finished := len(report.finished):
            text = ngettext("%(n)d job had ended already.", "%(n)d jobs had ended already.", finished)
            self.stdout.write(text % {"n": finished})
