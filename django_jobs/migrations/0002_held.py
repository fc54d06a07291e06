"""The index of what is held covers the states, not the column: a running job that nobody holds is found by it too."""

from django.db import migrations, models

import django_jobs.models.indexes


class Migration(migrations.Migration):
    dependencies = [
        ("django_jobs", "0001_initial"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="job",
            name="django_jobs_holder",
        ),
        migrations.AddIndex(
            model_name="job",
            index=django_jobs.models.indexes.PartialIndex(
                fields=["worker_id"],
                name="django_jobs_holder",
                plain_fields=["state", "worker_id"],
                where=models.Q(("state__in", ["running", "cancel_requested"])),
            ),
        ),
    ]
