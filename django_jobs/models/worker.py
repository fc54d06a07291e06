"""`Worker`: one row per start of a coordinator. Its lease is the lease of every job it holds."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class WorkerState(models.TextChoices):
    """The states of a worker."""

    RUNNING = "running", _("running")
    DRAINING = "draining", _("draining")
    STOPPED = "stopped", _("stopped")
    LOST = "lost", _("lost")


class Worker(models.Model):
    """A worker. What it holds is its own while `lease_expires_at` lies ahead on the store's clock."""

    id = models.UUIDField(_("id"), primary_key=True, editable=False)
    host = models.CharField(_("host"), max_length=255)
    pid = models.IntegerField(_("process id"))
    queues = models.CharField(_("queues"), max_length=1000)
    state = models.CharField(_("state"), max_length=16, choices=WorkerState, default=WorkerState.RUNNING)
    children = models.IntegerField(_("children"), default=0)
    running = models.IntegerField(_("jobs in hand"), default=0)
    settled = models.BigIntegerField(_("jobs settled"), default=0)
    started_at = models.DateTimeField(_("started at"))
    renewed_at = models.DateTimeField(_("lease renewed at"))
    lease_expires_at = models.DateTimeField(_("lease ends at"))

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"
