"""What a timing and a tick say to people. Expressions are put into words by `cron-descriptor`, the extra `cron`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from django.utils.translation import get_language, to_locale
from django.utils.translation import gettext as _

from .cron import Cron
from .ticks import Edge, Tick
from .timing import Timing, Window


def in_words(timing: Timing) -> str:
    """The timing as a sentence in the active language; empty where `cron-descriptor` is missing or says it wrong."""
    if timing.at is not None:
        return _("Once, at %(moment)s") % {"moment": f"{timing.at.astimezone(timing.zone):%Y-%m-%d %H:%M:%S}"}
    sentences = [describe(cron) for cron in timing.crons]
    if not all(sentences):
        return ""
    return ", ".join(["; ".join(sentences), *map(_window, timing.windows)])


def describe(cron: Cron) -> str:
    """An expression as a sentence; empty where there is none, or none that would be right."""
    try:
        descriptor = import_module("cron_descriptor")
    except ImportError:
        return ""
    minute, hour, day, month, weekday, *second = cron.fields
    needs_both = day not in "*?" and weekday not in "*?" and not cron.days.either
    if needs_both or ("," in day and "l" in day.lower()) or ("," in weekday and "#" in weekday):
        return ""
    options = descriptor.Options()
    options.use_24hour_time_format = True
    options.locale_code = _locale(descriptor)
    text = " ".join((*second, minute, hour, day, month, weekday))
    try:
        return str(descriptor.get_description(text, options))
    except Exception:  # what it raises differs between its releases, and no words are worth a failure
        return ""


def edge_in_words(tick: Tick) -> str:
    """What the clock did at a tick; empty where it did nothing."""
    if tick.edge is Edge.GAP and tick.meant is not None:
        return _("the clock jumps over %(time)s") % {"time": f"{tick.meant:%H:%M}"}
    if tick.edge is Edge.FIRST:
        return _("shown twice: this is the first")
    return _("shown twice: this is the second") if tick.edge is Edge.SECOND else ""


def _window(window: Window) -> str:
    says = _("between %(start)s and %(end)s") if window.inside else _("not between %(start)s and %(end)s")
    return says % {"start": f"{window.start:%H:%M}", "end": f"{window.end:%H:%M}"}


def _locale(descriptor: Any) -> str:
    """The locale of `cron-descriptor` that is closest to the active language."""
    wanted = to_locale(get_language() or "en")
    known = sorted(path.stem for path in (Path(descriptor.__file__).parent / "locale").glob("*.mo"))
    return next((name for name in known if name == wanted or name.startswith(f"{wanted[:2]}_")), "en_US")
