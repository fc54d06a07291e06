"""Whole lives of workers, each with one signal at some instant."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from django_jobs import Jobs
from django_jobs.backends.database import DatabaseBackend
from django_jobs.models import Job

from .instants import spread, takes, until
from .waiting import wait_until
from .worker import WorkerProcess, children_of, counts, lines, registered, wait_finished

LIFE = ("default", "--max-workers", "2")
TIME = ("--max-time", "1.0")
JOBS = 40


class Instant(NamedTuple):
    """So many seconds after the process was started, or after it took signals over."""

    seconds: float
    is_early: bool

    def wait(self, w: WorkerProcess) -> None:
        """Until it has come for this worker."""
        if not self.is_early:
            wait_until(
                lambda: takes(w.pid, signal.SIGTERM) or w.process.poll() is not None, "its handlers", every=0.002
            )
        until(time.monotonic() + self.seconds)


def instants_of(start: float, rest: float, instants: int, seed: int) -> list[Instant]:
    """A quarter of them while the process starts, the others after it has taken signals over: how long the start takes
    differs with what else the machine does.
    """
    early = [Instant(seconds, True) for seconds in spread(0.0, start, instants // 4, seed)]
    return early + [Instant(seconds, False) for seconds in spread(0.0, rest, instants - len(early), seed)]


def one_life(queue: DatabaseBackend, arguments: tuple[str, ...]) -> tuple[float, float]:
    """How many seconds pass from a worker's start until it takes signals, and from there to its end."""
    started = time.monotonic()
    with WorkerProcess(queue.database, *arguments, *TIME) as w:
        wait_until(lambda: takes(w.pid, signal.SIGTERM), "its handlers", every=0.002)
        taken = time.monotonic()
        assert w.wait() == 0, w.text
    return taken - started, time.monotonic() - taken


def terms_at(
    queue: DatabaseBackend, proof: Path, *, instants: int, seed: int, arguments: tuple[str, ...] = LIFE
) -> Counter[str]:
    """A SIGTERM at each of so many instants of a life. Answers how the workers ended.

    Each ends with 0, or by the signal itself where Python had not come to the command yet. Whatever it printed, there
    is no traceback; no process, no lease and no claim is left.
    """
    ends: Counter[str] = Counter()
    for instant in instants_of(*one_life(queue, arguments), instants, seed):
        Jobs.dispatch_many([Jobs.define("trial.write", {"path": str(proof), "seconds": 0.05}) for _ in range(JOBS)])
        with WorkerProcess(queue.database, *arguments, *TIME) as w:
            instant.wait(w)
            was_taken = takes(w.pid, signal.SIGTERM)
            family = family_of(w.pid)
            if w.process.poll() is None:
                w.signal(signal.SIGTERM)
            code = w.wait()
            assert code == 0 or (code == -signal.SIGTERM and instant.is_early and not was_taken), (instant, w.text)
            assert "Traceback" not in w.text, (instant, w.text)
            wait_until(lambda: not any(map(runs, family)), "its processes to end", 10)  # noqa: B023
        assert registered(queue) == registered(queue, "draining") == [], instant
        assert not Job.objects.using(queue.database).exclude(state="pending").exists(), instant
        assert set(Job.objects.using(queue.database).values_list("attempt", flat=True)) <= {0}, instant
        Job.objects.using(queue.database).all().delete()
        ends["by the signal" if code else "0"] += 1
    assert_once(queue, proof)
    return ends


def hangups_at(
    queue: DatabaseBackend, proof: Path, *, instants: int, seed: int, arguments: tuple[str, ...] = LIFE
) -> Counter[str]:
    """A SIGHUP at each of so many instants of a life. Answers how many came back, and how many had not begun.

    Each that could see the signal comes back under its pid, and does what is enqueued then.
    """
    ends: Counter[str] = Counter()
    start, _rest = one_life(queue, arguments)
    for instant in instants_of(start, 1.5, instants, seed):
        with WorkerProcess(queue.database, *arguments) as w:
            instant.wait(w)
            was_taken = takes(w.pid, signal.SIGHUP)
            w.signal(signal.SIGHUP)
            if instant.is_early and not was_taken:
                wait_until(lambda: w.process.poll() is not None or takes(w.pid, signal.SIGHUP), "its start")
                if w.process.poll() is not None:
                    assert w.wait() == -signal.SIGHUP, (instant, w.text)
                    ends["had not begun"] += 1
                    continue
            wait_until(lambda: is_reloaded(w.pid), "the reload", 40)
            ref = Jobs.push("trial.write", {"path": str(proof)})
            wait_until(lambda: ref.refresh().is_finished, f"a job after a reload at {instant}")  # noqa: B023
            wait_finished(queue)
            assert w.stop() == 0, (instant, w.text)
            assert "Traceback" not in w.text, (instant, w.text)
            ends["came back"] += 1
        assert registered(queue) == [], instant
    assert_once(queue, proof)
    return ends


def assert_once(queue: DatabaseBackend, proof: Path) -> None:
    """Every job that ran was recorded, and ran once."""
    ran = [line.split()[0] for line in lines(proof)]
    assert len(ran) == len(set(ran)) == counts(queue)["completed"]


def family_of(pid: int) -> list[int]:
    """Every process below this one."""
    return [p for child in children_of(pid) for p in (child, *family_of(child))]


def is_reloaded(pid: int) -> bool:
    """Whether the program of this process was started by a reload."""
    return b"DJANGO_JOBS_RELOADED=" in Path(f"/proc/{pid}/environ").read_bytes()


def runs(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
