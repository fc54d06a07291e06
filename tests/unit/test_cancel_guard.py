"""A cancel strikes the job that is meant, once, at whatever moment the signal comes, and never another one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from django_jobs.exceptions import JobCancelled
from django_jobs.worker.interrupts import CANCELLING, AlarmGuard
from django_jobs.worker.slots import Slots
from tests.unit.test_alarm_guard import busy


class Cell:
    """What a child and its coordinator share: the job that runs, and the one whose cancel was asked for."""

    def __init__(self) -> None:
        self.slots = Slots(1)
        self.guard = AlarmGuard(cancelled=lambda: self.slots.cancelled(0))

    def cancel(self, job: int) -> None:
        self.slots.cancel(0, job)
        os.kill(os.getpid(), CANCELLING)


@pytest.fixture
def cell(no_collector: None) -> Iterator[Cell]:
    before = [(number, signal.getsignal(number)) for number in (signal.SIGALRM, CANCELLING)]
    yield Cell()
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before:
        signal.signal(number, handler)


def test_a_cancel_strikes_at_the_next_step(cell: Cell) -> None:
    cell.slots.begin(0, 7, 0.0, 0.0)

    def handler() -> None:
        with cell.guard(None):
            cell.cancel(7)
            busy(5)

    with pytest.raises(JobCancelled):
        handler()


def test_a_cancel_that_came_before_the_handler_started_strikes_as_it_starts(cell: Cell) -> None:
    cell.slots.begin(0, 7, 0.0, 0.0)
    cell.cancel(7)
    with pytest.raises(JobCancelled), cell.guard(None):
        raise AssertionError("the handler was started")


def test_a_signal_that_is_meant_for_another_job_does_nothing(cell: Cell) -> None:
    cell.slots.begin(0, 8, 0.0, 0.0)
    with cell.guard(None):
        cell.cancel(7)
        busy(0.05)


def test_a_signal_between_two_jobs_does_nothing(cell: Cell) -> None:
    cell.slots.begin(0, 7, 0.0, 0.0)
    with cell.guard(None):
        pass
    cell.cancel(7)
    busy(0.05)


def test_a_job_is_struck_once(cell: Cell) -> None:
    cell.slots.begin(0, 7, 0.0, 0.0)
    caught = 0
    with cell.guard(0.05):
        for _ in range(3):
            try:
                cell.cancel(7)
                busy(0.1)
            except JobCancelled:
                caught += 1
    assert caught == 1


def test_a_guard_outside_the_main_thread_looks_as_the_job_starts(cell: Cell) -> None:
    cell.slots.begin(0, 7, 0.0, 0.0)
    cell.slots.cancel(0, 7)
    caught: list[BaseException] = []

    def run() -> None:
        try:
            with AlarmGuard(cancelled=lambda: cell.slots.cancelled(0))(None):
                raise AssertionError("the handler was started")
        except JobCancelled as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert len(caught) == 1


def test_a_cancel_that_comes_as_its_job_ends_hits_nobody_else(cell: Cell) -> None:
    """Another process cancels every other job, at moments of its own choosing."""
    worker = os.getpid()
    canceller = os.fork()
    if not canceller:
        try:
            while os.getppid() == worker:
                if (job := cell.slots.job(0)) % 2:
                    cell.slots.cancel(0, job)
                    os.kill(worker, CANCELLING)
        finally:
            os._exit(0)
    struck, job, until = [], 0, time.monotonic() + 30
    try:
        while len(struck) < 300 and time.monotonic() < until:
            job += 1
            cell.slots.begin(0, job, 0.0, 0.0)
            try:
                with cell.guard(300):
                    sum(range(job % 300))
            except JobCancelled:
                struck.append(job)
            cell.slots.leave(0)
    finally:
        os.kill(canceller, signal.SIGKILL)
        os.waitpid(canceller, 0)
    assert len(struck) == 300, "hardly a cancel came in time, so nothing was shown"
    assert len(struck) < job / 2, "every cancel came in time, so nothing was shown"
    assert all(number % 2 for number in struck)
