"""Which files are watched."""

from __future__ import annotations

from pathlib import Path

import pytest

from django_jobs.worker.watch import is_source, outermost


@pytest.mark.parametrize("path", ["/srv/site/jobs.py", "/srv/site/.env", "/srv/site/.env.local", "settings.py"])
def test_code_and_settings_are(path):
    assert is_source(path)


@pytest.mark.parametrize(
    "path", ["/srv/site/db.sqlite3", "/srv/site/x.pyc", "/srv/env/lib/site-packages/a.py", "/srv/site/page.html", "py"]
)
def test_the_rest_is_not(path):
    assert not is_source(path)


def test_a_folder_within_another_is_watched_with_it():
    folders = [Path(p) for p in ("/srv/site/app", "/srv/site", "/srv/other", "/srv/site", "/srv/sites")]
    assert outermost(folders) == [Path("/srv/other"), Path("/srv/site"), Path("/srv/sites")]
