"""`jobs_test`: enqueue canned jobs, to try a worker out."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ...maintenance.canned import ALIASES, KINDS, OUTCOMES, Canned, await_all, dispatch
from ..base import JobsCommand, at_least_one, queue_name, seconds_above_zero

WAIT_SECONDS = 60.0


class Command(JobsCommand):
    """Enqueue jobs whose outcome is known."""

    about = gettext_lazy(
        "Enqueue canned jobs that succeed, fail, take too long or are cancelled, to try a worker out. Where DEBUG is "
        "False it wants --force."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "kinds",
            nargs="+",
            choices=[*KINDS, "all", *ALIASES],
            metavar="kind",
            help=_("success, failed, timeout, cancel_requested, cancelled, or all. Also: %(aliases)s.")
            % {"aliases": ", ".join(ALIASES)},
        )
        parser.add_argument("--queue", type=queue_name, metavar="Q", help=_("The queue. Default: the site's first."))
        parser.add_argument(
            "--count", type=at_least_one, default=1, metavar="N", help=_("So many of each. Default: 1.")
        )
        parser.add_argument(
            "--wait",
            type=seconds_above_zero,
            nargs="?",
            const=WAIT_SECONDS,
            metavar="SECONDS",
            help=_(
                "Wait for their outcomes, at most this long (60 where no number is given), and end with 1 where one "
                "is not what it should be."
            ),
        )
        self.add_for_trials(parser)
        self.add_json(parser)
        self.add_backend(parser)

    def run(self, **options: Any) -> None:
        self.refuse_in_production(options)
        queue, backend = self.queue_and_backend(options)
        named = [ALIASES.get(kind, kind) for kind in options["kinds"]]
        kinds = KINDS if "all" in named else tuple(dict.fromkeys(named))
        jobs = [dispatch(backend, kind, queue) for kind in kinds for _number in range(options["count"])]
        if options["wait"] is None:
            self.report(jobs, queue, options)
            return
        all_ended = await_all(jobs, options["wait"], lambda job: None if options["json"] else self.tell(job))
        if options["json"]:
            self.print_json(self.as_json(jobs, queue))
        else:
            for job in jobs:
                if not job.is_finished:
                    self.tell(job)
        if not all_ended:
            raise CommandError(
                _("Not all have come to an end. Does a worker of the queue '%(queue)s' run?") % {"queue": queue}
            )
        if wrong := sum(not job.is_as_expected for job in jobs):
            raise CommandError(_("%(n)d came to another end than they should.") % {"n": wrong})

    def report(self, jobs: list[Canned], queue: str, options: dict[str, Any]) -> None:
        """What was enqueued, and how to watch it."""
        if options["json"]:
            self.print_json(self.as_json(jobs, queue))
            return
        for job in jobs:
            self.stdout.write(f"{job.kind:<17} {job.ref}")
        self.stdout.write(
            _(
                "Run them, and watch:  manage.py jobs_work %(queue)s --show=tui\n"
                "See what they became: manage.py jobs_stats --queue %(queue)s, or the admin"
            )
            % {"queue": queue}
        )

    def tell(self, job: Canned) -> None:
        """What a job came to."""
        state = _("nowhere") if job.record is None else job.record.state
        reason = "" if job.record is None or not job.record.reason else f" ({job.record.reason})"
        text = f"{job.kind:<17} {job.ref}  {state}{reason}"
        if job.is_as_expected:
            self.stdout.write(text)
        else:
            wanted = " ".join(filter(None, OUTCOMES[job.kind]))
            self.stdout.write(f"{text}  " + self.style.ERROR(_("should be: %(state)s") % {"state": wanted}))

    def as_json(self, jobs: list[Canned], queue: str) -> dict[str, Any]:
        """All of it, for machines."""
        return {
            "queue": queue,
            "jobs": [
                {
                    "kind": job.kind,
                    "id": str(job.ref),
                    "expected": dict(zip(("state", "reason"), OUTCOMES[job.kind], strict=True)),
                    "state": None if job.record is None else job.record.state,
                    "reason": None if job.record is None else job.record.reason,
                    "ok": job.is_as_expected if job.is_finished else None,
                }
                for job in jobs
            ],
        }
