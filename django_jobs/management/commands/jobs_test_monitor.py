"""`jobs_test_monitor`: make jobs that are stuck, to see the reaper resolve them."""

from __future__ import annotations

from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.core.management.base import CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ...maintenance.reap import reap
from ...maintenance.stuck import Stuck, await_all, seed
from ...store import store_of
from ..base import JobsCommand, queue_name

WAIT_SECONDS = 30.0


class Command(JobsCommand):
    """Seed stuck jobs."""

    about = gettext_lazy(
        "Make stuck jobs, one in each shape in which a job can be stuck, and say what the reaper makes of it. Where "
        "DEBUG is False it wants --force."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("queue", nargs="?", type=queue_name, help=_("On which queue. Default: the site's first."))
        parser.add_argument(
            "--reap",
            action="store_true",
            help=_("Reap that queue until each has become something, and end with 1 where that is another thing."),
        )
        self.add_for_trials(parser)
        self.add_json(parser)
        self.add_backend(parser)

    def run(self, **options: Any) -> None:
        self.refuse_in_production(options)
        queue, backend = self.queue_and_backend(options)
        store = store_of(backend)
        if store is None:
            raise CommandError(
                _("The backend '%(backend)s' keeps its jobs in no database.") % {"backend": backend.alias}
            )
        jobs = seed(store, queue)
        resolved = options["reap"] and await_all(store, jobs, partial(reap, backend, [queue]), WAIT_SECONDS)
        if options["json"]:
            self.print_json({"queue": queue, "jobs": [as_json(job) for job in jobs]})
        else:
            for job in jobs:
                self.tell(job)
        if not options["reap"]:
            if not options["json"]:
                self.stdout.write(
                    _("Resolve them: manage.py jobs_reap %(queue)s. A worker does it by itself.") % {"queue": queue}
                )
        elif not resolved or not all(job.is_as_expected for job in jobs):
            raise CommandError(_("Not every job has become what it should."))

    def tell(self, job: Stuck) -> None:
        """A line for a job: what it is, and what becomes of it, or has."""
        becomes = " ".join(filter(None, (job.shape.becomes, job.shape.reason)))
        self.stdout.write(f"{job.shape.name:<17} {job.id}  {job.shape.about}")
        text = _("becomes %(state)s") if not job.state else _("became %(now)s")
        if job.shape.lease_seconds and not job.state:
            text = _("is left alone for %(seconds)g s, as long as that lasts, then becomes %(state)s")
        now = " ".join(filter(None, (job.state, job.reason)))
        line = text % {"state": becomes, "now": now, "seconds": job.shape.lease_seconds}
        if job.state and not job.is_as_expected:
            line = self.style.ERROR(line + _(", and should be %(state)s") % {"state": becomes})
        self.stdout.write(f"{'':17} {line}")


def as_json(job: Stuck) -> dict[str, Any]:
    """A job, for machines."""
    return {
        "shape": job.shape.name,
        "id": job.id,
        "becomes": job.shape.becomes,
        "reason": job.shape.reason,
        "state": job.state or None,
        "ok": job.is_as_expected if job.state else None,
    }
