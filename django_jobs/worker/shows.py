"""What `--show` names: the console of each."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TextIO

from django.utils.translation import gettext as _

from .console import Console, is_coloured
from .json_lines import JsonLines
from .lines import PLAIN, Lines


@contextmanager
def console_for(show: str, *, detail: int = PLAIN, coloured: bool | None = None) -> Iterator[Console]:
    """The console that prints as `show` says: lines, json, quiet or tui. The block is the time in which it may.

    `json` keeps the standard output to itself: what jobs print goes to the standard error. `tui` starts a process, and
    closes every database connection before. Several coordinators may be forked within the block, each with this
    console. Where there is no terminal, or no rich, it prints lines.
    """
    coloured = is_coloured(sys.stdout) if coloured is None else coloured
    lines = Lines(detail=detail, coloured=coloured, patient=True)
    if show == "json":
        with output_to_itself() as stream:
            yield JsonLines(stream, patient=True)
        return
    if show != "tui" or not has_terminal() or not has_rich():
        yield Console() if show == "quiet" else lines
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


@contextmanager
def output_to_itself() -> Iterator[TextIO]:
    """The standard output, for whoever holds this; what else is printed in the block goes to the standard error.

    So does what children print, also after an exec. A job could otherwise write between the lines of a machine's, and
    would fail when the machine stops to read.
    """
    sys.stdout.flush()
    try:
        mine = os.dup(1)  # closed by an exec, unlike 1 itself
    except OSError:  # it is closed: nobody reads
        yield sys.stdout
        return
    with open(mine, "w", encoding="utf-8", errors="backslashreplace") as stream:
        try:
            with suppress(OSError):  # the standard error is closed
                os.dup2(2, 1)
            yield stream
        finally:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
            os.dup2(mine, 1)
            with suppress(OSError, ValueError):
                stream.flush()


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
