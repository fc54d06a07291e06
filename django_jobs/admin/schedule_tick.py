"""The page of the schedule's ticks."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import QuerySet
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from ..models import ScheduleTick
from . import display
from .base import FactsAdmin, moment_of, where_is


@admin.register(ScheduleTick)
class ScheduleTickAdmin(FactsAdmin):
    """What became of the instants at which entries were due, the latest first."""

    list_display = ("name", "due", "state_badge", "reason", "passed_over", "finished")
    list_filter = ("state", "instant")
    search_fields = ("=name",)
    search_help_text = gettext_lazy("By the whole name of the entry, or the whole id of the job.")
    ordering = ("-instant", "name")
    long_columns = ("notes",)
    readonly_fields = ("due", "state_badge", "decided", "started", "finished", "shown_job", "shown_notes")
    fields = (
        *("name", "due", "state_badge", "reason", "passed_over", "shown_job"),
        *("decided", "started", "finished", "shown_notes"),
    )

    due = moment_of("instant", gettext_lazy("due at"))
    decided = moment_of("decided_at", gettext_lazy("decided at"))
    started = moment_of("started_at", gettext_lazy("started at"))
    finished = moment_of("finished_at", gettext_lazy("finished at"))

    def by_id(self, queryset: QuerySet[Any], wanted: uuid.UUID) -> QuerySet[Any]:
        return queryset.filter(job_id=wanted)

    @admin.display(description=gettext_lazy("state"))
    def state_badge(self, obj: ScheduleTick) -> SafeString:
        """What became of it."""
        return display.badge(obj.state, obj.get_state_display())

    @admin.display(description=gettext_lazy("job"))
    def shown_job(self, obj: ScheduleTick) -> str:
        """Its job, wherever that is now."""
        model = where_is(self.database, obj.job_id) if obj.job_id else None
        if model is None:
            return str(obj.job_id or display.EMPTY)
        return format_html('<a href="{}">{}</a>', self.url("change", quote(str(obj.job_id)), model=model), obj.job_id)

    @admin.display(description=gettext_lazy("notes"))
    def shown_notes(self, obj: ScheduleTick) -> str:
        """Errors of it and of its hooks."""
        return display.pre(obj.notes) if obj.notes else display.EMPTY
