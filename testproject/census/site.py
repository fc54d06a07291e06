"""What the demo's site needs before the first job: its tables, and somebody who can log in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command

USER = "demo"


def migrate() -> None:
    """Create or update the tables, without a word."""
    call_command("migrate", interactive=False, verbosity=0)


def add_user() -> bool:
    """Create the superuser `demo` with the password `demo`. False: there is one already, and it stays as it is."""
    users = get_user_model()._default_manager
    if users.filter(username=USER).exists():
        return False
    users.create_superuser(USER, password=USER)
    return True


def command(arguments: str, **environment: str) -> str:
    """How a person at this prompt runs `manage.py` on the same database."""
    given = {name: value for name, value in sorted(os.environ.items()) if name.startswith("TESTPROJECT_")}
    variables = [f"{name}={value}" for name, value in {**given, **environment}.items()]
    return " ".join([*variables, _short(Path(sys.executable)), _short(settings.BASE_DIR / "manage.py"), arguments])


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
