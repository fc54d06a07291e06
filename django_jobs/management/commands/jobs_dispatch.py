"""`jobs_dispatch`: enqueue from the shell."""

from __future__ import annotations

import json
import sys
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ...api import JobRef, Jobs
from ...definition import UNSET, JobBuilder, JobDefinition
from ...exceptions import InvalidDefinition, JobNotFound, UnknownHandler
from ..base import USAGE, JobsCommand, at_least_one, moment

SLICE = 1000
OPTIONS = ("queue", "delay", "available_at", "priority", "max_attempts", "timeout", "id")
LABELS = ("name", "reference", "group", "tags")


class Command(JobsCommand):
    """Enqueue a job, or many alike."""

    about = gettext_lazy("Enqueue jobs of a handler and print their ids.")

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        option = partial(parser.add_argument, default=SUPPRESS)  # not given is not the same as none
        add("handler", help=_("The handler's key, as in JOBS."))
        add(
            "--payload",
            default="null",
            metavar="JSON",
            help=_("The payload as JSON; @FILE reads it from a file, - from standard input. Default: null."),
        )
        option("--queue", metavar="Q", help=_("The queue. Default: the handler's, else the site's."))
        option("--delay", metavar="S", help=_("Not before this long from now: seconds, or a text such as 10m."))
        option(
            "--at",
            type=moment,
            dest="available_at",
            metavar="DATETIME",
            help=_("Not before this moment in ISO 8601; without an offset, in the site's time zone."),
        )
        option("--priority", type=int, metavar="N", help=_("From -100 to 100, bigger first."))
        option("--max-attempts", type=int, metavar="N", help=_("How often it may run in all."))
        option("--timeout", type=_timeout, metavar="S", help=_("End an attempt after this long; none is no limit."))
        option("--id", metavar="UUID", help=_("Its id. With one, a repeat of the command enqueues nothing more."))
        option("--name", help=_("A name for people."))
        option("--reference", metavar="R", help=_("What it is about in your terms."))
        option("--group", metavar="G", help=_("A group to filter by."))
        option("--tag", dest="tags", action="append", metavar="T", help=_("A tag. May be repeated."))
        add("--count", type=at_least_one, default=1, metavar="N", help=_("Enqueue so many, all alike. Default: 1."))
        add("--sync", action="store_true", help=_("Run it here and now instead. The exit code is 1 if it fails."))
        add("--dry-run", action="store_true", help=_("Enqueue nothing; check everything, and say what it would be."))
        self.add_json(parser)
        self.add_backend(parser)

    def run(self, **options: Any) -> None:
        self.backend(options)  # one that does not exist is no usage error, but a thing that is not there
        given = {option: options[option] for option in (*OPTIONS, *LABELS) if options.get(option, UNSET) is not UNSET}
        if "id" in given and options["count"] > 1:
            self.usage_error(_("--id names one job, so it can't go with --count"))
        if "delay" in given and "available_at" in given:
            self.usage_error(_("give --delay or --at, not both"))
        if options["backend"]:
            given["backend"] = options["backend"]
        ids: list[str] = []
        try:
            job = Jobs.define(options["handler"], payload(options["payload"])).with_options(source="cli", **given)
            planned = Jobs.prepare(job)
            if not options["dry_run"]:
                for ref in self.dispatched(job, options["count"], here=options["sync"]):
                    ids.append(ref)
                    if not options["json"]:
                        self.stdout.write(ref)
        except (InvalidDefinition, UnknownHandler) as error:
            raise CommandError(str(error), returncode=USAGE) from error
        self.note_unknown_queues([planned.queue])
        self.report(planned, ids, options)

    def dispatched(self, job: JobBuilder, count: int, *, here: bool) -> Iterator[JobRef]:
        """The references of `count` such jobs, as they are enqueued, or run."""
        if here:
            yield from (self.run_here(job) for _number in range(count))
        elif count == 1:
            yield Jobs.dispatch(job)
        else:
            for done in range(0, count, SLICE):
                yield from Jobs.dispatch_many([job] * min(SLICE, count - done))
                self.count(min(done + SLICE, count))
            self.count(None)

    def run_here(self, job: JobBuilder) -> JobRef:
        """Run it now. Ends with 1 where it fails."""
        ref = Jobs.dispatch_sync(job)
        with suppress(JobNotFound):  # its record may be one that is not kept
            record = ref.refresh()
            if record.state != "completed":
                facts = {"id": ref, "state": record.state, "why": f"{record.reason}: {record.error_message}"}
                raise CommandError(_("Job %(id)s is %(state)s (%(why)s).") % facts)
        return ref

    def report(self, planned: JobDefinition, ids: list[str], options: dict[str, Any]) -> None:
        """Say what was done, or would be."""
        job = {
            "handler": planned.handler,
            "queue": planned.queue,
            "backend": planned.backend,
            "priority": planned.priority,
            "delay": planned.delay,
            "available_at": planned.available_at,
            "max_attempts": planned.max_attempts,
            "timeout": planned.timeout,
        }
        if options["json"]:
            self.print_json({"dry_run": options["dry_run"], "ids": ids, "count": options["count"], "job": job})
        elif options["dry_run"]:
            count = options["count"]
            text = ngettext(
                "Would enqueue %(n)d job of %(handler)s on queue '%(queue)s'.",
                "Would enqueue %(n)d jobs of %(handler)s on queue '%(queue)s'.",
                count,
            )
            self.stdout.write(text % {"n": count, "handler": planned.handler, "queue": planned.queue})


def payload(text: str) -> Any:
    """A payload from JSON, `@file`, or `-` for standard input. Raises `InvalidDefinition`."""
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text("utf-8")
        return json.loads(text)
    except OSError as error:
        raise InvalidDefinition(_("payload: can't be read: %(error)s.") % {"error": error}) from None
    except (ValueError, RecursionError) as error:
        raise InvalidDefinition(
            _("payload: this is not JSON (%(error)s). A text needs quotes of its own: '\"text\"'.") % {"error": error}
        ) from None


def _timeout(text: str) -> str | None:
    return None if text.lower() == "none" else text
