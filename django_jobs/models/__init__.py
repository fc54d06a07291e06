"""The tables, one file each."""

from .completed_job import CompletedJob, CompletedState
from .event import JobEvent
from .failed_job import FailedJob, FailureReason
from .hold import Hold
from .job import Job, JobState
from .lock import Lock
from .queue import Queue
from .schedule_entry import ScheduleEntry
from .schedule_tick import ScheduleTick, TickState
from .stored import SHARED_COLUMNS, StoredJob
from .worker import Worker, WorkerState

__all__ = [
    "SHARED_COLUMNS",
    "CompletedJob",
    "CompletedState",
    "FailedJob",
    "FailureReason",
    "Hold",
    "Job",
    "JobEvent",
    "JobState",
    "Lock",
    "Queue",
    "ScheduleEntry",
    "ScheduleTick",
    "StoredJob",
    "TickState",
    "Worker",
    "WorkerState",
]
