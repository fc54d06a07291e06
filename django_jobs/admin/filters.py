"""Filters whose choices cost no walk over the table: they come from the settings and the registry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from .. import registry
from ..conf import conf
from ..maintenance.states import LIVE, RETRY_WAIT, in_live_state, state_meant
from ..models import Job, JobState, Queue

MOST_QUEUES = 200


class _ExactFilter(admin.SimpleListFilter):
    """Rows with exactly this value in the column of the parameter's name."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        chosen = request.GET.get(str(self.parameter_name))
        return [(value, value) for value in sorted({*self.known(model_admin), *([chosen] if chosen else [])})]

    def known(self, model_admin: Any) -> Iterable[str]:
        """The values to choose from. One that is in the address is a choice as well."""
        raise NotImplementedError

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{str(self.parameter_name): self.value()}) if self.value() else queryset


class QueueFilter(_ExactFilter):
    """By queue."""

    title = _("queue")
    parameter_name = "queue"

    def known(self, model_admin: Any) -> Iterable[str]:
        touched = Queue.objects.using(model_admin.database).values_list("name", flat=True)[:MOST_QUEUES]
        return [*conf.queue_names(), *touched]


class HandlerFilter(_ExactFilter):
    """By handler key."""

    title = _("handler")
    parameter_name = "handler"

    def known(self, model_admin: Any) -> Iterable[str]:
        return registry.handler_keys()


class LiveStateFilter(admin.SimpleListFilter):
    """By the state as people know it: a retry that waits is apart from what is due for the first time."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, Any]]:
        return [*JobState.choices, (RETRY_WAIT, _("waits for a retry"))]

    def value(self) -> str | None:
        given = super().value()
        try:
            return None if given is None else state_meant(given, LIVE)
        except ValueError:
            return given  # no state of a live job: no job is in it

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        return in_live_state(queryset, state) if (state := self.value()) else queryset
