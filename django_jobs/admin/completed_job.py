"""The page of completed and cancelled jobs."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from ..models import CompletedJob
from . import display
from .base import StoredJobAdmin, moment_of
from .filters import HandlerFilter, QueueFilter


@admin.register(CompletedJob)
class CompletedJobAdmin(StoredJobAdmin):
    """Jobs that are done or were cancelled. They can be deleted, with Django's own permission."""

    list_display = ("short_id", "state_badge", "finished", "queue", "handler", "run_time", "tries", "name")
    list_filter = ("state", QueueFilter, HandlerFilter, "finished_at")
    long_columns = (*StoredJobAdmin.long_columns, "result")
    readonly_fields = (
        *StoredJobAdmin.readonly_fields,
        "state_badge",
        "finished",
        "kept",
        "run_time",
        "shown_result",
        "hidden_result",
    )
    ran = ("started", "finished", "run_time", "kept")
    finished = moment_of("finished_at", gettext_lazy("finished at"))
    kept = moment_of("keep_until", gettext_lazy("kept until"))

    def has_delete_permission(self, request: HttpRequest, obj: CompletedJob | None = None) -> bool:
        return self.may(request, "delete_completedjob")

    def outcome_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return ("shown_result" if self.sees_payload(request) else "hidden_result",)

    @admin.display(description=gettext_lazy("state"))
    def state_badge(self, obj: CompletedJob) -> SafeString:
        """How it ended."""
        return display.badge(obj.state, obj.get_state_display())

    @admin.display(description=gettext_lazy("run time"))
    def run_time(self, obj: CompletedJob) -> str:
        """How long the last attempt took."""
        return display.span(obj.run_seconds)

    @admin.display(description=gettext_lazy("result"))
    def shown_result(self, obj: CompletedJob) -> str:
        """What the handler returned."""
        try:
            return display.pretty(obj.output) if obj.result else display.EMPTY
        except (ValueError, RecursionError):
            return display.pre(obj.result)

    @admin.display(description=gettext_lazy("result"))
    def hidden_result(self, obj: CompletedJob) -> str:
        """In the result's place."""
        return display.hidden()
