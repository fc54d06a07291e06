"""`Queue`: what an operator changes about a queue while it runs."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Queue(models.Model):
    """A queue that somebody has touched. A queue needs no row to work."""

    name = models.CharField(_("name"), max_length=64, primary_key=True)
    paused = models.BooleanField(_("paused"), default=False, help_text=_("Workers claim nothing from a paused queue."))
    changed_at = models.DateTimeField(_("changed at"), auto_now=True)

    class Meta:
        verbose_name = _("queue")
        verbose_name_plural = _("queues")
        permissions = [("pause_queue", _("Can pause and resume queues"))]

    def __str__(self) -> str:
        return self.name
