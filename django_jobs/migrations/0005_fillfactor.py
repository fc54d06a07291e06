"""PostgreSQL leaves room on the pages of the live jobs, so that a claim writes the row anew on the page it is on.

Without it most claims make the table longer first, and cost PostgreSQL a fifth more.
"""

from __future__ import annotations

from django.db import migrations

FILLFACTOR = 60


def leave_room(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"ALTER TABLE django_jobs_job SET (fillfactor = {FILLFACTOR})")


def leave_none(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE django_jobs_job RESET (fillfactor)")


class Migration(migrations.Migration):
    dependencies = [("django_jobs", "0004_schedule")]
    operations = [migrations.RunPython(leave_room, leave_none, elidable=False)]
