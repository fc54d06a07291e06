"""The page of holds."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy

from ..models import Hold
from .base import FactsAdmin, moment_of, where_is


@admin.register(Hold)
class HoldAdmin(FactsAdmin):
    """The keys that are taken for a period. To delete one frees its key."""

    list_display = ("key", "job_id", "ends")
    search_fields = ("=key",)
    search_help_text = gettext_lazy("By the whole id of the job.")
    ordering = ("-until", "key")
    readonly_fields = ("ends", "shown_job")
    fields = ("key", "shown_job", "ends")

    ends = moment_of("until", gettext_lazy("until"))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, "delete_hold")

    def by_id(self, queryset: QuerySet[Any], wanted: Any) -> QuerySet[Any]:
        return queryset.filter(job_id=wanted)

    @admin.display(description=gettext_lazy("job"))
    def shown_job(self, obj: Hold) -> str:
        """The job, wherever it is now."""
        model = where_is(self.database, obj.job_id) if obj.job_id else None
        if model is None:
            return str(obj.job_id)
        return format_html('<a href="{}">{}</a>', self.url("change", quote(str(obj.job_id)), model=model), obj.job_id)
