"""Processes beside this one: a function in a fork, and a management command that is kept running."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.conf import ENVIRONMENT_VARIABLE, settings
from django.db import connections

from ..conf import conf
from ..logs import get_logger
from ..waits import doubled
from .interrupts import die_with_parent, ignore_stop_signals
from .template import close_connections, kill_group

logger = get_logger("worker")

LONGEST_WAIT = 60.0
LAST_SECONDS = 1.0
LASTING_SECONDS = 60.0
"""A process that lived for so long has not failed at its start."""


def fork_to(act: Callable[[], None]) -> int:
    """Call `act` in a child process of this one, in a group of its own; answers its pid, and does not wait for it.

    Database connections are closed before: none may cross a fork. The child dies with this process.
    """
    close_connections()
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setpgid(0, 0)
        ignore_stop_signals()
        die_with_parent(parent)
        random.seed()
        act()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            connections.close_all()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


@dataclass(slots=True)
class Companion:
    """A management command beside a worker. Where it ends by itself, it is started again, later each time."""

    arguments: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    _started_at: float = 0.0
    _start_at: float = 0.0
    _failures: int = 0
    _is_over: bool = False
    _end_by: float = 0.0

    def keep(self) -> int:
        """Start the process where it does not run. To be called now and then; it takes no time."""
        now = time.monotonic()
        if self.process is not None and (code := self.process.poll()) is not None:
            self._failures = 0 if now - self._started_at > LASTING_SECONDS else self._failures + 1
            self._start_at = now + doubled(1.0, self._failures, LONGEST_WAIT)
            logger.error("%s ended with %d; starting it again", self.arguments[0], code)
            self.process = None
        if self.process is None and now >= self._start_at and not self._is_over:
            self._started_at = now
            # A fresh interpreter: to fork this one would take its connections along.
            self.process = subprocess.Popen(  # noqa: S603 - our own command
                self._command(), env=self._environment(), process_group=0, stdin=subprocess.DEVNULL
            )
        return 0

    def end(self) -> None:
        """Ask the process to end. It has as long for that as a worker has."""
        self._is_over = True
        self._end_by = time.monotonic() + conf.shutdown_timeout + LAST_SECONDS
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def leave(self) -> None:
        """Wait until the process has ended; kill it where it does not."""
        if not self._is_over:
            self.end()
        if self.process is None:
            return
        try:
            self.process.wait(max(self._end_by - time.monotonic(), LAST_SECONDS))
        except subprocess.TimeoutExpired:
            kill_group(self.process.pid)
            self.process.wait()

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "django", *self.arguments, "--parent", str(os.getpid())]

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, sys.path))
        module = getattr(settings, "SETTINGS_MODULE", "")
        return {**os.environ, "PYTHONPATH": path, **({ENVIRONMENT_VARIABLE: module} if module else {})}
