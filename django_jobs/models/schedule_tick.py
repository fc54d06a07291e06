"""`ScheduleTick`: one due instant of an entry of the schedule, and what became of it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from .exact import ExactCharField
from .indexes import PartialIndex, PartialUniqueIndex


class TickState(models.TextChoices):
    """The states of a tick. The first three are open."""

    WAITING = "waiting", _("waiting")
    DISPATCHED = "dispatched", _("dispatched")
    RUNNING = "running", _("running")
    SUCCEEDED = "succeeded", _("succeeded")
    FAILED = "failed", _("failed")
    SKIPPED = "skipped", _("skipped")


class ScheduleTick(models.Model):
    """A tick that was decided upon. Its name and instant are there once: that is what makes a dispatch the only one.

    `look_at` is when somebody should look at an open tick: a lease for whoever has it in hand; NULL for one that is
    closed. `guard` is the key against overlaps while it is held.
    """

    id = models.UUIDField(_("id"), primary_key=True, editable=False)
    name = ExactCharField(_("entry"), max_length=200)
    instant = models.DateTimeField(_("due at"))
    state = models.CharField(_("state"), max_length=16, choices=TickState)
    reason = models.CharField(_("reason"), max_length=200, blank=True, default="")
    passed_over = models.IntegerField(
        _("passed over"), default=0, help_text=_("How many ticks before it were missed and not made up for.")
    )
    job_id = models.UUIDField(_("job"), null=True, blank=True)
    backend = models.CharField(_("backend"), max_length=100, blank=True, default="")
    holder = models.UUIDField(_("holder"), null=True, blank=True)
    look_at = models.DateTimeField(_("looked at next"), null=True, blank=True)
    guard = models.CharField(_("guard"), max_length=64, null=True, blank=True)  # noqa: DJ001 - NULL is "not held"
    notes = models.TextField(_("notes"), blank=True, default="", help_text=_("Errors of it and of its hooks."))
    decided_at = models.DateTimeField(_("decided at"))
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)

    class Meta:
        verbose_name = _("schedule tick")
        verbose_name_plural = _("schedule ticks")
        constraints = [models.UniqueConstraint(fields=["name", "instant"], name="django_jobs_tick_once")]
        indexes = [
            # Said as "not NULL", which a comparison of `look_at` implies: SQLite takes no other condition for granted.
            PartialIndex(name="django_jobs_tick_open", fields=["look_at"], where=Q(look_at__isnull=False)),
            PartialUniqueIndex(name="django_jobs_tick_guard", fields=["guard"], where=Q(guard__isnull=False)),
            models.Index(name="django_jobs_tick_age", fields=["instant"]),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.instant.isoformat()}"
