"""The page of workers."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..models import Job, Worker
from . import display
from .base import FactsAdmin, moment_of

MOST_JOBS = 100


@admin.register(Worker)
class WorkerAdmin(FactsAdmin):
    """Workers as they described themselves, and what they hold."""

    list_display = (
        *("__str__", "state_badge", "renewed", "queues", "children", "running", "settled"),
        *("started", "lease"),
    )
    list_filter = ("state",)
    search_fields = ("host",)
    search_help_text = gettext_lazy("By the whole id, or by a part of the host's name.")
    ordering = ("-started_at", "-id")
    readonly_fields = ("state_badge", "held_jobs", "started", "renewed", "lease")
    fieldsets = (
        (None, {"fields": ("id", "host", "pid", "state_badge", "queues", "children", "running", "settled")}),
        (gettext_lazy("Lease"), {"fields": ("started", "renewed", "lease")}),
        (gettext_lazy("Jobs in hand"), {"fields": ("held_jobs",)}),
    )

    started = moment_of("started_at", gettext_lazy("started at"))
    renewed = moment_of("renewed_at", gettext_lazy("renewed at"))
    lease = moment_of("lease_expires_at", gettext_lazy("ends at"))

    @admin.display(description=gettext_lazy("state"))
    def state_badge(self, obj: Worker) -> SafeString:
        """The state as it is stored."""
        return display.badge(obj.state, obj.get_state_display())

    @admin.display(description=gettext_lazy("jobs"))
    def held_jobs(self, obj: Worker) -> str:
        """What it holds now."""
        jobs = Job.objects.using(self.database).filter(worker_id=obj.pk).defer("envelope", "signature", "history")
        rows = (
            (
                format_html('<a href="{}">{}</a>', self.url("change", quote(str(job.pk)), model=Job), job.pk),
                display.badge(job.state, job.get_state_display()),
                job.queue,
                job.handler,
                display.moment(job.started_at),
            )
            for job in jobs.order_by("started_at", "id")[:MOST_JOBS]
        )
        return display.table([_("job"), _("state"), _("queue"), _("handler"), _("started at")], rows)
