"""`jobs_run_job`: run one job here, for debugging."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ... import registry
from ...backends import Backend
from ...worker.foreground import run_job
from ...worker.json_lines import JsonLines
from ...worker.lines import DETAILED, Lines
from ..base import JobsCommand, job_id


class Command(JobsCommand):
    """Claim one job, run it in this process, and write its outcome."""

    about = gettext_lazy(
        "Claim one job, run it in this process with its lease renewed, and write its outcome: jobs can be debugged "
        "so. It ends with 0 once an outcome is written, whatever it is, and says which."
    )
    outlasts_readers = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=job_id, help=_("The id of the job."))
        parser.add_argument(
            "--force", action="store_true", help=_("Run it before its due time, and though its queue is paused.")
        )
        self.add_json(parser)
        self.add_backend(parser)

    def run(self, **options: Any) -> None:
        backend = self.backend(options)
        job = backend.get(options["id"])
        if job is None or job.is_finished:
            raise CommandError(why_not(backend, options["id"]))
        registry.get(job.handler)  # what can't be loaded is said before the job is touched
        settlement = run_job(backend, job.id, force=options["force"])
        if settlement is None:
            raise CommandError(why_not(backend, job.id))
        if settlement.error is not None and settlement.error.traceback:
            self.stderr.write(settlement.error.traceback, style_func=str)
        stream: Any = self.stdout
        console = JsonLines(stream) if options["json"] else Lines(stream, detail=DETAILED)
        console.settled([settlement])


def why_not(backend: Backend, job_id: str) -> str:
    """Why a job can't be run just now, with what to do."""
    job = backend.get(job_id)
    if job is None:
        return _("No job has the id %(id)s.") % {"id": job_id}
    facts = {"id": job.id, "state": job.state, "queue": job.queue, "worker": job.worker_id, "due": job.available_at}
    if job.state == "failed":
        text = _("Job %(id)s has failed already. Make it wait again first: manage.py jobs_retry %(id)s")
    elif job.is_finished:
        text = _("Job %(id)s is %(state)s already.")
    elif job.state in ("running", "cancel_requested"):
        text = _("Job %(id)s is running: worker %(worker)s has it.")
    elif job.state == "scheduled":
        text = _("Job %(id)s is not due before %(due)s. Give --force to run it now.")
    elif any(numbers.paused for numbers in backend.stats([job.queue])):
        text = _("The queue '%(queue)s' is paused. Give --force to run job %(id)s all the same.")
    else:
        text = _("Job %(id)s is %(state)s, and could not be claimed.")
    return text % facts
