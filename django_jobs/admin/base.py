"""What the admins have in common: pages of facts, with bounded queries and with actions of our own."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..backends import get_backend
from ..conf import conf
from ..models import CompletedJob, FailedJob, Job, JobEvent, StoredJob
from ..store import store_of
from . import display
from .filters import HandlerFilter, QueueFilter

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    _ModelAdmin = admin.ModelAdmin[Any]
    _Paginator = Paginator[Any]
else:
    _ModelAdmin = admin.ModelAdmin
    _Paginator = Paginator

MOST_COUNTED = 10_000
MOST_PER_ACTION = 1000
MOST_EVENTS = 200
CONFIRMED = "confirmed"


def moment_of(field: str, label: StrOrPromise) -> Callable[[Any, Any], str]:
    """A column or field that shows a moment to the second."""

    @admin.display(description=label)
    def shown(self: Any, obj: Any) -> str:
        return display.moment(getattr(obj, field))

    return shown


_QUALIFIER = re.compile(r'\b(group|tag|source|reference|name):(?:"([^"]*)"|(\S+))')


class ObjectAction(NamedTuple):
    """A button on the page of one object. `offered` says for which objects it makes sense."""

    name: str
    label: StrOrPromise
    offered: Callable[[Any], bool] = lambda _obj: True


class CappedPaginator(_Paginator):
    """Counts to 10,000 and no further, so that a page costs the same on a table of any size."""

    @cached_property
    def _counted(self) -> int:
        rows = cast("QuerySet[Any]", self.object_list)
        return rows[: MOST_COUNTED + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self._counted, MOST_COUNTED)

    @property
    def is_capped(self) -> bool:
        """Whether there are more rows than are counted."""
        return self._counted > MOST_COUNTED


class BriefChangeList(ChangeList):
    """Leaves the long columns in the table: a list does not show them."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        rows = super().get_queryset(request, exclude_parameters)
        return rows.defer(*getattr(self.model_admin, "long_columns", ()))


class FactsAdmin(_ModelAdmin):
    """Shows what is stored, on the database of the default backend. Nothing can be added, changed or deleted by form.

    `object_actions` are buttons on an object's page: each is a POST to a view of its own, which asks
    `has_<name>_permission()` and calls `<name>_object()`.
    """

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    paginator = CappedPaginator
    ordering: ClassVar[tuple[str, ...]] = ("-id",)
    sortable_by: ClassVar[tuple[str, ...]] = ()
    long_columns: ClassVar[tuple[str, ...]] = ()
    object_actions: ClassVar[tuple[ObjectAction, ...]] = ()

    class Media:
        css = {"all": ["django_jobs/admin.css"]}

    # -- what may be done ---------------------------------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return any(self.may(request, f"{verb}_{self.opts.model_name}") for verb in ("view", "change"))

    def may(self, request: HttpRequest, permission: str) -> bool:
        """Whether the user has this permission of ours."""
        return bool(request.user.has_perm(f"django_jobs.{permission}"))

    # -- where from ---------------------------------------------------------------------------------------------

    @property
    def database(self) -> str:
        """The alias of the database that is shown."""
        store = store_of(get_backend())
        return conf.database_alias if store is None else store.database

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).using(self.database)

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """No filter by address on what a list does not show: it would answer what is in a payload bit by bit."""
        return lookup.split("__")[0] not in self.long_columns and super().lookup_allowed(lookup, value, request)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BriefChangeList

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        try:
            wanted = uuid.UUID(search_term.strip())
        except ValueError:
            return super().get_search_results(request, queryset, search_term)
        return self.by_id(queryset, wanted), False

    def by_id(self, queryset: QuerySet[Any], wanted: uuid.UUID) -> QuerySet[Any]:
        """The rows that an id in the search box stands for."""
        return queryset.filter(pk=wanted)

    # -- actions on one object ----------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(
                f"<path:object_id>/{action.name}/",
                self.admin_site.admin_view(partial(self.object_view, action=action)),
                name=f"{self.opts.app_label}_{self.opts.model_name}_{action.name}",
            )
            for action in self.object_actions
        ]
        return [*own, *super().get_urls()]

    def object_view(self, request: HttpRequest, object_id: str, action: ObjectAction) -> HttpResponse:
        """A button was pressed."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not (self.has_view_permission(request) and self.permits(request, action)):
            raise PermissionDenied
        obj = self.get_object(request, unquote(object_id))
        if obj is None:
            self.message_user(request, _("It is not there any more."), messages.WARNING)
            return self.to_list()
        answer = getattr(self, f"{action.name}_object")(request, obj)
        return answer if isinstance(answer, HttpResponse) else self.to_list()

    def permits(self, request: HttpRequest, action: ObjectAction) -> bool:
        """Whether the user may do this."""
        return bool(getattr(self, f"has_{action.name}_permission")(request))

    def to_list(self) -> HttpResponse:
        """Back to the list."""
        return HttpResponseRedirect(self.url("changelist"))

    def url(self, page: str, *args: Any, model: type[Model] | None = None) -> str:
        """The address of a page of ours."""
        name = (model or self.model)._meta.model_name
        return reverse(f"admin:django_jobs_{name}_{page}", args=args, current_app=self.admin_site.name)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        obj = kwargs.get("obj")
        context["jobs_buttons"] = [
            {"label": action.label, "url": self.url(action.name, quote(obj.pk))}
            for action in self.object_actions
            if obj is not None and action.offered(obj) and self.permits(request, action)
        ]
        return super().render_change_form(request, context, *args, **kwargs)

    # -- actions on many ----------------------------------------------------------------------------------------

    def chosen(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """The rows of an action, at most a thousand; says so where there are more."""
        rows = list(queryset.order_by("pk")[: MOST_PER_ACTION + 1])
        if len(rows) > MOST_PER_ACTION:
            text = _("Only the first %(n)d were taken. Do it again for the others, or use the command.")
            self.message_user(request, text % {"n": MOST_PER_ACTION}, messages.WARNING)
        return rows[:MOST_PER_ACTION]

    def confirmation(
        self, request: HttpRequest, rows: Sequence[Any], *, title: StrOrPromise, warning: StrOrPromise, action: str = ""
    ) -> HttpResponse | None:
        """The page that asks before rows are lost. None: it was asked, and the answer is yes."""
        if CONFIRMED in request.POST:
            return None
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            "warning": warning,
            "rows": rows,
            "action": action,
            "checkbox_name": ACTION_CHECKBOX_NAME,
            "confirmed_name": CONFIRMED,
            "media": self.media,
            "back": self.url("changelist"),
        }
        return TemplateResponse(request, "admin/django_jobs/confirm.html", context)

    def log(self, request: HttpRequest, rows: Sequence[Any], text: str) -> None:
        """Write in the admin's log who did what."""
        if rows:
            LogEntry.objects.log_actions(request.user.pk, rows, CHANGE, text)  # type: ignore[arg-type]


class StoredJobAdmin(FactsAdmin):
    """What the pages of live, completed and failed jobs have in common."""

    search_fields = ("name", "reference")
    search_help_text = gettext_lazy(
        "By the whole id, or by a part of the name or reference. Exactly: group:…, tag:…, source:…, reference:…, name:…"
    )
    list_filter: ClassVar[tuple[Any, ...]] = (QueueFilter, HandlerFilter)
    long_columns: ClassVar[tuple[str, ...]] = ("envelope", "signature", "history")
    readonly_fields: ClassVar[tuple[str, ...]] = (
        *("priority", "tries", "enqueued", "available", "started", "shown_worker", "shown_tags"),
        *("shown_payload", "hidden_payload", "shown_attempts", "shown_events"),
    )
    ran: ClassVar[tuple[str, ...]] = ("started",)
    """The fields of the second section that differ from table to table."""

    enqueued = moment_of("enqueued_at", gettext_lazy("enqueued at"))
    available = moment_of("available_at", gettext_lazy("available at"))
    started = moment_of("started_at", gettext_lazy("started at"))

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        for field, quoted, word in _QUALIFIER.findall(search_term):
            value = quoted or word
            where = {"tags__contains": f" {value} "} if field == "tag" else {field: value}
            queryset = queryset.filter(**where)
        return super().get_search_results(request, queryset, _QUALIFIER.sub("", search_term).strip())

    @admin.display(description=gettext_lazy("id"))
    def short_id(self, obj: StoredJob) -> str:
        """The id, short enough for a list."""
        return display.short_id(obj.pk)

    def outcome_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """The fields of the outcome's section; none leaves it out."""
        return ()

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        payload = "shown_payload" if self.sees_payload(request) else "hidden_payload"
        outcome = self.outcome_fields(request)
        return [
            (None, {"fields": ("id", "state_badge", "queue", "handler", "name", "reference", "group", "shown_tags")}),
            (
                gettext_lazy("Run"),
                {"fields": ("priority", "tries", "enqueued", "available", *self.ran, "shown_worker", "source")},
            ),
            (gettext_lazy("Payload"), {"fields": (payload,)}),
            *([(gettext_lazy("Outcome"), {"fields": outcome})] if outcome else []),
            (gettext_lazy("Attempts"), {"fields": ("shown_attempts",)}),
            (gettext_lazy("Timeline"), {"fields": ("shown_events",)}),
        ]

    def sees_payload(self, request: HttpRequest) -> bool:
        """Whether the user may see payloads and results."""
        return self.may(request, "view_payload")

    @admin.display(description=gettext_lazy("priority"))
    def priority(self, obj: StoredJob) -> int:
        """The priority: bigger runs first."""
        return obj.priority

    @admin.display(description=gettext_lazy("attempts"))
    def tries(self, obj: StoredJob) -> str:
        """Attempts used, of those there are; and crashes."""
        text = _("%(n)d of %(most)d") % {"n": obj.attempt, "most": obj.max_attempts}
        if not obj.crashes:
            return text
        crashes = ngettext("%(n)d crash", "%(n)d crashes", obj.crashes) % {"n": obj.crashes}
        return f"{text}, {crashes}"

    @admin.display(description=gettext_lazy("worker"))
    def shown_worker(self, obj: StoredJob) -> str:
        """The worker that has it, or had it last."""
        if obj.worker_id is None:
            return display.EMPTY
        from ..models import Worker

        return format_html(
            '<a href="{}">{}</a>', self.url("change", quote(str(obj.worker_id)), model=Worker), obj.worker_id
        )

    @admin.display(description=gettext_lazy("tags"))
    def shown_tags(self, obj: StoredJob) -> str:
        """The tags."""
        return ", ".join(obj.tags.split()) or display.EMPTY

    @admin.display(description=gettext_lazy("payload"))
    def shown_payload(self, obj: StoredJob) -> str:
        """The payload; the whole envelope where that can't be read."""
        definition = obj.definition
        return display.pre(obj.envelope) if definition is None else display.pretty(definition.payload)

    @admin.display(description=gettext_lazy("payload"))
    def hidden_payload(self, obj: StoredJob) -> str:
        """In the payload's place."""
        return display.hidden()

    @admin.display(description=gettext_lazy("so far"))
    def shown_attempts(self, obj: StoredJob) -> str:
        """What became of earlier attempts."""
        return display.attempts(obj.attempts)

    @admin.display(description=gettext_lazy("events"))
    def shown_events(self, obj: StoredJob) -> str:
        """The timeline."""
        events = JobEvent.objects.using(self.database).filter(job_id=obj.pk).order_by("at", "id")
        return display.timeline(events[:MOST_EVENTS])


def where_is(database: str, job_id: uuid.UUID) -> type[Job | FailedJob | CompletedJob] | None:
    """The table that holds this job now."""
    for model in (Job, FailedJob, CompletedJob):
        if model._default_manager.using(database).filter(pk=job_id).exists():
            return model
    return None
