"""Ours. `PEER_VARIANT` is the isolation: pool or fork (one worker, two children), or inline (two workers)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

os.environ |= {"DJANGO_SETTINGS_MODULE": "benchmarks.peers.django_site", "PEER_APP": "django_jobs"}

from django_jobs import JobContext, JobHandler, Jobs

from . import tally
from .peer import Peer

VARIANT = os.environ.get("PEER_VARIANT", "pool")


class Tick(JobHandler):
    """Tells the tally."""

    def handle(self, ctx: JobContext) -> None:
        tally.tick()


class DjangoJobs(Peer):
    def __init__(self) -> None:
        import django

        django.setup()

    def install(self) -> None:
        from django.core.management import call_command

        call_command("migrate", verbosity=0)

    def one_by_one(self, numbers: Sequence[int]) -> None:
        for n in numbers:
            Jobs.push("bench.tick", {"user_id": n})

    def in_bulk(self, numbers: Sequence[int]) -> None:
        Jobs.push_many("bench.tick", [{"user_id": n} for n in numbers])

    def workers(self) -> list[list[str]]:
        command = [sys.executable, "-m", "django", "jobs_work", "default", "--isolation", VARIANT]
        return [[*command, "--max-workers", "2"]] if VARIANT != "inline" else [command, command]

    def left(self) -> int:
        from django_jobs.models import Job

        return Job.objects.count()
