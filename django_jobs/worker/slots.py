"""Shared memory in which each child says what it runs, so that deadlines and deaths cost no messages.

The coordinator maps it before the template is forked. Every field is eight aligned bytes with one writer.
"""

from __future__ import annotations

import math
import mmap
import os

from .memory import shared_file

_PID, _MESSAGE, _JOB, _STARTED, _DEADLINE, _CANCEL, _REVOKED, _FINISHED, _CONDEMNED, _ENTERED, _ANSWERED = range(11)
_FIELDS = 11
CLOSED = 2**64 - 1
"""In place of a message: the slot is free, and its child takes nothing for it until it has ended, or has what it has
in its other slots."""


class Slots:
    """A table of slots, one per child, and the end of the worker's lease. Times are of the monotonic clock.

    `fd` is that of the same table in the process that this one was.
    """

    def __init__(self, count: int, fd: int | None = None) -> None:
        size = (count + 1) * _FIELDS * 8
        self.count = count
        self.fd = shared_file(size) if fd is None else fd
        self._memory = mmap.mmap(self.fd, size)
        self._whole = memoryview(self._memory).cast("B").cast("Q")
        self._real = memoryview(self._memory).cast("B").cast("d")

    def close(self) -> None:
        """Let no other process have it any more."""
        os.close(self.fd)

    @property
    def lease_until(self) -> float:
        """When the worker's lease ends; children start nothing after it."""
        return self._real[0]

    @lease_until.setter
    def lease_until(self, when: float) -> None:
        self._real[0] = when

    # -- written by the child of a slot -----------------------------------------------------------------------

    def arrive(self, slot: int, pid: int) -> None:
        """A child takes the slot."""
        self.leave(slot)
        self._whole[self._at(slot) + _PID] = pid

    def take(self, slot: int, message: int) -> None:
        """The child has taken a message."""
        self._whole[self._at(slot) + _FINISHED] = 0
        self._whole[self._at(slot) + _MESSAGE] = message

    def begin(self, slot: int, job: int, started: float, deadline: float) -> None:
        """The child starts a job of the message."""
        at = self._at(slot)
        self._real[at + _STARTED] = started
        self._real[at + _DEADLINE] = deadline
        self._whole[at + _JOB] = job

    def enter(self, slot: int, job: int) -> None:
        """The fresh interpreter for this job has come up."""
        self._whole[self._at(slot) + _ENTERED] = job

    def entered(self, slot: int) -> int:
        """The last job whose fresh interpreter has come up."""
        return self._whole[self._at(slot) + _ENTERED]

    def answer(self, slot: int) -> None:
        """The crew is able to do something, though the time of the job in the slot is up."""
        self._whole[self._at(slot) + _ANSWERED] = self._whole[self._at(slot) + _JOB]

    def answered(self, slot: int) -> bool:
        """Whether it was, for the job that is in the slot."""
        return self._whole[self._at(slot) + _ANSWERED] == self._whole[self._at(slot) + _JOB]

    def extend(self, slot: int, deadline: float) -> None:
        """The running job's deadline is known now."""
        self._real[self._at(slot) + _DEADLINE] = deadline

    def finish(self, slot: int, job: int) -> None:
        """The child has completed this job, without an output, and has not reported it yet."""
        self._whole[self._at(slot) + _FINISHED] = job

    def finished(self, slot: int) -> int:
        """The last job that the child has completed without reporting it; so are those before it in the message."""
        return self._whole[self._at(slot) + _FINISHED]

    def leave(self, slot: int) -> None:
        """The child is done with its message and has reported it."""
        at = self._at(slot)
        self._whole[at + _JOB] = 0
        self._whole[at + _MESSAGE] = 0
        self._real[at + _DEADLINE] = math.inf

    def shut(self, slot: int) -> None:
        """The child takes nothing for this slot, which is free."""
        self._whole[self._at(slot) + _MESSAGE] = CLOSED

    # -- read by the coordinator ------------------------------------------------------------------------------

    def pid(self, slot: int) -> int:
        """The process in the slot, 0 before the first."""
        return self._whole[self._at(slot) + _PID]

    def message(self, slot: int) -> int:
        """The message that the child works on; 0 while it waits for one, `CLOSED` while it does not."""
        return self._whole[self._at(slot) + _MESSAGE]

    def job(self, slot: int) -> int:
        """The dispatch number of the job that the child runs; 0 between jobs."""
        return self._whole[self._at(slot) + _JOB]

    def started(self, slot: int) -> float:
        """When the running job was started."""
        return self._real[self._at(slot) + _STARTED]

    def deadline(self, slot: int) -> float:
        """When the running job's time is up."""
        return self._real[self._at(slot) + _DEADLINE]

    # -- a cancel, written by the coordinator, read by the child ------------------------------------------------

    def cancel(self, slot: int, job: int) -> None:
        """Ask the child to stop this job, and no other."""
        self._whole[self._at(slot) + _CANCEL] = job

    def cancelled(self, slot: int) -> bool:
        """Whether the job that the child runs is to stop."""
        at = self._at(slot)
        job = self._whole[at + _JOB]
        return job != 0 and self._whole[at + _CANCEL] == job

    # -- a kill, announced by the coordinator, so that it hits no other job -------------------------------------

    def condemn(self, slot: int, job: int) -> None:
        """Say that the child will be killed for this job: it is to start no other after it."""
        self._whole[self._at(slot) + _CONDEMNED] = job

    def condemned(self, slot: int) -> int:
        """The job for which the child in the slot will be killed; 0 for none."""
        return self._whole[self._at(slot) + _CONDEMNED]

    # -- the rest of a message, taken back --------------------------------------------------------------------

    def revoke(self, slot: int, message: int) -> None:
        """Ask the child to start no more jobs of this message."""
        self._whole[self._at(slot) + _REVOKED] = message

    def revoked(self, slot: int) -> bool:
        """Whether the rest of the message in the slot is taken back."""
        at = self._at(slot)
        return self._whole[at + _REVOKED] == self._whole[at + _MESSAGE] != 0

    def _at(self, slot: int) -> int:
        return (slot + 1) * _FIELDS
