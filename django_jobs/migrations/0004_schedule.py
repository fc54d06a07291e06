import django_jobs.models.exact
import django_jobs.models.indexes
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("django_jobs", "0003_holds"),
    ]

    operations = [
        migrations.CreateModel(
            name="ScheduleEntry",
            fields=[
                (
                    "name",
                    django_jobs.models.exact.ExactCharField(
                        max_length=200, primary_key=True, serialize=False, verbose_name="name"
                    ),
                ),
                (
                    "enabled",
                    models.BooleanField(
                        default=True, help_text="The ticks of a disabled entry pass by.", verbose_name="enabled"
                    ),
                ),
                (
                    "definition",
                    models.JSONField(
                        blank=True,
                        help_text="What JOBS_SCHEDULE would say of it, as JSON; empty for an entry of the code.",
                        null=True,
                        verbose_name="definition",
                    ),
                ),
                (
                    "timing_mark",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="Differs when its timing does.",
                        max_length=40,
                        verbose_name="mark of its timing",
                    ),
                ),
                ("seen_at", models.DateTimeField(blank=True, null=True, verbose_name="decided up to")),
                (
                    "look_at",
                    models.DateTimeField(
                        blank=True,
                        db_index=True,
                        help_text="Its next tick, or sooner.",
                        null=True,
                        verbose_name="looked at next",
                    ),
                ),
            ],
            options={
                "verbose_name": "schedule entry",
                "verbose_name_plural": "schedule entries",
            },
        ),
        migrations.CreateModel(
            name="ScheduleTick",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False, verbose_name="id")),
                ("name", django_jobs.models.exact.ExactCharField(max_length=200, verbose_name="entry")),
                ("instant", models.DateTimeField(verbose_name="due at")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "waiting"),
                            ("dispatched", "dispatched"),
                            ("running", "running"),
                            ("succeeded", "succeeded"),
                            ("failed", "failed"),
                            ("skipped", "skipped"),
                        ],
                        max_length=16,
                        verbose_name="state",
                    ),
                ),
                ("reason", models.CharField(blank=True, default="", max_length=200, verbose_name="reason")),
                (
                    "passed_over",
                    models.IntegerField(
                        default=0,
                        help_text="How many ticks before it were missed and not made up for.",
                        verbose_name="passed over",
                    ),
                ),
                ("job_id", models.UUIDField(blank=True, null=True, verbose_name="job")),
                ("backend", models.CharField(blank=True, default="", max_length=100, verbose_name="backend")),
                ("holder", models.UUIDField(blank=True, null=True, verbose_name="holder")),
                ("look_at", models.DateTimeField(blank=True, null=True, verbose_name="looked at next")),
                ("guard", models.CharField(blank=True, max_length=64, null=True, verbose_name="guard")),
                (
                    "notes",
                    models.TextField(
                        blank=True, default="", help_text="Errors of it and of its hooks.", verbose_name="notes"
                    ),
                ),
                ("decided_at", models.DateTimeField(verbose_name="decided at")),
                ("started_at", models.DateTimeField(blank=True, null=True, verbose_name="started at")),
                ("finished_at", models.DateTimeField(blank=True, null=True, verbose_name="finished at")),
            ],
            options={
                "verbose_name": "schedule tick",
                "verbose_name_plural": "schedule ticks",
                "indexes": [
                    django_jobs.models.indexes.PartialIndex(
                        fields=["look_at"],
                        name="django_jobs_tick_open",
                        plain_fields=["look_at"],
                        where=models.Q(("look_at__isnull", False)),
                    ),
                    django_jobs.models.indexes.PartialUniqueIndex(
                        fields=["guard"],
                        name="django_jobs_tick_guard",
                        plain_fields=["guard"],
                        where=models.Q(("guard__isnull", False)),
                    ),
                    models.Index(fields=["instant"], name="django_jobs_tick_age"),
                ],
                "constraints": [models.UniqueConstraint(fields=("name", "instant"), name="django_jobs_tick_once")],
            },
        ),
    ]
