"""`Hold`: a key that is taken until a moment, such as that of a job which is unique over a period."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Hold(models.Model):
    """A key that is taken until `until`, by a job. A row that is over means nothing, and is deleted in time."""

    key = models.CharField(_("key"), max_length=64, primary_key=True)
    job_id = models.UUIDField(_("job"), null=True, blank=True)
    until = models.DateTimeField(_("until"), db_index=True)

    class Meta:
        verbose_name = _("hold")
        verbose_name_plural = _("holds")

    def __str__(self) -> str:
        return self.key
