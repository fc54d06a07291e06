"""`jobs_delete`: delete jobs by id or filter."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ...backends import Backend
from ...maintenance.delete import BATCH, DeleteReport, delete_ids, delete_selected
from ...maintenance.selection import Selection
from ...maintenance.states import EVERY, RUNNING
from ...store import store_of
from ..base import JobsCommand, job_id


class Command(JobsCommand):
    """Delete jobs by their ids or by a filter."""

    about = gettext_lazy(
        "Delete jobs, whether they wait or have finished: those with the ids given, or those of a filter. Running jobs "
        "are deleted only with --force; to end one, cancel it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("ids", nargs="*", type=job_id, metavar="id", help=_("Ids of jobs."))
        self.add_queues(parser)
        self.add_states(
            parser, _("Only jobs in this state: %(states)s. May be repeated.") % {"states": ", ".join(EVERY)}
        )
        self.add_filters(
            parser,
            older_than=_(
                "Only jobs that finished longer ago than this, or that were enqueued longer ago and have not finished: "
                "seconds, or a text such as 7d."
            ),
        )
        parser.add_argument("--all", action="store_true", help=_("Every job, where no filter is given."))
        parser.add_argument("--force", action="store_true", help=_("Running jobs too. What they do is not undone."))
        parser.add_argument("--dry-run", action="store_true", help=_("Delete nothing; say how many there are."))
        parser.add_argument(
            *("--no-input", "--noinput"), dest="no_input", action="store_true", help=_("Delete without asking.")
        )
        self.add_batch_size(parser, BATCH)
        self.add_json(parser)
        self.add_backend(parser)

    def run(self, **options: Any) -> None:
        ids = list(dict.fromkeys(options["ids"]))
        chosen = self.selection(options)
        filtered = chosen != Selection() or options["all"]
        if ids and filtered:
            self.usage_error(_("give ids or a filter, not both"))
        if not ids and not filtered:
            self.usage_error(_("give ids of jobs, a filter or --all"))
        backend = self.backend(options)
        if ids:
            report = delete_ids(backend, ids, force=options["force"], dry_run=options["dry_run"])
        else:
            report = self.delete_selected(backend, chosen, options)
        self.report(report, options)
        if ids and (report.missing or report.running):
            raise CommandError(_("Not every job could be deleted."))

    def selection(self, options: dict[str, Any]) -> Selection:
        """The filter that was asked for."""
        states = self.states_meant(options["states"], EVERY)
        if not options["force"] and set(states) & set(RUNNING):
            self.usage_error(_("running jobs are deleted only with --force"))
        return Selection(
            states=states or None,
            queues=options["queues"],
            handler=options["handler"],
            group=options["group"],
            tag=options["tag"],
            older_than=options["older_than"],
        )

    def delete_selected(self, backend: Backend, chosen: Selection, options: dict[str, Any]) -> DeleteReport:
        """Delete the jobs of a filter, after asking."""
        if store_of(backend) is None:
            raise CommandError(
                _("The backend '%(backend)s' keeps no jobs in a database: give ids.") % {"backend": backend.alias}
            )
        if not options["dry_run"] and not options["no_input"]:
            self.ask(delete_selected(backend, chosen, force=options["force"], dry_run=True).total)
        report = delete_selected(
            backend,
            chosen,
            force=options["force"],
            dry_run=options["dry_run"],
            batch_size=options["batch_size"],
            progress=self.count,
        )
        self.count(None)
        return report

    def ask(self, count: int) -> None:
        """Ask before many jobs go at once."""
        question = ngettext("Delete %(n)d job?", "Delete %(n)d jobs?", count) % {"n": count}
        self.ask_first(question if count else "", _("Nothing was deleted."), _("delete"))

    def report(self, report: DeleteReport, options: dict[str, Any]) -> None:
        """Say what became of the jobs."""
        for missing in report.missing:
            self.complain(_("No job has the id %(id)s.") % {"id": missing})
        if report.running:
            text = ngettext(
                "%(n)d job is running, and is left. Cancel it, or give --force.",
                "%(n)d jobs are running, and are left. Cancel them, or give --force.",
                report.running,
            )
            self.complain(text % {"n": report.running})
        if options["json"]:
            self.print_json(
                {
                    "dry_run": options["dry_run"],
                    "deleted": report.deleted,
                    "total": report.total,
                    "running": report.running,
                    "not_found": report.missing,
                }
            )
            return
        if options["dry_run"]:
            text = ngettext("Would delete %(n)d job.", "Would delete %(n)d jobs.", report.total)
        else:
            text = ngettext("Deleted %(n)d job.", "Deleted %(n)d jobs.", report.total)
        self.stdout.write(text % {"n": report.total})
