from django.db import migrations, models

import django_jobs.models.exact


class Migration(migrations.Migration):
    dependencies = [
        ("django_jobs", "0005_fillfactor"),
    ]

    operations = [
        migrations.CreateModel(
            name="Lock",
            fields=[
                (
                    "name",
                    django_jobs.models.exact.ExactCharField(
                        max_length=200, primary_key=True, serialize=False, verbose_name="name"
                    ),
                ),
                ("token", models.UUIDField(editable=False, verbose_name="token")),
                ("until", models.DateTimeField(db_index=True, verbose_name="until")),
            ],
            options={
                "verbose_name": "lock",
                "verbose_name_plural": "locks",
            },
        ),
    ]
