"""The page of the schedule's entries: how they stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..exceptions import InvalidSchedule
from ..models import ScheduleEntry, TickState
from ..scheduler.entries import Entry, is_at_home
from ..scheduler.mapping import entry_from_mapping
from ..scheduler.sources import by_name
from ..scheduler.words import in_words
from . import display
from .base import FactsAdmin, ObjectAction, moment_of
from .entry_form import EntryForm

if TYPE_CHECKING:
    from ..scheduler.desk import Desk
    from ..scheduler.plans import Report


def scheduler_desk() -> Desk:
    """Where entries are run and switched. It is loaded when it is needed: each worker has loaded this module too."""
    from ..scheduler.desk import make_desk

    return make_desk(inline=False)


def entry_of(row: ScheduleEntry) -> Entry | None:
    """The entry as the schedule has it. None: it is not there any more, or what is there does not hold."""
    if row.definition is None:
        return by_name().get(row.name)
    try:
        return entry_from_mapping(row.name, row.definition, origin="database")
    except InvalidSchedule:
        return None


def is_active(row: ScheduleEntry) -> bool:
    """Whether it is enabled, here and in its definition, and one of this environment."""
    entry = entry_of(row)
    return entry is not None and row.enabled and entry.enabled and is_at_home(entry)


def fact_of(label: Any, tell: Callable[[Entry], str]) -> Callable[[Any, ScheduleEntry], str]:
    """A column that tells something of the entry; a dash where there is none, or nothing to tell."""

    @admin.display(description=label)
    def shown(self: Any, obj: ScheduleEntry) -> str:
        entry = entry_of(obj)
        return (entry is not None and tell(entry)) or display.EMPTY

    return shown


@admin.register(ScheduleEntry)
class ScheduleEntryAdmin(FactsAdmin):
    """Every entry that a scheduler has seen, and those that are made in the database, which are made here too.

    Those of the code can be enabled and disabled; what they are is for the code to say.
    """

    form = EntryForm

    list_display = ("name", "state_badge", "timing", "where", "looked_at", "origin")
    list_filter = ("enabled",)
    search_fields = ("name",)
    search_help_text = gettext_lazy("By a part of the name.")
    ordering = ("name",)
    long_columns = ("definition",)
    actions = ("run_entries", "enable_entries", "disable_entries")
    object_actions = (
        ObjectAction("run", gettext_lazy("Run this entry now"), lambda row: is_active(row)),
        ObjectAction("enable", gettext_lazy("Enable this entry"), lambda row: not row.enabled),
        ObjectAction("disable", gettext_lazy("Disable this entry"), lambda row: row.enabled),
    )
    readonly_fields = (
        *("state_badge", "timing", "words", "zone", "looked_at", "decided"),
        *("handler", "where", "origin", "shown_definition", "hidden_definition"),
    )

    looked_at = moment_of("look_at", gettext_lazy("looked at next"))
    decided = moment_of("seen_at", gettext_lazy("decided up to"))
    timing = fact_of(gettext_lazy("when"), lambda entry: entry.timing.expression)
    words = fact_of(gettext_lazy("in words"), lambda entry: in_words(entry.timing))
    zone = fact_of(gettext_lazy("time zone"), lambda entry: entry.timing.zone_name)
    handler = fact_of(gettext_lazy("handler"), lambda entry: entry.handler)
    where = fact_of(gettext_lazy("queue"), lambda entry: entry.queue or _("inline"))

    # -- what may be done ---------------------------------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return self.may(request, "add_scheduleentry")

    def has_change_permission(self, request: HttpRequest, obj: ScheduleEntry | None = None) -> bool:
        """Who changes a definition has to see it, and the payload in it."""
        is_ours = obj is None or obj.definition is not None
        return is_ours and self.may(request, "change_scheduleentry") and self.may(request, "view_payload")

    def has_delete_permission(self, request: HttpRequest, obj: ScheduleEntry | None = None) -> bool:
        """One by one: an entry of the code would come back, and begin anew."""
        return obj is not None and obj.definition is not None and self.may(request, "delete_scheduleentry")

    def has_run_permission(self, request: HttpRequest) -> bool:
        """Whether the user may run entries out of their turn."""
        return self.may(request, "run_schedule")

    def has_enable_permission(self, request: HttpRequest) -> bool:
        """Whether the user may enable and disable entries."""
        return self.may(request, "change_scheduleentry")

    has_disable_permission = has_enable_permission

    # -- the pages ----------------------------------------------------------------------------------------------

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        form.database = self.database  # type: ignore[attr-defined]
        return form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return [(None, {"fields": ("name", "enabled", "definition")})]
        definition = "shown_definition" if self.may(request, "view_payload") else "hidden_definition"
        when = ("timing", "words", "zone", "looked_at", "decided")
        if self.has_change_permission(request, obj):
            definition = "definition"
        return [(None, {"fields": ("name", "state_badge", *when, "handler", "where", "origin", definition)})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.readonly_fields if obj is None else ("name", *self.readonly_fields)

    def save_model(self, request: HttpRequest, obj: ScheduleEntry, form: Any, change: bool) -> None:
        """Write what the form has, and nothing else: schedulers have the other columns in hand meanwhile."""
        how: dict[str, Any] = {"update_fields": ["definition"]} if change else {"force_insert": True}
        obj.save(using=self.database, **how)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ChangeList  # with the definitions, which say when: left out, each would be a query of its own

    @admin.display(description=gettext_lazy("state"))
    def state_badge(self, obj: ScheduleEntry) -> SafeString:
        """Whether its ticks are dispatched: it is one of this environment, and enabled here and in its definition."""
        entry = entry_of(obj)
        if entry is None:
            return display.badge("paused", _("not in the schedule"))
        if not is_at_home(entry):
            return display.badge("paused", _("only in %(names)s") % {"names": ", ".join(entry.environments)})
        return display.badge("active", _("enabled")) if is_active(obj) else display.badge("paused", _("disabled"))

    @admin.display(description=gettext_lazy("defined in"))
    def origin(self, obj: ScheduleEntry) -> str:
        """Where its definition is."""
        entry = entry_of(obj)
        if obj.definition is not None:
            return _("the database")
        return display.EMPTY if entry is None else entry.origin

    @admin.display(description=gettext_lazy("definition"))
    def shown_definition(self, obj: ScheduleEntry) -> str:
        """What it is, where that is in its row."""
        return display.EMPTY if obj.definition is None else display.pretty(obj.definition)

    @admin.display(description=gettext_lazy("definition"))
    def hidden_definition(self, obj: ScheduleEntry) -> str:
        """In the definition's place."""
        return display.hidden()

    # -- run now ------------------------------------------------------------------------------------------------

    @admin.action(description=gettext_lazy("Run selected entries now"), permissions=["run"])
    def run_entries(self, request: HttpRequest, queryset: QuerySet[ScheduleEntry]) -> None:
        """Let them run once, now."""
        self.run(request, self.chosen(request, queryset))

    def run_object(self, request: HttpRequest, obj: ScheduleEntry) -> None:
        """Let it run once, now."""
        self.run(request, [obj])

    def run(self, request: HttpRequest, rows: Sequence[ScheduleEntry]) -> None:
        """Let these run, log it, and say what became of them."""
        from ..scheduler.runner import Runner

        desk = scheduler_desk()
        desk.schedule.refresh()
        reports = {report.name: report for report in Runner(desk).out_of_turn([row.name for row in rows]).reports}
        began = (TickState.DISPATCHED, TickState.WAITING)
        self.log(request, [r for r in rows if r.name in reports and reports[r.name].state in began], _("Run now."))
        self.tell(request, list(reports.values()), len(rows) - len(reports))

    def tell(self, request: HttpRequest, reports: Sequence[Report], left_out: int) -> None:
        """Say what became of them."""
        states = Counter(report.state for report in reports)
        if n := states[TickState.DISPATCHED]:
            text = ngettext("The job of %(n)d entry is enqueued.", "The jobs of %(n)d entries are enqueued.", n)
            self.message_user(request, text % {"n": n}, messages.SUCCESS)
        if n := states[TickState.WAITING]:
            text = ngettext("%(n)d entry waits for a scheduler.", "%(n)d entries wait for a scheduler.", n)
            self.message_user(request, text % {"n": n}, messages.SUCCESS)
        for report in reports:
            facts = {"name": report.name, "why": report.error or report.reason}
            if report.state == TickState.SKIPPED:
                self.message_user(request, _("%(name)s was skipped: %(why)s") % facts, messages.WARNING)
            elif report.state == TickState.FAILED:
                self.message_user(request, _("%(name)s could not be started: %(why)s") % facts, messages.ERROR)
        if n := left_out:
            text = ngettext(
                "%(n)d entry was left alone: it is disabled, not in the schedule here, or just in another's hands.",
                "%(n)d entries were left alone: disabled, not in the schedule here, or just in another's hands.",
                n,
            )
            self.message_user(request, text % {"n": n}, messages.WARNING)

    # -- enable, disable ----------------------------------------------------------------------------------------

    @admin.action(description=gettext_lazy("Enable selected entries"), permissions=["enable"])
    def enable_entries(self, request: HttpRequest, queryset: QuerySet[ScheduleEntry]) -> None:
        """Let them run again, from now on."""
        self.switch(request, self.chosen(request, queryset), on=True)

    @admin.action(description=gettext_lazy("Disable selected entries"), permissions=["disable"])
    def disable_entries(self, request: HttpRequest, queryset: QuerySet[ScheduleEntry]) -> None:
        """Let their ticks pass by."""
        self.switch(request, self.chosen(request, queryset), on=False)

    def enable_object(self, request: HttpRequest, obj: ScheduleEntry) -> None:
        """Let it run again, from now on."""
        self.switch(request, [obj], on=True)

    def disable_object(self, request: HttpRequest, obj: ScheduleEntry) -> None:
        """Let its ticks pass by."""
        self.switch(request, [obj], on=False)

    def switch(self, request: HttpRequest, rows: Sequence[ScheduleEntry], *, on: bool) -> None:
        """Enable or disable these, log it, and say so."""
        ledger = scheduler_desk().ledger
        changed = ledger.set_enabled([row.name for row in rows], enabled=on, now=ledger.now())
        self.log(request, [row for row in rows if row.name in changed], _("Enabled.") if on else _("Disabled."))
        n = len(changed)
        if on:
            text = ngettext("%(n)d entry was enabled.", "%(n)d entries were enabled.", n)
        else:
            text = ngettext("%(n)d entry was disabled.", "%(n)d entries were disabled.", n)
        self.message_user(request, text % {"n": n}, messages.SUCCESS)
