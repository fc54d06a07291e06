"""The pages of the reference say what the code says."""

import pytest
from django.core.management import get_commands

from django_jobs.conf import QUEUE_OPTIONS, declared
from django_jobs.findings import RULES
from scripts.reference import FOLDER, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_up_to_date(name):
    assert (FOLDER / name).read_text("utf-8") == PAGES[name](), "run: make reference"


def test_nothing_is_left_out():
    pages = {name: (FOLDER / name).read_text("utf-8") for name in PAGES}
    assert [s.name for s in declared() if f"| `{s.name}` |" not in pages["settings.md"]] == []
    assert [name for name in QUEUE_OPTIONS if f"| `{name}` |" not in pages["settings.md"]] == []
    assert [rule for rule in RULES if f"| `django_jobs.{rule}` |" not in pages["checks.md"]] == []
    ours = [name for name, app in get_commands().items() if app == "django_jobs"]
    assert [name for name in ours if f"## `{name}`" not in pages["commands.md"]] == []
