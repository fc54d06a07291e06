"""manage.py, on a site whose libraries take their time after each fork (`SLOW_FORKS` seconds)."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    os.register_at_fork(after_in_child=lambda: time.sleep(float(os.environ["SLOW_FORKS"])))
    execute_from_command_line(sys.argv)
