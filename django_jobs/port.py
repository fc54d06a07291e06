"""The one place where lower floors reach the public face without importing it.

`SendMail.dispatch()`, `builder.dispatch()` and `ref.cancel()` read naturally, but handlers, definitions and
references stand below `django_jobs.api`. `api` fills this port when it is loaded (`AppConfig.ready()` does that).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from .api import Jobs

_face: type[Jobs] | None = None


def fill(face: type[Jobs]) -> None:
    """Make `face` the class that the conveniences call."""
    global _face
    _face = face


def jobs() -> type[Jobs]:
    """The public face. Raises `ImproperlyConfigured` while the app is not installed and set up."""
    if _face is None:
        raise ImproperlyConfigured(
            "django_jobs is not ready. Add 'django_jobs' to INSTALLED_APPS and call django.setup() first."
        )
    return _face
