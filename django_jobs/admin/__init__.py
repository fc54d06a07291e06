"""The admin: jobs, queues and workers as they are, and the few things that people do about them."""

from . import completed_job, event, failed_job, hold, job, lock, queue, schedule_entry, schedule_tick, worker

__all__ = [
    "completed_job",
    "event",
    "failed_job",
    "hold",
    "job",
    "lock",
    "queue",
    "schedule_entry",
    "schedule_tick",
    "worker",
]
