"""`jobs_resume`: the end of `jobs_pause`."""

from __future__ import annotations

from django.utils.translation import gettext_lazy

from .jobs_pause import Command as PauseCommand


class Command(PauseCommand):
    """Resume queues."""

    about = gettext_lazy("Resume queues that were paused: workers claim from them again within a second.")
    paused = False
    said = (gettext_lazy("Queue '%(queue)s' is resumed."), gettext_lazy("Queue '%(queue)s' was not paused."))
