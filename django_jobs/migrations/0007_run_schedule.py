from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("django_jobs", "0006_lock"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="scheduleentry",
            options={
                "permissions": [("run_schedule", "Can run entries of the schedule now")],
                "verbose_name": "schedule entry",
                "verbose_name_plural": "schedule entries",
            },
        ),
    ]
