"""The form of an entry of the schedule that is made in the database."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..envelope import to_json
from ..exceptions import JobsError
from ..models import ScheduleEntry
from ..scheduler.mapping import builder_from_mapping
from ..scheduler.sources import by_name


class _Indented(json.JSONEncoder):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "indent": 2, "ensure_ascii": False})


class _Definition(forms.JSONField):
    """JSON that every database can keep. What is none says so, however it fails to be read."""

    def to_python(self, value: Any) -> Any:
        try:
            found = super().to_python(value)
            text = to_json("definition", found)
        except JobsError as error:
            raise ValidationError(str(error)) from None
        except (ValueError, RecursionError):
            raise ValidationError(self.error_messages["invalid"], code="invalid", params={"value": "…"}) from None
        if "\\u0000" in text:
            raise ValidationError(_("The character NUL can't be kept. Take it out."))
        return found

    def bound_data(self, data: Any, initial: Any) -> Any:
        try:
            found = super().bound_data(data, initial)
            to_json("definition", found)
        except (JobsError, ValueError, RecursionError):
            return InvalidJSONInput(data)  # to be shown as it was typed
        return found

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return super().has_changed(initial, data)
        except (ValueError, RecursionError):
            return True


class EntryForm(forms.ModelForm):  # type: ignore[type-arg]
    """Takes what the schedule can run, checked as `manage.py check` does with entries of the code."""

    database: ClassVar[str]
    """Where the entries are; a subclass says it."""

    definition = _Definition(
        label=gettext_lazy("Definition"),
        initial=dict,
        encoder=_Indented,
        widget=forms.Textarea(attrs={"rows": 12, "class": "vLargeTextField"}),
        help_text=gettext_lazy(
            'What JOBS_SCHEDULE would say of it: {"handler": "report", "payload": {"month": 6}, "daily_at": "02:00", '
            '"queue": "default"}'
        ),
    )

    class Meta:
        model = ScheduleEntry
        fields = ("name", "enabled", "definition")

    def clean_name(self) -> str:
        """No other entry has the name."""
        name = str(self.cleaned_data["name"])
        if name in by_name() or ScheduleEntry.objects.using(self.database).filter(name=name).exists():
            raise ValidationError(_("There is an entry of this name already."))
        return name

    def clean_definition(self) -> Any:
        """An entry comes of it."""
        definition = self.cleaned_data["definition"]
        name = self.cleaned_data.get("name") or self.instance.name or "new"
        _entry, problems = builder_from_mapping(name, definition, origin="database").build()
        if problems:
            raise ValidationError([problem.message for problem in problems])
        return definition

    def validate_unique(self) -> None:
        """Nothing: Django would ask the default database, where the entries need not be."""
