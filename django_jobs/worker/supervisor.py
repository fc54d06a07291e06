"""Several workers under one parent, which has loaded the site's code once. Each is a process of its own: what befalls
one of them delays no other.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..conf import conf
from ..logs import get_logger
from ..waits import doubled
from .interrupts import STOPPING, hear_of_the_end_of_the_parent
from .pool import load_handlers
from .stopping import StopSignals
from .template import Death, close_connections

logger = get_logger("worker")

AGAIN = 75
"""The exit code of a worker that ended to be started afresh."""
SETTLED_SECONDS = 60.0  # a worker that lived so long did not die at its start
RESTART_SECONDS = 0.5
RESTART_LONGEST = 30.0
LAST_SECONDS = 5.0


@dataclass(slots=True)
class Post:
    """A worker that is to run. `work` is called in a process of its own, and answers its exit code: 0 where it is to
    stay ended.
    """

    name: str
    work: Callable[[StopSignals], int]
    pid: int = 0
    begun_at: float = 0.0
    wanted_at: float = 0.0
    early_ends: int = 0
    is_over: bool = False

    def ended(self, status: int) -> None:
        """Its process has. Says when the next one follows, if one does."""
        if status == 0:
            self.is_over = True
            return
        now = time.monotonic()
        lived = now - self.begun_at
        if status == AGAIN << 8 and lived > RESTART_SECONDS:
            self.early_ends = 0
            self.wanted_at = now
            return
        self.early_ends = 1 if lived > SETTLED_SECONDS else self.early_ends + 1
        wait = doubled(RESTART_SECONDS, self.early_ends - 1, RESTART_LONGEST)
        self.wanted_at = now + wait
        text = "the worker of the queue '%s' was not to end (%s); the next one follows in %.1f s"
        logger.error(text, self.name, Death(0, 0, status), wait)


@dataclass(slots=True)
class Supervisor:
    """Keeps a worker at each post, until a stop signal, `seconds`, or the end of every one."""

    posts: Sequence[Post]
    seconds: float | None = None
    stop_signals: StopSignals = field(default_factory=StopSignals)
    _until: float = math.inf

    def run(self) -> None:
        """Supervise; leave no process behind."""
        is_guest = not self.stop_signals.installed
        if is_guest:
            self.stop_signals.install()
        signal.signal(signal.SIGCHLD, lambda number, frame: None)  # so that the end of a worker wakes us
        self._until = math.inf if self.seconds is None else time.monotonic() + self.seconds
        try:
            load_handlers()
            gc.collect()
            gc.freeze()
            while not self._over():
                self._compare()
                self._wait(self._idle_seconds())
            self._drain()
        finally:
            self._kill()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if is_guest:
                self.stop_signals.restore()

    def _over(self) -> bool:
        return bool(self.stop_signals.count) or time.monotonic() >= self._until or all(p.is_over for p in self.posts)

    def _compare(self) -> None:
        """What is there with what should be."""
        for post, status in self._ended():
            post.ended(status)
        now = time.monotonic()
        for post in self.posts:
            if not post.pid and not post.is_over and post.wanted_at <= now:
                self._start(post)

    def _ended(self) -> list[tuple[Post, int]]:
        """The posts whose processes have ended since, and how."""
        found = []
        for post in self.posts:
            try:
                pid, status = os.waitpid(post.pid, os.WNOHANG) if post.pid else (0, 0)
            except ChildProcessError:  # somebody else has waited for it
                pid, status = post.pid, int(signal.SIGKILL)
            if pid:
                post.pid = 0
                found.append((post, status))
        return found

    def _start(self, post: Post) -> None:
        close_connections()
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # a stop must not get lost between our handlers and its own
        try:
            pid = os.fork()
            if pid == 0:
                _be_a_worker(post, self.stop_signals, parent)
        except OSError as error:
            logger.error("the worker of the queue '%s' could not be started: %s", post.name, error)
            post.wanted_at = time.monotonic() + RESTART_LONGEST
        else:
            post.pid, post.begun_at = pid, time.monotonic()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)

    def _idle_seconds(self) -> float:
        wanted = [post.wanted_at for post in self.posts if not post.pid and not post.is_over]
        return min(1.0, max(min([self._until, *wanted]) - time.monotonic(), 0.0))

    def _wait(self, seconds: float) -> None:
        select.select([self.stop_signals.fileno()], [], [], seconds)
        self.stop_signals.clear()

    def _drain(self) -> None:
        """Pass the stop on, all at once, and each further one too; wait for the last worker to end."""
        passed_on, deadline = 0, time.monotonic() + conf.shutdown_timeout + conf.kill_grace + LAST_SECONDS
        while alive := [post for post in self.posts if post.pid]:
            if passed_on < max(self.stop_signals.count, 1):
                passed_on += 1
                for post in alive:
                    _send(post.pid, signal.SIGTERM)
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                logger.error("%d workers did not stop in time, and are killed", len(alive))
                return
            self._wait(min(left, 1.0))
            for post, status in self._ended():
                if status not in (0, AGAIN << 8):
                    logger.error("the worker of the queue '%s' did not stop well (%s)", post.name, Death(0, 0, status))

    def _kill(self) -> None:
        for post in self.posts:
            if post.pid:
                _send(post.pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(post.pid, 0)
                post.pid = 0


def _be_a_worker(post: Post, of_parent: StopSignals, parent: int) -> None:
    """In the forked process: work, and end with it."""
    status = 1
    try:
        os.setpgid(0, 0)  # Ctrl-C is for the supervisor, which passes it on once
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        random.seed()
        hear_of_the_end_of_the_parent(signal.SIGTERM)
        of_parent.forget()
        stop_signals = StopSignals(parent)
        stop_signals.install()
        status = post.work(stop_signals)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
