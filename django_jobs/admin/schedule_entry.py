"""The page of the schedule's entries: how they stand."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..models import ScheduleEntry
from . import display
from .base import FactsAdmin, moment_of


@admin.register(ScheduleEntry)
class ScheduleEntryAdmin(FactsAdmin):
    """Every entry that a scheduler has seen, and those that are made in the database."""

    list_display = ("name", "state_badge", "looked_at", "decided", "made_here")
    list_filter = ("enabled",)
    search_fields = ("name",)
    ordering = ("name",)
    long_columns = ("definition",)
    readonly_fields = ("state_badge", "looked_at", "decided", "made_here", "shown_definition", "hidden_definition")

    looked_at = moment_of("look_at", gettext_lazy("looked at next"))
    decided = moment_of("seen_at", gettext_lazy("decided up to"))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        definition = "shown_definition" if self.may(request, "view_payload") else "hidden_definition"
        return [(None, {"fields": ("name", "state_badge", "looked_at", "decided", "made_here", definition)})]

    @admin.display(description=gettext_lazy("state"))
    def state_badge(self, obj: ScheduleEntry) -> SafeString:
        """Whether its ticks are dispatched."""
        return display.badge("active", _("enabled")) if obj.enabled else display.badge("paused", _("disabled"))

    @admin.display(description=gettext_lazy("made in the database"), boolean=True)
    def made_here(self, obj: ScheduleEntry) -> bool:
        """Whether its definition is in its row."""
        return obj.definition is not None

    @admin.display(description=gettext_lazy("definition"))
    def shown_definition(self, obj: ScheduleEntry) -> str:
        """What it is, where that is in its row."""
        return display.EMPTY if obj.definition is None else display.pretty(obj.definition)

    @admin.display(description=gettext_lazy("definition"))
    def hidden_definition(self, obj: ScheduleEntry) -> str:
        """In the definition's place."""
        return display.hidden()
