"""The page of live jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..api import Jobs
from ..backends import CancelOutcome, get_backend
from ..exceptions import JobConflict
from ..models import Job, JobState
from ..redaction import presentable
from . import display
from .base import ObjectAction, StoredJobAdmin
from .filters import HandlerFilter, LiveStateFilter, QueueFilter


@admin.register(Job)
class JobAdmin(StoredJobAdmin):
    """Jobs that wait or run. They can be cancelled and, unless they run, deleted."""

    list_display = ("short_id", "state_badge", "available", "queue", "handler", "tries", "priority", "started", "name")
    list_filter = (LiveStateFilter, QueueFilter, HandlerFilter, "enqueued_at")
    readonly_fields = (*StoredJobAdmin.readonly_fields, "state_badge", "shown_suspect")
    ran = ("started", "shown_suspect")
    actions = ("cancel_jobs", "discard_jobs")
    object_actions = (
        ObjectAction("cancel", gettext_lazy("Cancel this job"), lambda job: job.state != JobState.CANCEL_REQUESTED),
        ObjectAction("discard", gettext_lazy("Delete this job"), lambda job: job.worker_id is None),
    )

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whether the user may cancel jobs."""
        return self.may(request, "cancel_job")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        """Whether the user may delete jobs that wait. Django's own deletion would not look whether they run."""
        return self.may(request, "delete_job")

    @admin.display(description=gettext_lazy("state"))
    def state_badge(self, obj: Job) -> SafeString:
        """The state as people know it."""
        label = _("waits for a retry") if obj.shown_state == "retry_wait" else obj.get_state_display()
        return display.badge(obj.shown_state, label)

    @admin.display(description=gettext_lazy("suspect"))
    def shown_suspect(self, obj: Job) -> str:
        """Whether it is suspect, and what that means. A cross would read as if it were."""
        return _("A worker was lost with it: it is claimed alone.") if obj.suspect else display.EMPTY

    # -- cancel -------------------------------------------------------------------------------------------------

    @admin.action(description=gettext_lazy("Cancel selected jobs"), permissions=["cancel"])
    def cancel_jobs(self, request: HttpRequest, queryset: QuerySet[Job]) -> HttpResponse | None:
        """Ask, then cancel."""
        return self.cancel(request, self.chosen(request, queryset), "cancel_jobs")

    def cancel_object(self, request: HttpRequest, obj: Job) -> HttpResponse | None:
        """Ask, then cancel."""
        return self.cancel(request, [obj])

    def cancel(self, request: HttpRequest, jobs: Sequence[Job], action: str = "") -> HttpResponse | None:
        """Cancel what waits; ask for it where it runs."""
        warning = _("A job that waits is cancelled at once. One that runs is asked to stop, and is not retried.")
        page = self.confirmation(request, jobs, title=_("Cancel these jobs?"), warning=warning, action=action)
        if page is not None:
            return page
        user = " ".join(presentable(str(request.user), 200).split())
        reason = _("by %(user)s, in the admin") % {"user": user}
        outcomes: Counter[CancelOutcome] = Counter()
        changed = []
        for job in jobs:
            outcome = Jobs.cancel(job.pk, reason=reason)
            outcomes[outcome] += 1
            if outcome in (CancelOutcome.CANCELLED, CancelOutcome.REQUESTED):
                changed.append(job)
        self.log(request, changed, _("Cancelled."))
        self.tell_cancelled(request, outcomes)
        return None

    def tell_cancelled(self, request: HttpRequest, outcomes: Counter[CancelOutcome]) -> None:
        """Say what the cancels came to."""
        if n := outcomes[CancelOutcome.CANCELLED]:
            text = ngettext("%(n)d job was cancelled.", "%(n)d jobs were cancelled.", n)
            self.message_user(request, text % {"n": n}, messages.SUCCESS)
        if n := outcomes[CancelOutcome.REQUESTED]:
            text = ngettext("%(n)d running job was asked to stop.", "%(n)d running jobs were asked to stop.", n)
            self.message_user(request, text % {"n": n}, messages.SUCCESS)
        if n := outcomes[CancelOutcome.ALREADY_FINISHED] + outcomes[CancelOutcome.NOT_FOUND]:
            text = ngettext("%(n)d job had ended already.", "%(n)d jobs had ended already.", n)
            self.message_user(request, text % {"n": n}, messages.WARNING)

    # -- delete -------------------------------------------------------------------------------------------------

    @admin.action(description=gettext_lazy("Delete selected jobs that wait"), permissions=["discard"])
    def discard_jobs(self, request: HttpRequest, queryset: QuerySet[Job]) -> HttpResponse | None:
        """Ask, then delete."""
        return self.discard(request, self.chosen(request, queryset), "discard_jobs")

    def discard_object(self, request: HttpRequest, obj: Job) -> HttpResponse | None:
        """Ask, then delete."""
        return self.discard(request, [obj])

    def discard(self, request: HttpRequest, jobs: Sequence[Job], action: str = "") -> HttpResponse | None:
        """Delete what waits; what runs is left alone."""
        warning = _("They will never run, and nothing of them is kept. Jobs that run are left alone.")
        page = self.confirmation(request, jobs, title=_("Delete these jobs?"), warning=warning, action=action)
        if page is not None:
            return page
        backend = get_backend()
        deleted: list[Any] = []
        kept = 0
        for job in jobs:
            try:
                if backend.delete(str(job.pk)):
                    deleted.append(job)
            except JobConflict:
                kept += 1
        self.log(request, deleted, _("Deleted."))
        if deleted:
            text = ngettext("%(n)d job was deleted.", "%(n)d jobs were deleted.", len(deleted))
            self.message_user(request, text % {"n": len(deleted)}, messages.SUCCESS)
        if kept:
            text = ngettext("%(n)d job runs and was kept.", "%(n)d jobs run and were kept.", kept)
            self.message_user(request, text % {"n": kept}, messages.WARNING)
        return None
