"""What a peer's file fills in, and the measurements, which are the same for all.

`PEER_STORE` is the URL of an empty store, `PEER_TALLY` the folder of the tally, `PEER_LOG` where workers may
write, `PEER_SERVER` the pid of the store's server, or empty.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.processes import cpu_seconds

from . import tally

STORE = os.environ.get("PEER_STORE", "")
KIND, _, REST = STORE.partition("://")
PATH = REST
"""Of a SQLite file."""
BIN = Path(sys.executable).parent
BULK = 1000
PATIENCE_SECONDS = 300.0


class Peer(ABC):
    """A queue. `in_bulk` is None where it has no call for many jobs."""

    in_bulk: Callable[[Sequence[int]], None] | None = None

    @abstractmethod
    def install(self) -> None:
        """Make its tables."""

    @abstractmethod
    def one_by_one(self, numbers: Sequence[int]) -> None:
        """Enqueue a job with the payload `{"user_id": n}` for each number, each for itself."""

    @abstractmethod
    def workers(self) -> list[list[str]]:
        """The commands that start its worker: two processes, or what starts two."""

    @abstractmethod
    def left(self) -> int:
        """How many jobs its store does not have as finished."""


def measure(peer: Peer, few: int, many: int) -> dict[str, float]:
    """Enqueue `few` jobs one by one (0: this is not measured), others in bulk, and drain `many` in all."""
    figures = {}
    waiting = 0
    if few:
        figures["one by one, jobs/s"] = _rate(peer.one_by_one, range(few))
        waiting = few
    bulk = peer.in_bulk or peer.one_by_one
    rest = range(waiting, many)
    if rest:
        seconds = 0.0
        for start in range(rest.start, rest.stop, BULK):
            some = range(start, min(start + BULK, rest.stop))
            seconds += len(some) / _rate(bulk, some)
        if few and peer.in_bulk is not None:
            figures[f"{BULK:,} a call, jobs/s"] = len(rest) / seconds
    return figures | _drain(peer, max(few, many))


def _rate(act: Callable[[Sequence[int]], None], numbers: Sequence[int]) -> float:
    started = time.perf_counter()
    act(numbers)
    return len(numbers) / (time.perf_counter() - started)


def _drain(peer: Peer, jobs: int) -> dict[str, float]:
    """From the start of the first handler until its store has every job as finished.

    CPU is that of the workers and of the store's server, all their processes together.
    """
    tally.reset()
    with _running(peer.workers()) as processes:
        _wait(lambda: tally.read()[1] > 0, 0.002, processes)
        before = _cpu(processes)
        _wait(lambda: tally.read()[1] >= jobs, 0.01, processes)
        _wait(lambda: peer.left() == 0, 0.001, processes)
        ended, used = time.monotonic_ns(), _cpu(processes) - before
    first, count = tally.read()
    if count != jobs:
        raise SystemExit(f"{count} jobs ran, not {jobs}")
    return {"drain, jobs/s": jobs / (ended - first) * 1e9, "CPU µs a job": used / jobs * 1e6}


def _cpu(processes: list[subprocess.Popen[bytes]]) -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    pids = [process.pid for process in processes if process.poll() is None]
    pids += [int(os.environ["PEER_SERVER"])] if os.environ["PEER_SERVER"] else []
    return ended.ru_utime + ended.ru_stime + sum(map(cpu_seconds, pids))


def _wait(look: Callable[[], bool], every: float, processes: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not look():
        if time.monotonic() > deadline or any(process.poll() for process in processes):
            raise SystemExit(f"the worker ended or is too slow; tally {tally.read()}")
        time.sleep(every)


@contextlib.contextmanager
def _running(commands: list[list[str]]) -> Iterator[list[subprocess.Popen[bytes]]]:
    log = open(os.environ["PEER_LOG"], "ab")  # noqa: SIM115
    processes = [subprocess.Popen(c, stdout=log, stderr=log, start_new_session=True) for c in commands]
    try:
        yield processes
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()
