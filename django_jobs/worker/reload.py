"""A worker that starts anew: the same arguments in the same process, with the code and the settings of now."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

_MARK = "DJANGO_JOBS_RELOADED"
_PARENT = "DJANGO_JOBS_PARENT"


@dataclass(frozen=True, slots=True)
class Start:
    """How this process was started. `lock` is the descriptor that a reload has left to it, -1 where there is none."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str
    is_reload: bool
    lock: int = -1
    parent: int = 0
    """The process that has started this one `apart`, and whose end is to be its own."""

    @classmethod
    def of_this_process(cls) -> Start:
        """To be called early: before anything changes the folder."""
        environment = _environment()
        pid, _colon, lock = environment.pop(_MARK, "").partition(":")
        os.environ.pop(_MARK, None)
        parent = os.environ.pop(_PARENT, "")
        is_reload = pid == str(os.getpid())
        arguments = (sys.executable, *sys.orig_argv[1:])
        is_apart = parent == str(os.getppid())
        return cls(
            *(arguments, environment, working_folder(), is_reload),
            *(int(lock) if is_reload else -1, int(parent) if is_apart else 0),
        )

    def again(self, lock: int = -1) -> NoReturn:
        """Start anew in this process, which keeps its id and the descriptor `lock`.

        Signals that are held (`StopSignals.hold`) are the new program's: the mask and what waits outlive an exec.
        Raises OSError where the folder or the interpreter is not there any more.
        """
        signal.setitimer(signal.ITIMER_REAL, 0)  # a timer outlives an exec, and its signal would end the new program
        if lock >= 0:
            os.set_inheritable(lock, True)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os.chdir(self.folder)
        os.execve(self.arguments[0], self.arguments, {**self.environment, _MARK: f"{os.getpid()}:{lock}"})  # noqa: S606

    def apart(self, *more: str, process_group: int) -> subprocess.Popen[bytes]:
        """Start the same program, with these arguments too, as a process that does not outlive this one."""
        return subprocess.Popen(  # noqa: S603
            [*self.arguments, *more],
            cwd=self.folder,
            env={**self.environment, _PARENT: str(os.getpid())},
            process_group=process_group,
        )


def _environment() -> dict[str, str]:
    """The environment that the process was started with: what settings have put into `os.environ` since, as from a
    file `.env`, would keep the file's next version out.
    """
    try:
        entries = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return dict(os.environ)
    found = [os.fsdecode(entry).partition("=") for entry in entries if b"=" in entry]
    return {name: value for name, _equals, value in found}


def working_folder() -> str:
    """The working folder, under the name by which it was entered: a link to the present release may move on."""
    folder, named = os.getcwd(), os.environ.get("PWD", "")
    with contextlib.suppress(OSError):
        if os.path.isabs(named) and os.path.samefile(named, folder):
            return named
    return folder
