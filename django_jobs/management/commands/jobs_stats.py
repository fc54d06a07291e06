"""`jobs_stats`: the numbers of the queues."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext

from ...backends import QueueStats
from ...conf import conf
from ...maintenance.stats import STATES, LongRunning, Numbers, gather
from ..base import JobsCommand, age, aligned


class Command(JobsCommand):
    """Print the numbers of the queues."""

    about = gettext_lazy(
        "Print how many jobs each queue has in each state, how long the oldest one waits, and what runs too long."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_queues(parser)
        self.add_json(parser)
        self.add_backend(parser)

    def run(self, **options: Any) -> None:
        asked = list(dict.fromkeys(options["queues"] or ())) or None
        numbers = gather(self.backend(options), asked)
        for queue in numbers.queues if asked else ():
            if not queue.counts and not queue.paused and queue.queue not in conf.queue_names():
                raise CommandError(_("There is no queue '%(queue)s'.") % {"queue": queue.queue})
        if options["json"]:
            self.print_json(_as_json(numbers))
            return
        for line in _table(numbers):
            self.stdout.write(line)
        if numbers.workers_alive is not None:
            self.stdout.write(_("Workers alive: %(n)d") % {"n": numbers.workers_alive})
        for job in numbers.long_running:
            self.stdout.write(self.style.WARNING(_warning(job)))


def _table(numbers: Numbers) -> list[str]:
    shown = [state for state in STATES if state != "blocked" or numbers.totals["blocked"]]
    titles = {
        "pending": _("pending"),
        "scheduled": _("scheduled"),
        "blocked": _("blocked"),
        "running": _("running"),
        "cancel_requested": _("cancel requested"),
        "failed": _("failed"),
        "completed": _("completed"),
        "cancelled": _("cancelled"),
    }
    head = [_("queue"), *(titles[state] for state in shown), _("oldest pending"), _("paused")]
    rows = [[q.queue, *(str(q.counts.get(state, 0)) for state in shown), *_tail(q)] for q in numbers.queues]
    oldest = max(
        (q.oldest_pending_seconds for q in numbers.queues if q.oldest_pending_seconds is not None), default=None
    )
    paused = sum(q.paused for q in numbers.queues)
    total = [
        pgettext("sum of a table", "total"),
        *(str(numbers.totals[state]) for state in shown),
        age(oldest),
        str(paused) if paused else "-",
    ]
    return aligned([head, *rows, total])


def _tail(queue: QueueStats) -> list[str]:
    return [age(queue.oldest_pending_seconds), _("yes") if queue.paused else "-"]


def _warning(job: LongRunning) -> str:
    return _(
        "Warning: job %(id)s (%(handler)s, queue '%(queue)s') has run for %(age)s; its timeout is %(timeout)s."
    ) % {
        "id": job.id,
        "handler": job.handler,
        "queue": job.queue,
        "age": age(job.seconds),
        "timeout": ngettext("%(n)g second", "%(n)g seconds", int(job.timeout)) % {"n": job.timeout},
    }


def _as_json(numbers: Numbers) -> dict[str, Any]:
    return {
        "queues": [
            {
                "queue": queue.queue,
                **{state: queue.counts.get(state, 0) for state in STATES},
                "oldest_pending_seconds": queue.oldest_pending_seconds,
                "paused": queue.paused,
            }
            for queue in numbers.queues
        ],
        "totals": numbers.totals,
        "workers_alive": numbers.workers_alive,
        "long_running": [job._asdict() for job in numbers.long_running],
    }
