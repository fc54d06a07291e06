"""`Lock`: a name that somebody has for himself until a moment."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .exact import ExactCharField


class Lock(models.Model):
    """A name that is taken until `until`, by whoever has the token. A row that is over is nobody's, and is deleted in
    time.
    """

    name = ExactCharField(_("name"), max_length=200, primary_key=True)
    token = models.UUIDField(_("token"), editable=False)
    until = models.DateTimeField(_("until"), db_index=True)

    class Meta:
        verbose_name = _("lock")
        verbose_name_plural = _("locks")

    def __str__(self) -> str:
        return str(self.name)
