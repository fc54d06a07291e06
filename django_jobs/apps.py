"""The app's configuration."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class DjangoJobsConfig(AppConfig):
    """Fills the port, registers the system checks, and finds the `jobs.py` of every installed app. No queries, no
    I/O.
    """

    name = "django_jobs"
    label = "django_jobs"
    verbose_name = _("Jobs")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import api, checks  # noqa: F401 - importing them fills the port and registers the checks

        autodiscover_modules("jobs")
