"""The page of failed jobs: read why, retry."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..backends import get_backend
from ..maintenance.retry import retry_ids
from ..models import FailedJob, FailureReason
from . import display
from .base import ObjectAction, StoredJobAdmin, moment_of
from .filters import HandlerFilter, QueueFilter

MOST_NAMED = 10


@admin.register(FailedJob)
class FailedJobAdmin(StoredJobAdmin):
    """Jobs that failed. They can be retried and, with Django's own permission, deleted."""

    list_display = ("short_id", "brief_reason", "error", "handler", "queue", "finished", "tries", "name")
    list_filter = ("reason", QueueFilter, HandlerFilter, "finished_at")
    long_columns = (*StoredJobAdmin.long_columns, "error_message", "traceback")
    readonly_fields = (
        *StoredJobAdmin.readonly_fields,
        *("state_badge", "finished", "run_time", "shown_message", "shown_traceback"),
    )
    ran = ("started", "finished", "run_time")
    finished = moment_of("finished_at", gettext_lazy("failed at"))
    actions = ("retry_jobs",)
    object_actions = (
        ObjectAction("retry", gettext_lazy("Retry this job"), lambda job: job.reason != FailureReason.REJECTED),
    )

    def has_delete_permission(self, request: HttpRequest, obj: FailedJob | None = None) -> bool:
        return self.may(request, "delete_failedjob")

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Whether the user may retry failed jobs."""
        return self.may(request, "retry_job")

    def outcome_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return ("error_class", "shown_message", "shown_traceback")

    @admin.display(description=gettext_lazy("reason"))
    def state_badge(self, obj: FailedJob) -> SafeString:
        """Why it failed."""
        return display.badge(obj.reason, obj.get_reason_display())

    @admin.display(description=gettext_lazy("reason"))
    def brief_reason(self, obj: FailedJob) -> SafeString:
        """Why it failed, without the explanation in parentheses."""
        return display.badge(obj.reason, obj.get_reason_display().partition(" (")[0])

    @admin.display(description=gettext_lazy("error"))
    def error(self, obj: FailedJob) -> str:
        """The name of the error's class."""
        return display.last_name(obj.error_class)

    @admin.display(description=gettext_lazy("run time"))
    def run_time(self, obj: FailedJob) -> str:
        """How long the last attempt took."""
        return display.span(obj.run_seconds)

    @admin.display(description=gettext_lazy("message"))
    def shown_message(self, obj: FailedJob) -> str:
        """The error's message."""
        return display.pre(obj.error_message)

    @admin.display(description=gettext_lazy("traceback"))
    def shown_traceback(self, obj: FailedJob) -> str:
        """The error's traceback."""
        return display.pre(obj.traceback)

    # -- retry --------------------------------------------------------------------------------------------------

    @admin.action(description=gettext_lazy("Retry selected jobs"), permissions=["retry"])
    def retry_jobs(self, request: HttpRequest, queryset: QuerySet[FailedJob]) -> None:
        """Make them wait again."""
        self.retry(request, self.chosen(request, queryset))

    def retry_object(self, request: HttpRequest, obj: FailedJob) -> None:
        """Make it wait again."""
        self.retry(request, [obj])

    def retry(self, request: HttpRequest, jobs: Sequence[FailedJob]) -> None:
        """Retry these, log it, and say what became of them."""
        report = retry_ids(get_backend(), [str(job.pk) for job in jobs])
        retried = set(report.retried)
        self.log(request, [job for job in jobs if str(job.pk) in retried], _("Retried."))
        if n := len(retried):
            text = ngettext("%(n)d job waits again.", "%(n)d jobs wait again.", n)
            self.message_user(request, text % {"n": n}, messages.SUCCESS)
        if n := len(report.skipped):
            text = ngettext("%(n)d job can't be retried: %(reasons)s", "%(n)d jobs can't be retried: %(reasons)s", n)
            reasons = "; ".join([*report.skipped.values()][:MOST_NAMED]) + (" …" if n > MOST_NAMED else "")
            self.message_user(request, text % {"n": n, "reasons": reasons}, messages.WARNING)
        if n := len(report.missing):
            text = ngettext("%(n)d job was not there any more.", "%(n)d jobs were not there any more.", n)
            self.message_user(request, text % {"n": n}, messages.WARNING)
