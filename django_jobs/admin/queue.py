"""The page of queues: pause and resume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..conf import conf
from ..models import Job, Queue
from . import display
from .base import MOST_COUNTED, FactsAdmin, ObjectAction, moment_of


class QueueForm(forms.ModelForm):  # type: ignore[type-arg]
    """The names to choose from leave out the queues that have a row."""

    def validate_unique(self) -> None:
        """Nothing: Django would ask the default database, where the queue need not be."""


@admin.register(Queue)
class QueueAdmin(FactsAdmin):
    """Queues that somebody has touched. A configured queue without a row can be added, so that it can be paused."""

    form = QueueForm
    list_display = ("name", "state_badge", "waiting", "running", "changed")
    list_filter = ("paused",)
    search_fields = ("name",)
    ordering = ("name",)
    actions = ("pause_queues", "resume_queues")
    readonly_fields = ("state_badge", "waiting", "running", "changed")
    changed = moment_of("changed_at", gettext_lazy("changed at"))
    object_actions = (
        ObjectAction("pause", gettext_lazy("Pause this queue"), lambda queue: not queue.paused),
        ObjectAction("resume", gettext_lazy("Resume this queue"), lambda queue: queue.paused),
    )

    # -- what may be done ---------------------------------------------------------------------------------------

    def has_pause_permission(self, request: HttpRequest) -> bool:
        """Whether the user may pause and resume queues."""
        return self.may(request, "pause_queue")

    has_resume_permission = has_pause_permission

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return self.has_pause_permission(request) and self.may(request, "add_queue")

    def has_delete_permission(self, request: HttpRequest, obj: Queue | None = None) -> bool:
        return self.has_pause_permission(request) and self.may(request, "delete_queue")  # a paused queue would go on

    # -- the pages ----------------------------------------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: Queue | None = None) -> Any:
        shown = ("name", "paused") if obj is None else ("name", "state_badge", "waiting", "running", "changed")
        return [(None, {"fields": shown})]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name != "name":
            return super().formfield_for_dbfield(db_field, request, **kwargs)
        names = sorted({*conf.queue_names()} - {*Queue.objects.using(self.database).values_list("name", flat=True)})
        return forms.ChoiceField(label=capfirst(db_field.verbose_name), choices=[(name, name) for name in names])

    def save_model(self, request: HttpRequest, obj: Queue, form: Any, change: bool) -> None:
        obj.save(using=self.database)

    @admin.display(description=gettext_lazy("state"))
    def state_badge(self, obj: Queue) -> SafeString:
        """Whether workers claim from it."""
        return display.badge("paused", _("paused")) if obj.paused else display.badge("active", _("active"))

    @admin.display(description=gettext_lazy("waiting"))
    def waiting(self, obj: Queue) -> str:
        """Jobs that are ready."""
        return self.counted(obj, state="pending")

    @admin.display(description=gettext_lazy("running"))
    def running(self, obj: Queue) -> str:
        """Jobs that run."""
        return self.counted(obj, state__in=["running", "cancel_requested"])

    def counted(self, obj: Queue, **where: Any) -> str:
        """How many live jobs, counted to 10,000."""
        n = Job.objects.using(self.database).filter(queue=obj.name, **where)[: MOST_COUNTED + 1].count()
        return f"{MOST_COUNTED:,}+" if n > MOST_COUNTED else str(n)

    # -- pause, resume ------------------------------------------------------------------------------------------

    @admin.action(description=gettext_lazy("Pause selected queues"), permissions=["pause"])
    def pause_queues(self, request: HttpRequest, queryset: QuerySet[Queue]) -> None:
        """Let workers claim nothing from them."""
        self.pause(request, self.chosen(request, queryset))

    @admin.action(description=gettext_lazy("Resume selected queues"), permissions=["resume"])
    def resume_queues(self, request: HttpRequest, queryset: QuerySet[Queue]) -> None:
        """Let workers claim from them again."""
        self.resume(request, self.chosen(request, queryset))

    def pause_object(self, request: HttpRequest, obj: Queue) -> None:
        """Let workers claim nothing from it."""
        self.pause(request, [obj])

    def resume_object(self, request: HttpRequest, obj: Queue) -> None:
        """Let workers claim from it again."""
        self.resume(request, [obj])

    def pause(self, request: HttpRequest, queues: Sequence[Queue]) -> None:
        """Pause these and say so."""
        n = self.set_paused(request, queues, paused=True)
        text = ngettext("%(n)d queue was paused. What runs goes on.", "%(n)d queues were paused. What runs goes on.", n)
        self.message_user(request, text % {"n": n}, messages.SUCCESS)

    def resume(self, request: HttpRequest, queues: Sequence[Queue]) -> None:
        """Resume these and say so."""
        n = self.set_paused(request, queues, paused=False)
        text = ngettext("%(n)d queue was resumed.", "%(n)d queues were resumed.", n)
        self.message_user(request, text % {"n": n}, messages.SUCCESS)

    def set_paused(self, request: HttpRequest, queues: Sequence[Queue], *, paused: bool) -> int:
        """Pause or resume; answers how many that changed."""
        changed = [queue for queue in queues if queue.paused is not paused]
        rows = Queue.objects.using(self.database).filter(pk__in=[queue.pk for queue in changed])
        rows.update(paused=paused, changed_at=Now())
        self.log(request, changed, _("Paused.") if paused else _("Resumed."))
        return len(changed)
