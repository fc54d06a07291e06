"""What `--show` names: the console of each."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from django.utils.translation import gettext as _

from .console import Console, is_coloured
from .json_lines import JsonLines
from .lines import PLAIN, Lines


@contextmanager
def console_for(show: str, *, detail: int = PLAIN, coloured: bool | None = None) -> Iterator[Console]:
    """The console that prints as `show` says: lines, json, quiet or tui. The block is the time in which it may.

    `tui` starts a process, and closes every database connection before. Several coordinators may be forked within the
    block, each with this console. Where there is no terminal, or no rich, it prints lines.
    """
    coloured = is_coloured(sys.stdout) if coloured is None else coloured
    lines = Lines(detail=detail, coloured=coloured)
    if show != "tui" or not has_terminal() or not has_rich():
        yield {"json": JsonLines, "quiet": Console}.get(show, lambda: lines)()
        return
    from .view.feed import Feed
    from .view.process import View

    view = View(coloured=coloured)
    try:
        view.start()
    except OSError as error:
        lines.say(_("the view could not be started: %(error)s") % {"error": error})
        yield lines
        return
    try:
        yield Feed(view, lines)
    finally:
        view.close()


def has_terminal() -> bool:
    """Whether there is a terminal to draw on, which we are in front of, and a process can be forked that does."""
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb" or not hasattr(os, "fork"):
        return False
    try:
        return os.tcgetpgrp(sys.stdout.fileno()) == os.getpgrp()
    except OSError:  # a terminal that controls nobody
        return True


def has_rich() -> bool:
    """Whether what draws is installed: the extra `tui`."""
    return find_spec("rich") is not None
