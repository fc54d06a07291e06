"""manage.py, on a machine that has no process to spare while the file `WITHOUT_FORKS` exists."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from django.core.management import execute_from_command_line

fork = os.fork


def fork_or_fail() -> int:
    if os.path.exists(os.environ["WITHOUT_FORKS"]):
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return fork()


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    os.fork = fork_or_fail
    execute_from_command_line(sys.argv)
