"""`jobs_pause`: let workers claim nothing from queues, until they are resumed."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ...backends import get_backend
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
        named = list(dict.fromkeys(name for some in (*options["names"], options["queues"] or []) for name in some))
        if bool(named) is options["all"]:
            self.usage_error(_("Name queues, or give --all."))
        stores = self.kept(named, options["backend"]) if named else self.every_queue(options["backend"])
        done = []
        for alias, names in stores.items():
            changed = get_backend(alias).set_paused(names, paused=self.paused)
            done += [(name, name in changed) for name in names]
        if options["json"]:
            queues = [{"queue": name, "changed": is_changed} for name, is_changed in done]
            self.print_json({"paused": self.paused, "queues": queues})
            return
        for name, is_changed in done:
            self.stdout.write(str(self.said[not is_changed]) % {"queue": name})

    def kept(self, queues: list[str], only: str | None) -> dict[str, list[str]]:
        """These queues by the backend that keeps them; ends with 1 where there is no such queue."""
        found: dict[str, list[str]] = {}
        for name in queues:
            backend = get_backend(only or conf.backend_of(name))
            if not backend.supports.claim:
                text = _("The backend '%(backend)s' keeps no jobs, so there is nothing to pause.")
                raise CommandError(text % {"backend": backend.alias})
            if name not in conf.queue_names():
                (numbers,) = backend.stats([name])
                if not numbers.counts and not numbers.paused:
                    raise CommandError(_("There is no queue '%(queue)s'.") % {"queue": name})
            found.setdefault(backend.alias, []).append(name)
        return found

    def every_queue(self, only: str | None) -> dict[str, list[str]]:
        """The queues that are configured, have jobs or are paused, by the backend that keeps them."""
        aliases = [only] if only else sorted({conf.default_backend, *map(conf.backend_of, conf.queue_names())})
        found = {}
        for backend in map(get_backend, aliases):
            if backend.supports.claim:
                stored = (numbers.queue for numbers in backend.stats())
                found[backend.alias] = list(dict.fromkeys([*conf.queues_of(backend.alias), *stored]))
        return found
