"""The built-in handler `shell`: runs a program."""

from __future__ import annotations

import os
import shlex
import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ..conf import conf
from ..context import JobContext
from ..exceptions import InvalidDefinition, JobTimeout, NonRetryableJobError, ProgramFailed
from .base import JobHandler
from .program import Program

MESSAGE_CHARACTERS = 2000
PLAIN_VARIABLES = frozenset({"PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR"})
"""Beside those that start with `LC_`: what a program needs to find its way, and no secret is in."""
_OF_A_SHELL = frozenset({"|", "||", "&", "&&", ";", "<", "<<", ">", ">>", "2>", "2>&1", "&>"})


class ShellHandler(JobHandler):
    """Runs a program that `JOBS_SHELL_ALLOWED` names; what it prints is the job's output.

    The payload is a list of the program and its arguments, `["pg_dump", "--file", "/srv/dump", "shop"]`, or one text
    that is split as a shell would. There is no shell: no pipes, no redirections, no `*`, no `$NAME`.

    The program runs in the worker's folder, with nothing to read, and of the worker's environment it sees what
    `JOBS_SHELL_VARIABLES` names. The job is over when it exits; what it has started and left in its process group ends
    then too. Of what it prints, the last `JOBS_MAX_OUTPUT_LENGTH` characters are kept, the errors in the job's
    timeline. Any exit code but 0 fails the attempt with `ProgramFailed`, which has the end of the errors.

    At the job's timeout and at a cancel the whole process group gets SIGTERM, and SIGKILL after half of
    `JOBS_KILL_GRACE`.
    """

    def handle(self, ctx: JobContext) -> str:
        try:
            name, *arguments = parse_program(ctx.payload)
        except InvalidDefinition as error:
            raise NonRetryableJobError(str(error)) from None
        if not is_allowed(name):
            raise NonRetryableJobError(_refusal(name))
        path = locate(name)
        if path is None:
            raise ProgramFailed(f"the program {name[:200]!r} is not there, or is not to be executed.")
        program = Program([path, *arguments], _variables(), conf.max_output_length)
        try:
            code = program.run(_watch(ctx), conf.kill_grace / 2)
        except BaseException:
            _note(ctx, program.output.text + program.errors.text)
            raise
        if code == 0:
            _note(ctx, program.errors.text)
            return program.output.text
        _note(ctx, program.output.text + program.errors.text)
        says = (program.errors.text.strip() or program.output.text.strip())[-MESSAGE_CHARACTERS:]
        what = f"{os.path.basename(name)} {_ended(code)}"
        raise ProgramFailed(f"{what}: {says}" if says else what, exit_code=code)

    @classmethod
    def clean_payload(cls, payload: Any) -> list[str]:
        """The payload as a list of texts. Raises `InvalidDefinition` unless it names a program in one of the forms.

        Whether it may run is for the worker to say: its host may have other programs.
        """
        return parse_program(payload)


def parse_program(payload: Any) -> list[str]:
    """The program and its arguments. Raises `InvalidDefinition`."""
    words = payload
    if isinstance(payload, str):
        try:
            words = shlex.split(payload)
        except ValueError as error:
            raise InvalidDefinition(f"payload: the program's line can't be split: {error}.") from None
        if strange := _OF_A_SHELL.intersection(words):
            raise InvalidDefinition(
                f"payload: there is no shell that could read {min(strange)!r}. Put the line into a script and run "
                "that, or give a list where it is an argument."
            )
    if isinstance(words, list | tuple) and words and all(map(_is_word, words)):
        found = [str(word) for word in words]
        if found[0] and not any("\0" in word for word in found):
            return found
    raise InvalidDefinition('payload: a program is a list of texts such as ["pg_dump", "shop"], or one text.')


def _is_word(word: Any) -> bool:
    return isinstance(word, str | int | float) and not isinstance(word, bool)


def locate(name: str) -> str | None:
    """The path of a program, with the links among its folders resolved; None where there is none to be executed.

    The last part stays as it is. A file may do many things, one for each link to it (busybox): a link to a program that
    is allowed is another program.
    """
    if "/" in name and not os.path.isabs(name):
        return None
    found = shutil.which(name)
    if found is None or not os.path.isabs(found):  # PATH may name folders that move with the current one
        return None
    folder, file = os.path.split(found)
    return os.path.join(os.path.realpath(folder), file)


def is_allowed(name: str) -> bool:
    """Whether `JOBS_SHELL_ALLOWED` names this program, be it by another path or name that leads to it.

    One that is not there is allowed if it is listed so, letter by letter.
    """
    listed = () if isinstance(conf.shell_allowed, str) else conf.shell_allowed
    path = locate(name)
    return name in listed if path is None else path in map(locate, listed)


def _refusal(name: str) -> str:
    return f"the program {name[:200]!r} is not allowed. Add it to JOBS_SHELL_ALLOWED."


def _variables() -> dict[str, str]:
    """The environment of programs."""
    listed = PLAIN_VARIABLES.union(conf.shell_variables)
    return {name: value for name, value in os.environ.items() if name in listed or name.startswith("LC_")}


def _watch(ctx: JobContext) -> Callable[[], None]:
    """What raises `JobTimeout` or `JobCancelled` beside other jobs, in a thread that no signal interrupts."""
    if threading.current_thread() is threading.main_thread():
        return lambda: None  # there they strike by themselves: from here they could strike twice
    left = None if ctx.deadline is None else (ctx.deadline - datetime.now(UTC)).total_seconds()
    deadline = None if left is None else time.monotonic() + left

    def look() -> None:
        ctx.raise_if_cancelled()
        if deadline is not None and time.monotonic() > deadline:
            raise JobTimeout("the job's time is up")

    return look


def _note(ctx: JobContext, text: str) -> None:
    if text:
        ctx.controls.note("output", text, {})


def _ended(code: int) -> str:
    return f"exited with {code}" if code > 0 else f"was ended by signal {-code}"
