"""`Job`: the live jobs. The hot table: narrow, short-lived rows."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from .indexes import PartialIndex, PartialUniqueIndex
from .stored import StoredJob


class JobState(models.TextChoices):
    """The states of a live job."""

    PENDING = "pending", _("pending")
    SCHEDULED = "scheduled", _("scheduled")
    BLOCKED = "blocked", _("blocked")
    RUNNING = "running", _("running")
    CANCEL_REQUESTED = "cancel_requested", _("cancel requested")


class Job(StoredJob):
    """A job that is waiting or running."""

    state = models.CharField(_("state"), max_length=16, choices=JobState, default=JobState.PENDING)
    suspect = models.BooleanField(
        _("suspect"), default=False, help_text=_("A worker was lost with it: it is claimed alone.")
    )
    unique_key = models.CharField(_("unique key"), max_length=64, null=True, blank=True)  # noqa: DJ001 - NULL is "no key"

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        permissions = [("cancel_job", _("Can cancel jobs"))]
        indexes = [
            PartialIndex(
                name="django_jobs_claim",
                fields=["queue", "suspect", "rank", "available_at", "id"],
                where=Q(state="pending"),
                plain_fields=["queue", "state", "suspect", "rank", "available_at", "id"],
            ),
            PartialIndex(
                name="django_jobs_due",
                fields=["available_at"],
                where=Q(state="scheduled"),
                plain_fields=["state", "available_at"],
            ),
            PartialIndex(
                name="django_jobs_holder",
                fields=["worker_id"],
                where=Q(state__in=["running", "cancel_requested"]),
                plain_fields=["state", "worker_id"],
            ),
            PartialUniqueIndex(
                name="django_jobs_unique_key",
                fields=["unique_key"],
                where=Q(unique_key__isnull=False),
            ),
        ]

    @property
    def shown_state(self) -> str:
        """The state as people know it: a retry that waits is `retry_wait`."""
        return "retry_wait" if self.state == JobState.SCHEDULED and self.attempt else self.state
