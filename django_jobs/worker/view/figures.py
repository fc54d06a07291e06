"""Numbers, times and texts in the few cells that a terminal has for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b.|[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Glyphs:
    """What is drawn with."""

    dot: str = "●"
    rule: str = "─"
    done: str = "━"
    left: str = "─"
    steps: str = "▁▂▃▄▅▆▇█"
    between: str = "·"
    more: str = "…"


UNICODE = Glyphs()
ASCII = Glyphs(dot="*", rule="-", done="=", left="-", steps="_.-:=+*#", between="-", more="~")


def sparkline(values: Sequence[float], cells: int, steps: str = UNICODE.steps) -> str:
    """The newest values as a row of bars, one cell each; the highest is as high as a cell."""
    shown = list(values)[-cells:] if cells else []
    peak = max(shown, default=0.0)
    return "".join(_step(value, peak, steps) for value in [0.0] * (cells - len(shown)) + shown)


def _step(value: float, peak: float, steps: str) -> str:
    if value <= 0 or peak <= 0:
        return " "
    return steps[min(int(value / peak * len(steps)), len(steps) - 1)]


def span(seconds: float) -> str:
    """A time in few cells: `12 ms`, `4.2 s`, `3m12s`, `2h05m`, `3d04h`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02d}h"
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{left:02d}s" if minutes else f"{left} s"


def per_second(rate: float) -> str:
    """A rate in few cells."""
    return f"{rate:,.0f}/s" if rate >= 10 or rate == 0 else f"{rate:.1f}/s"


def short(number: int) -> str:
    """A number in at most five cells."""
    for size, unit in ((1_000_000, "M"), (1000, "k")):
        if number >= 10 * size:
            return f"{number / size:.0f}{unit}"
    return f"{number:,}"


def plain(text: str) -> str:
    """A text without anything that would move a terminal's cursor, or turn what follows it round."""
    return _CONTROL.sub("", text.expandtabs(4) if "\t" in text else text)
