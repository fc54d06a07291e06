"""`jobs_cronjob_disable`: let the ticks of entries pass by."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .jobs_cronjob_enable import Command as Enable


class Command(Enable):
    """Disable entries."""

    about = gettext_lazy(
        "Let the ticks of entries of the schedule pass by until they are enabled again. On every host. Jobs that were "
        "dispatched already are not touched."
    )
    enabled = False

    def said(self, name: str, has_changed: bool) -> str:
        text = _("%(name)s is disabled now.") if has_changed else _("%(name)s was disabled already.")
        return text % {"name": name}
