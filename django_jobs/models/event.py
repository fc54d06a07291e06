"""`JobEvent`: the timeline of a job, written for what is not the plain path."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class JobEvent(models.Model):
    """A line in a job's timeline."""

    id = models.BigAutoField(primary_key=True)
    job_id = models.UUIDField(_("job"), db_index=True)
    queue = models.CharField(_("queue"), max_length=64, blank=True, default="")
    type = models.CharField(_("type"), max_length=32)
    message = models.TextField(_("message"), blank=True, default="")
    data = models.JSONField(_("data"), default=dict, blank=True)
    at = models.DateTimeField(_("at"), db_index=True)

    class Meta:
        verbose_name = _("job event")
        verbose_name_plural = _("job events")

    def __str__(self) -> str:
        return f"{self.type} {self.job_id}"
