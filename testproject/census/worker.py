"""The worker of the demo: `manage.py jobs_work census` as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType

from django.conf import settings

STOP_SECONDS = 40.0


class WorkerProcess:
    """A worker that ends when the queue is empty. Leaving the context stops it, if it still runs.

    What it writes goes to the file `log`, so that it does not mix with the progress on the terminal.
    """

    def __init__(self, log: Path, max_workers: int | None = None) -> None:
        self.log = log
        self.command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "jobs_work", "census"]
        self.command += ["--stop-when-empty", "--show", "quiet"]
        if max_workers is not None:
            self.command += ["--max-workers", str(max_workers)]

    def __enter__(self) -> WorkerProcess:
        with self.log.open("wb") as log:
            # A session of its own: Ctrl-C reaches the demo alone, which then asks the worker to stop, once.
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None) -> None:
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def has_ended_within(self, seconds: float) -> bool:
        """Wait for the worker's end for so long, and say whether it came."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def problem(self) -> str:
        """What went wrong with a worker that has ended; empty if nothing did."""
        if self.process.returncode == 0:
            return ""
        said = self.log.read_text(errors="replace").strip().splitlines()
        last = f": {said[-1]}" if said else ""
        return f"the worker ended with code {self.process.returncode}{last} (all it said is in {self.log})"
