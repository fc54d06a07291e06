"""`jobs_work_all`: another name of `jobs_work --all`."""

from __future__ import annotations

from django.utils.translation import gettext_lazy

from .jobs_work import Command as WorkCommand


class Command(WorkCommand):
    """Work on every queue."""

    about = gettext_lazy(
        "Work on every queue of JOBS_QUEUES, each with a worker of its own, under one parent. Another name of "
        "jobs_work --all."
    )
    every_queue = True
