"""The columns that live, completed and failed jobs share, so that a job moves between the tables unchanged."""

from __future__ import annotations

import json
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from .. import envelope
from ..definition import JobDefinition
from ..exceptions import CorruptEnvelope


class StoredJob(models.Model):
    """A job as it is stored. `envelope` is what runs; the other columns are there to find, order and count it."""

    id = models.UUIDField(_("id"), primary_key=True, editable=False)
    queue = models.CharField(_("queue"), max_length=64)
    handler = models.CharField(_("handler"), max_length=128)
    rank = models.SmallIntegerField(
        _("rank"), default=0, help_text=_("The priority with its sign turned: smaller runs first.")
    )
    attempt = models.IntegerField(_("attempt"), default=0)
    max_attempts = models.IntegerField(_("maximum of attempts"), default=1)
    crashes = models.SmallIntegerField(_("crashes"), default=0)
    claim_no = models.IntegerField(_("claim number"), default=0)
    worker_id = models.UUIDField(_("worker"), null=True, blank=True)
    name = models.CharField(_("name"), max_length=200, blank=True, default="")
    reference = models.CharField(_("reference"), max_length=200, blank=True, default="")
    group = models.CharField(_("group"), max_length=100, blank=True, default="", db_column="job_group")
    tags = models.CharField(_("tags"), max_length=255, blank=True, default="")
    source = models.CharField(_("source"), max_length=20, default="app")
    envelope = models.TextField(_("envelope"))
    signature = models.CharField(_("signature"), max_length=80, blank=True, default="")
    history = models.TextField(_("history"), blank=True, default="", help_text=_("Earlier attempts, as a JSON list."))
    enqueued_at = models.DateTimeField(_("enqueued at"))
    available_at = models.DateTimeField(_("available at"))
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.handler} {self.id}"

    @property
    def priority(self) -> int:
        """The priority: bigger runs first."""
        return -self.rank

    @property
    def attempts(self) -> list[dict[str, Any]]:
        """What became of earlier attempts, oldest first."""
        try:
            entries = json.loads(self.history) if self.history else []
        except (ValueError, RecursionError):
            return []
        return entries if isinstance(entries, list) else []

    @property
    def definition(self) -> JobDefinition | None:
        """What the envelope says (unverified); None where it cannot be read."""
        try:
            return envelope.decode(self.envelope)
        except CorruptEnvelope:
            return None


SHARED_COLUMNS: tuple[str, ...] = tuple(str(field.column) for field in StoredJob._meta.local_fields)
"""The columns that move with a job from table to table."""
