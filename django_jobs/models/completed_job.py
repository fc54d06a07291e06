"""`CompletedJob`: jobs that are done, or were cancelled."""

from __future__ import annotations

import json
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from .stored import StoredJob


class CompletedState(models.TextChoices):
    """How a job left without failing."""

    COMPLETED = "completed", _("completed")
    CANCELLED = "cancelled", _("cancelled")


class CompletedJob(StoredJob):
    """A job that is done or was cancelled. `keep_until` is when the worker may delete it (NULL: never by itself)."""

    state = models.CharField(_("state"), max_length=16, choices=CompletedState, default=CompletedState.COMPLETED)
    result = models.TextField(_("result"), blank=True, default="")
    run_seconds = models.FloatField(_("run time in seconds"), default=0)
    finished_at = models.DateTimeField(_("finished at"), db_index=True)
    keep_until = models.DateTimeField(_("keep until"), null=True, blank=True, db_index=True)

    class Meta:
        verbose_name = _("completed job")
        verbose_name_plural = _("completed jobs")

    @property
    def output(self) -> Any:
        """What the handler returned."""
        return json.loads(self.result) if self.result else None
