"""`FailedJob`: jobs that failed, with everything needed to run them again."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .stored import StoredJob


class FailureReason(models.TextChoices):
    """Why a job is here."""

    FAILED = "failed", _("failed (must not be retried)")
    DEAD = "dead", _("dead (attempts used up)")
    TIMED_OUT = "timed_out", _("timed out")
    CRASHED = "crashed", _("crashed")
    REJECTED = "rejected", _("rejected (signature)")
    EXPIRED = "expired", _("expired")
    HANDLER_MISSING = "handler_missing", _("handler missing")
    CORRUPT = "corrupt", _("corrupt")


class FailedJob(StoredJob):
    """A dead letter. It stays until somebody retries or deletes it."""

    reason = models.CharField(_("reason"), max_length=16, choices=FailureReason)
    error_class = models.CharField(_("error"), max_length=255, blank=True, default="")
    error_message = models.TextField(_("message"), blank=True, default="")
    traceback = models.TextField(_("traceback"), blank=True, default="")
    run_seconds = models.FloatField(_("run time in seconds"), default=0)
    finished_at = models.DateTimeField(_("failed at"), db_index=True)

    class Meta:
        verbose_name = _("failed job")
        verbose_name_plural = _("failed jobs")
        permissions = [("retry_job", _("Can retry failed jobs")), ("view_payload", _("Can see payloads and results"))]
