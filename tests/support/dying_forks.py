"""manage.py, on a site whose libraries do not survive a fork as long as the file `FORKS_DIE` is there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from django.core.management import execute_from_command_line


def die() -> None:
    """In each process that was forked."""
    if os.path.exists(os.environ["FORKS_DIE"]):
        os._exit(3)


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    os.register_at_fork(after_in_child=die)
    execute_from_command_line(sys.argv)
