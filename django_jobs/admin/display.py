"""How values look in the admin: what comes from a job is escaped, bounded, and redacted where it has names."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from django.utils import formats, timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ..models import JobEvent
from ..redaction import redact, redact_text

EMPTY = "-"
MOST_CHARACTERS = 70_000


def pre(text: str) -> str:
    """`text` line by line, without secrets."""
    return _block(redact_text(text[: MOST_CHARACTERS + 1]))


def pretty(value: Any) -> str:
    """A JSON value, indented and redacted."""
    return _block(json.dumps(redact(value), ensure_ascii=False, indent=2))


def _block(text: str) -> str:
    if not text:
        return EMPTY
    if len(text) > MOST_CHARACTERS:
        text = text[:MOST_CHARACTERS] + " …"
    return format_html('<pre class="jobs-text">{}</pre>', text)


def short_id(value: uuid.UUID) -> SafeString:
    """An id in a list: its start, which is its time, and its end; the whole of it as the title."""
    text = str(value)
    return format_html('<span class="jobs-id" title="{}">{}…{}</span>', text, text[:8], text[-6:])


def last_name(dotted: str) -> str:
    """`ValueError` of `builtins.ValueError`."""
    return dotted.rpartition(".")[2] or EMPTY


def badge(state: str, label: Any) -> SafeString:
    """A state, in the colour of its kind."""
    return format_html('<span class="jobs-state jobs-state-{}">{}</span>', state, label)


def hidden() -> str:
    """In the place of what the user may not see."""
    return _("hidden: the permission to see payloads and results is needed")


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """A table of cells that are escaped unless they are safe; a dash where there are no rows."""
    cells = [format_html_join("", "<td>{}</td>", ((cell,) for cell in row)) for row in rows]
    if not cells:
        return EMPTY
    return format_html(
        '<div class="jobs-scroll"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>',
        format_html_join("", '<th scope="col">{}</th>', ((title,) for title in head)),
        format_html_join("", "<tr>{}</tr>", ((row,) for row in cells)),
    )


def moment(value: datetime | str | None) -> str:
    """A moment in the user's time zone, to the second; texts are taken as ISO 8601, or left as they are."""
    if isinstance(value, str):
        with suppress(ValueError, OverflowError):
            value = parse_datetime(value) or value
    if not isinstance(value, datetime):
        return str(value or EMPTY)
    try:
        local = timezone.localtime(value) if timezone.is_aware(value) else value
    except OverflowError:  # at the ends of time
        local = value
    return format_html('<span class="jobs-moment">{}</span>', f"{local:%Y-%m-%d %H:%M:%S}")


def span(seconds: Any) -> str:
    """A run time."""
    if not isinstance(seconds, int | float):
        return EMPTY
    if seconds < 1:
        return _("%(n)s ms") % {"n": formats.number_format(round(seconds * 1000, 1), use_l10n=True)}
    return _("%(n)s s") % {"n": formats.number_format(round(seconds, 2), use_l10n=True)}


def attempts(entries: Iterable[Any]) -> str:
    """What became of earlier attempts, as a table."""
    head = [_("attempt"), _("outcome"), _("started at"), _("run time"), _("error"), _("then"), _("worker")]
    return table(head, (_attempt(entry) for entry in entries if isinstance(entry, dict)))


def _attempt(entry: dict[str, Any]) -> list[Any]:
    error = _message(redact_text(" ".join(str(part) for part in (entry.get("error"), entry.get("message")) if part)))
    if trace := entry.get("traceback"):
        error = format_html("<details><summary>{}</summary>{}</details>", error, pre(str(trace)))
    return [
        entry.get("attempt", EMPTY),
        entry.get("outcome", EMPTY),
        moment(entry.get("started_at")),
        span(entry.get("seconds")),
        error,
        entry.get("then") or EMPTY,
        str(entry.get("worker") or EMPTY)[:8],
    ]


def timeline(events: Iterable[JobEvent]) -> str:
    """The events of a job, as a table."""
    rows = ((moment(event.at), event.type, _message(redact_text(event.message)), _data(event.data)) for event in events)
    return table([_("at"), _("event"), _("message"), _("data")], rows)


def _message(text: str) -> str:
    """A text of any length in a cell, line by line."""
    return format_html('<span class="jobs-message">{}</span>', text) if text else EMPTY


def _data(data: Any) -> str:
    """A row has few facts, each short: `attempt: 2`."""
    if not isinstance(data, dict) or not data:
        return pretty(data) if data else EMPTY
    return ", ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in redact(data).items())
