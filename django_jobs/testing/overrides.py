"""Another backend, and other settings, for a test."""

from __future__ import annotations

from functools import wraps
from typing import Any

from django.test import SimpleTestCase
from django.test.utils import override_settings

from ..backends import get_backend
from ..backends.memory import MemoryBackend
from ..conf import conf

BACKENDS = {
    "database": "django_jobs.backends.database.DatabaseBackend",
    "memory": "django_jobs.backends.memory.MemoryBackend",
    "null": "django_jobs.backends.null.NullBackend",
    "sync": "django_jobs.backends.sync.SyncBackend",
}


class override_jobs(override_settings):  # noqa: N801 - it is used as Django's own is
    """Decorator or context manager: every backend of the site is another one, which starts empty; settings change.

    `backend` is `memory`, `sync`, `null`, `database` or a dotted path; None leaves the backends as they are. Other
    settings go by their names without `JOBS_`, in lower case.

        @override_jobs(backend="memory", max_crashes=1)
        class SignUpTest(TestCase): ...
    """

    def __init__(self, backend: str | None = None, **settings: Any) -> None:
        self.backend = backend
        known = {name for name, value in vars(type(conf)).items() if hasattr(value, "default")}
        if unknown := set(settings) - known:
            raise TypeError(f"JOBS_{min(unknown).upper()} is not a setting of django_jobs")
        super().__init__(
            **{"JOBS" if name == "handlers" else f"JOBS_{name.upper()}": settings[name] for name in settings}
        )

    def save_options(self, test_func: Any) -> None:
        """Called where a class is decorated: it then takes effect with each of its tests."""
        self._choose()
        super().save_options(test_func)

    def decorate_class(self, cls: type[SimpleTestCase]) -> type[SimpleTestCase]:
        """Every test of the class starts with an empty memory backend."""
        set_up = cls.setUp

        @wraps(set_up)
        def emptied(case: SimpleTestCase) -> None:
            for alias in conf.backends:
                if isinstance(backend := get_backend(alias), MemoryBackend):
                    backend.clear()
            set_up(case)

        decorated = super().decorate_class(cls)
        decorated.setUp = emptied  # type: ignore[attr-defined]
        return decorated

    def enable(self) -> None:
        """Take effect."""
        self._choose()
        super().enable()

    def _choose(self) -> None:
        if self.backend is not None:
            entry = {"BACKEND": BACKENDS.get(self.backend, self.backend), "OPTIONS": {}}
            self.options["JOBS_BACKENDS"] = dict.fromkeys(conf.backends, entry)
