"""`ScheduleEntry`: what is known of an entry at run time, and the entries that are made in the database."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .exact import ExactCharField


class ScheduleEntry(models.Model):
    """An entry of the schedule. One of the code has a row from the first time on that a scheduler sees it.

    Every tick up to `seen_at` has been decided upon, by the store's clock; NULL is an entry that no scheduler has seen.
    """

    name = ExactCharField(_("name"), max_length=200, primary_key=True)
    enabled = models.BooleanField(_("enabled"), default=True, help_text=_("The ticks of a disabled entry pass by."))
    definition = models.JSONField(
        _("definition"),
        null=True,
        blank=True,
        help_text=_("What JOBS_SCHEDULE would say of it, as JSON; empty for an entry of the code."),
    )
    timing_mark = models.CharField(
        _("mark of its timing"), max_length=40, blank=True, default="", help_text=_("Differs when its timing does.")
    )
    seen_at = models.DateTimeField(_("decided up to"), null=True, blank=True)
    look_at = models.DateTimeField(
        _("looked at next"), null=True, blank=True, db_index=True, help_text=_("Its next tick, or sooner.")
    )

    class Meta:
        verbose_name = _("schedule entry")
        verbose_name_plural = _("schedule entries")
        permissions = [("run_schedule", _("Can run entries of the schedule now"))]

    def __str__(self) -> str:
        return str(self.name)
