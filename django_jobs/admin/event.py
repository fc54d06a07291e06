"""The page of events."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy

from ..models import JobEvent
from ..redaction import redact_text
from . import display
from .base import FactsAdmin, moment_of, where_is
from .filters import QueueFilter


@admin.register(JobEvent)
class JobEventAdmin(FactsAdmin):
    """The timelines of all jobs, newest first."""

    list_display = ("when", "type", "queue", "short_job", "brief_message")
    list_filter = (QueueFilter, "at")
    search_fields = ("=job_id",)
    search_help_text = gettext_lazy("By the whole id of the job.")
    readonly_fields = ("when", "shown_job", "shown_message", "shown_data")
    fields = ("when", "type", "queue", "shown_job", "shown_message", "shown_data")

    when = moment_of("at", gettext_lazy("at"))

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        try:
            uuid.UUID(search_term.strip())
        except ValueError:
            return (queryset.none() if search_term.strip() else queryset), False
        return super().get_search_results(request, queryset, search_term)

    def by_id(self, queryset: QuerySet[Any], wanted: uuid.UUID) -> QuerySet[Any]:
        return queryset.filter(job_id=wanted)

    @admin.display(description=gettext_lazy("message"))
    def brief_message(self, obj: JobEvent) -> str:
        """The start of the message."""
        return redact_text(obj.message[:1000])[:100]

    @admin.display(description=gettext_lazy("job"))
    def short_job(self, obj: JobEvent) -> str:
        """The job's id, short enough for a list."""
        return display.short_id(obj.job_id)

    @admin.display(description=gettext_lazy("job"))
    def shown_job(self, obj: JobEvent) -> str:
        """The job, wherever it is now."""
        model = where_is(self.database, obj.job_id)
        if model is None:
            return str(obj.job_id)
        return format_html('<a href="{}">{}</a>', self.url("change", quote(str(obj.job_id)), model=model), obj.job_id)

    @admin.display(description=gettext_lazy("message"))
    def shown_message(self, obj: JobEvent) -> str:
        """The message."""
        return display.pre(obj.message)

    @admin.display(description=gettext_lazy("data"))
    def shown_data(self, obj: JobEvent) -> str:
        """The data."""
        return display.pretty(obj.data) if obj.data else display.EMPTY
