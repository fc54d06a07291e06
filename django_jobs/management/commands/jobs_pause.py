"""`jobs_pause`: let workers claim nothing from queues, until they are resumed."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ...backends import Backend
from ...conf import conf
from ..base import JobsCommand, queue_names


class Command(JobsCommand):
    """Pause queues."""

    about = gettext_lazy("Pause queues: they take jobs, and workers claim none within a second. What runs goes on.")
    paused = True
    said = (gettext_lazy("Queue '%(queue)s' is paused."), gettext_lazy("Queue '%(queue)s' was paused already."))

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="*", type=queue_names, metavar="queue", help=_("The queues."))
        self.add_queues(parser)
        parser.add_argument("--all", action="store_true", help=_("Every queue that is configured or has jobs."))
        self.add_json(parser)
        self.add_backend(parser)

    def run(self, **options: Any) -> None:
        backend = self.backend(options)
        named = [name for some in (*options["names"], options["queues"] or []) for name in some]
        if bool(named) is options["all"]:
            self.usage_error(_("Name queues, or give --all."))
        if not backend.supports.claim:
            raise CommandError(
                _("The backend '%(backend)s' keeps no jobs, so there is nothing to pause.") % {"backend": backend.alias}
            )
        names = list(dict.fromkeys(named)) or known_queues(backend)
        for name in set(named) - set(conf.queue_names()):
            (numbers,) = backend.stats([name])
            if not numbers.counts and not numbers.paused:
                raise CommandError(_("There is no queue '%(queue)s'.") % {"queue": name})
        changed = backend.set_paused(names, paused=self.paused)
        if options["json"]:
            queues = [{"queue": name, "changed": name in changed} for name in names]
            self.print_json({"paused": self.paused, "queues": queues})
            return
        for name in names:
            self.stdout.write(str(self.said[name not in changed]) % {"queue": name})


def known_queues(backend: Backend) -> list[str]:
    """The queues that are configured for this backend, have jobs or are paused."""
    configured = [
        name for name in conf.queue_names() if (conf.queue(name).backend or conf.default_backend) == backend.alias
    ]
    return list(dict.fromkeys([*configured, *(numbers.queue for numbers in backend.stats())]))
