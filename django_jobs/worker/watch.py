"""A worker for those who write its code: a process that is started anew whenever the code changes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePath

from django.apps import apps
from django.conf import settings
from django.utils.translation import gettext as _

from ..conf import conf
from .reload import Start
from .stopping import StopSignals

DEBOUNCE_MILLISECONDS = 200
LOOK_MILLISECONDS = 500
LAST_SECONDS = 10.0


def has_watchfiles() -> bool:
    """Whether what looks at the files is installed: the extra `watch`."""
    return find_spec("watchfiles") is not None


def is_source(path: str) -> bool:
    """Whether a change of this file is one of the code or the settings: Python's files, and `.env`."""
    file = PurePath(path)
    return (file.suffix == ".py" or file.name.startswith(".env")) and "site-packages" not in file.parts


def outermost(folders: Iterable[Path]) -> list[Path]:
    """Those that are not within another one."""
    found: list[Path] = []
    for folder in sorted(set(folders), key=lambda folder: (len(folder.parts), folder)):
        if not any(folder.is_relative_to(outer) for outer in found):
            found.append(folder)
    return found


def folders_of_the_site(start: Start) -> list[Path]:
    """Where its code is: `BASE_DIR`, else the working folder, and its apps, without what was installed."""
    base = Path(getattr(settings, "BASE_DIR", None) or start.folder)
    installed = [Path(sys.prefix), Path(sys.base_prefix)]
    own = (Path(app.path) for app in apps.get_app_configs())
    found = [base, *(path for path in own if not any(path.is_relative_to(prefix) for prefix in installed))]
    return outermost(path.resolve() for path in found if path.is_dir())


@dataclass(slots=True)
class Watch:
    """The worker of the same command, and `arguments`, as a process of its own."""

    start: Start
    arguments: tuple[str, ...]
    stop_signals: StopSignals
    say: Callable[[str], object]
    process: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Until a stop signal, or until the worker ends well by itself. Answers its exit code."""
        from watchfiles import DefaultFilter, watch

        folders, usual = folders_of_the_site(self.start), DefaultFilter()
        self.say(_("watching %(folders)s") % {"folders": ", ".join(map(str, folders))})
        self._begin()
        try:
            for changes in watch(
                *folders,
                watch_filter=lambda change, path: usual(change, path) and is_source(path),
                debounce=DEBOUNCE_MILLISECONDS,
                rust_timeout=LOOK_MILLISECONDS,
                yield_on_timeout=True,
                raise_interrupt=False,
            ):
                if self._is_stopping():
                    break
                if changes:
                    self._follow(min(path for _change, path in changes))
                elif self._has_ended_well():
                    return 0
            return self._end()
        finally:
            if self.process is not None:
                self.process.kill()
                self.process.wait()

    def _is_stopping(self) -> bool:
        return self.stop_signals.count > 0

    def _follow(self, path: str) -> None:
        self.say(_("%(file)s has changed, starting anew") % {"file": path})
        self._end()
        if not self._is_stopping():
            self._begin()

    def _has_ended_well(self) -> bool:
        """Whether the worker has come to an end of its own, as at a limit. One that failed waits for a change."""
        code = None if self.process is None else self.process.poll()
        if code is None:
            return False
        self.process = None
        if code:
            self.say(_("the worker has ended (exit code %(code)d); waiting for a change") % {"code": code})
        return code == 0

    def _begin(self) -> None:
        # In a process group of its own: Ctrl-C is for us, and is passed on once.
        self.process = self.start.apart(*self.arguments, process_group=0)

    def _end(self) -> int:
        """Have the worker drain, and pass each further stop on."""
        if self.process is None:
            return 0
        passed_on, deadline = 0, time.monotonic() + conf.shutdown_timeout + conf.kill_grace + LAST_SECONDS
        while time.monotonic() < deadline:
            if passed_on < max(self.stop_signals.count, 1):
                passed_on += 1
                self.process.send_signal(signal.SIGTERM)
            try:
                code = self.process.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
            self.process = None
            return code
        self.process.kill()
        code, self.process = self.process.wait(), None
        return code
