"""`jobs_cronjob_history`: the latest ticks of an entry."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ...backends import JobRecord
from ...models import ScheduleTick, TickState
from ...redaction import redact
from ...scheduler.desk import make_desk
from ...scheduler.ledger import Ledger
from ..base import age, at_least_one, label, table
from ..cron import CronCommand, shown

LIMIT = 5


class Command(CronCommand):
    """Print the latest ticks of an entry."""

    about = gettext_lazy(
        "Print the latest ticks of an entry of the schedule and what became of them, the latest first."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", type=label("name"), help=_("The name of the entry."))
        parser.add_argument(
            "--limit",
            type=at_least_one,
            default=LIMIT,
            metavar="N",
            help=_("At most so many. Default: %(n)d.") % {"n": LIMIT},
        )
        self.add_states(parser, _("Only ticks in this state: %(states)s.") % {"states": ", ".join(TickState.values)})
        parser.add_argument("--full", action="store_true", help=_("With the job of each, and the errors in full."))
        parser.add_argument(
            "--payload", action="store_true", help=_("With the payload of each job, where there is a record of it.")
        )
        parser.add_argument(
            "--extended",
            action="store_true",
            help=_("With what is recorded of each job: handler, queue, attempts, how long it waited, result, error."),
        )
        self.add_json(parser)

    def run(self, **options: Any) -> None:
        states = options["states"] or []
        for state in states:
            if state not in TickState.values:
                facts = {"state": state[:80], "states": ", ".join(TickState.values)}
                self.usage_error(_("%(state)r is no state of a tick. There are: %(states)s") % facts)
        desk = make_desk()
        desk.schedule.refresh()
        found = desk.ledger.history(options["name"], states=states, limit=options["limit"])
        if not found and not desk.ledger.history(options["name"], limit=1):
            self.chosen(desk, [options["name"]])
        more = {kind for kind in ("payload", "extended") if options[kind]}
        if options["json"]:
            ticks = [as_json(desk.ledger, tick) | of_its_job(desk.ledger, tick, more) for tick in found]
            self.print_json({"entry": options["name"], "ticks": ticks})
            return
        if not found:
            self.stdout.write(_("No tick yet."))
            return
        lines = table([[_("due at"), _("state"), _("took"), _("why")], *(cells(desk.ledger, tick) for tick in found)])
        self.stdout.write(lines[0])
        for line, tick in zip(lines[1:], found, strict=True):
            self.print_line(line)
            for detail in self.details(desk.ledger, tick, full=options["full"], more=more):
                self.print_line(f"    {detail}")

    def details(self, ledger: Ledger, tick: ScheduleTick, *, full: bool, more: set[str]) -> Iterator[str]:
        """The job of a tick, what is recorded of it, and what went wrong."""
        if tick.job_id and (full or more):
            yield _("job %(id)s") % {"id": tick.job_id}
        recorded = of_its_job(ledger, tick, more)
        if "payload" in recorded:
            yield _("payload: %(value)s") % {"value": as_text(recorded["payload"])}
        for name, value in (recorded.get("job") or {}).items():
            if value not in (None, ""):
                yield f"{name}: {as_text(value)}"
        if full:
            yield from tick.notes.splitlines()


def as_text(value: Any) -> str:
    """A fact in a line: a text of one line as it is, everything else as JSON."""
    is_plain = isinstance(value, str) and value.isprintable()
    return str(value) if is_plain else json.dumps(value, ensure_ascii=False, default=str)


def cells(ledger: Ledger, tick: ScheduleTick) -> list[str]:
    """A line of the table."""
    why = tick.reason
    if tick.passed_over:
        more = ngettext("%(n)d tick before it too", "%(n)d ticks before it too", tick.passed_over)
        why = f"{why}, {more % {'n': tick.passed_over}}"
    return [shown(ledger.aware(tick.instant)), str(tick.get_state_display()), age(_seconds(tick)), why]


def of_its_job(ledger: Ledger, tick: ScheduleTick, kinds: set[str]) -> dict[str, Any]:
    """What is recorded of a tick's job, without secrets: its `payload`, `extended` facts. None: no record is left."""
    if not kinds:
        return {}
    job = ledger.job_of(tick)
    found: dict[str, Any] = {}
    if "payload" in kinds:
        found["payload"] = redact(job.definition.payload) if job and job.definition else None
    if "extended" in kinds:
        found["job"] = facts_of(job) if job else None
    return found


def facts_of(job: JobRecord) -> dict[str, Any]:
    """What is recorded of a job beside its payload."""
    waited = None
    if job.started_at is not None and job.available_at is not None:
        waited = max((job.started_at - job.available_at).total_seconds(), 0.0)
    return {
        "state": job.state,
        "handler": job.handler,
        "queue": job.queue,
        "priority": job.priority,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "crashes": job.crashes,
        "worker_id": job.worker_id,
        "waited_seconds": waited,
        "result": redact(job.result),
        "error_class": job.error_class,
        "error_message": job.error_message,
    }


def _seconds(tick: ScheduleTick) -> float | None:
    if tick.started_at is None or tick.finished_at is None:
        return None
    return float((tick.finished_at - tick.started_at).total_seconds())


def as_json(ledger: Ledger, tick: ScheduleTick) -> dict[str, Any]:
    """A tick, for `--json`."""

    def moment(name: str) -> str | None:
        at = ledger.aware(getattr(tick, name))
        return None if at is None else at.isoformat()

    return {
        "due_at": moment("instant"),
        "state": tick.state,
        "reason": tick.reason,
        "passed_over": tick.passed_over,
        "job_id": None if tick.job_id is None else str(tick.job_id),
        "decided_at": moment("decided_at"),
        "started_at": moment("started_at"),
        "finished_at": moment("finished_at"),
        "seconds": _seconds(tick),
        "notes": tick.notes,
    }
