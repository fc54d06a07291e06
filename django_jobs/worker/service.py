"""The process that a worker has to itself, when it was started from the command line."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

from django.utils.translation import gettext as _

from ..exceptions import JobsError
from .background import Launch, write_to
from .interrupts import hear_of_the_end_of_the_parent
from .pidfile import PidFile
from .reload import Start
from .stopping import StopSignals


@dataclass(slots=True)
class Service:
    """Its signals, how it was started, its pid file; its first step and its last one."""

    start: Start
    stop_signals: StopSignals
    pid_file: PidFile | None = None

    @classmethod
    def begin(cls) -> Service:
        """As early as a command can: from here on a signal ends the worker as one later does."""
        stop_signals = StopSignals()
        stop_signals.install()
        start = Start.of_this_process()
        if start.parent:
            stop_signals.parent = start.parent
            hear_of_the_end_of_the_parent(signal.SIGTERM)
        return cls(start, stop_signals)

    def settle(self, *, background: bool, pid_file: str | None, log_file: str | None) -> int | None:
        """Go to the background, take the pid file, print to the log file: what of it was asked for.

        Answers the exit code in the process that was called, where that is not the worker's any more; else None.
        Raises `JobsError`.
        """
        launch = None
        if background and not self.start.is_reload:
            launch = Launch()
            if (code := launch.part()) is not None:
                return code
        if pid_file is not None:
            self.pid_file = PidFile(Path(pid_file).absolute())
            self.pid_file.take(self.start.lock)
        if background or log_file is not None:
            try:
                write_to(log_file)
            except OSError as error:
                self.leave()
                raise JobsError(_("The log file can't be used: %(error)s") % {"error": error}) from error
            self.stop_signals.terminals = []
        if launch is not None:
            launch.begun()
        return None

    def finish(self) -> None:
        """The work is done: start anew, if that was asked for. Raises `JobsError`."""
        self.stop_signals.hold()  # a stop that came until now counts, and one that comes later finds the next program
        if self.stop_signals.wants_reload:
            try:
                self.start.again(-1 if self.pid_file is None else self.pid_file.fd)
            except OSError as error:
                raise JobsError(_("The worker could not start anew: %(error)s") % {"error": error}) from error

    def leave(self) -> None:
        """The process is about to end."""
        if self.pid_file is not None:
            self.pid_file.remove()
