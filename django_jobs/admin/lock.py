"""The page of locks."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from ..models import Lock
from .base import FactsAdmin, moment_of


@admin.register(Lock)
class LockAdmin(FactsAdmin):
    """The names that `mutex` has taken. To delete one frees it, whatever its holder still does."""

    list_display = ("name", "ends")
    search_fields = ("=name",)
    search_help_text = gettext_lazy("By the whole name.")
    ordering = ("-until", "name")
    readonly_fields = ("name", "ends")
    fields = ("name", "ends")

    ends = moment_of("until", gettext_lazy("until"))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, "delete_lock")
