"""The line that shows how far a run is."""

from __future__ import annotations

import time

from django.core.management.base import OutputWrapper

from .run import Tally

BAR = 24


class ProgressLine:
    """Rewrites one line on a terminal; elsewhere it writes a plain line every second."""

    def __init__(self, out: OutputWrapper, total: int) -> None:
        self.out = out
        self.total = total
        self.on_terminal = out.isatty()
        self.interval = 0.2 if self.on_terminal else 1.0
        self.started = time.monotonic()
        self.already: int | None = None
        self.width = 0

    def show(self, tally: Tally) -> None:
        """Show this tally."""
        if self.already is None:
            self.already = tally.done
        seconds = time.monotonic() - self.started
        rate = (tally.done - self.already) / seconds if seconds > 0.1 else 0.0
        failed = f", {tally.failed} failed" if tally.failed else ""
        line = f"{tally.done:>6} of {self.total} jobs done{failed}, {rate:.0f} per second"
        if not self.on_terminal:
            self.out.write(line)
        else:
            filled = BAR * tally.done // self.total
            line = f"[{'#' * filled}{'.' * (BAR - filled)}]{line}"
            self.out.write(f"\r{line:<{self.width}}", ending="")
            self.width = len(line)
        self.out.flush()

    def end(self) -> None:
        """Leave the line as it is and go to the next."""
        if self.on_terminal:
            self.out.write("")
