"""django-tasks-db: two `db_worker` processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

os.environ |= {"DJANGO_SETTINGS_MODULE": "benchmarks.peers.django_site", "PEER_APP": "django_tasks_db"}

from django.tasks import task

from . import tally
from .peer import Peer


@task
def tick(user_id: int) -> None:
    tally.tick()


class DjangoTasksDb(Peer):
    def __init__(self) -> None:
        import django

        django.setup()

    def install(self) -> None:
        from django.core.management import call_command

        call_command("migrate", verbosity=0)

    def one_by_one(self, numbers: Sequence[int]) -> None:
        for n in numbers:
            tick.enqueue(user_id=n)

    def workers(self) -> list[list[str]]:
        return [[sys.executable, "-m", "django", "db_worker"]] * 2

    def left(self) -> int:
        from django_tasks_db.models import DBTaskResult

        return DBTaskResult.objects.exclude(status="SUCCESSFUL").count()
