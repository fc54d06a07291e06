"""What an import costs and needs, in fresh interpreters."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

NAMES = (
    "Jobs, JobHandler, JobContext, JobResult, JobRef, job, "
    "RetryableJobError, NonRetryableJobError, JobCancelled, JobTimeout"
)


def python(code: str, **env: str) -> str:
    """Run `code` in a fresh interpreter with warnings as errors; what it printed."""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("DJANGO_")},
            "TESTPROJECT_ALL_DATABASES": "0",
            **env,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


SETTINGS = {"DJANGO_SETTINGS_MODULE": "testproject.settings"}
SETUP = "import django; django.setup()\n"


def test_the_public_names_can_be_imported_before_django_is_set_up():
    code = f"from django_jobs import {NAMES}; print({NAMES.partition(',')[0]})"
    assert "Jobs" in python(code, **SETTINGS)


def test_the_public_names_can_be_imported_without_any_settings():
    python(f"from django_jobs import {NAMES}")


def test_the_package_itself_imports_nothing_of_django():
    assert python("import sys, django_jobs; print([m for m in sys.modules if m.split('.')[0] == 'django'])") == "[]\n"


def test_a_handler_can_be_written_before_django_is_set_up():
    python(
        """
        from django_jobs import JobHandler, register
        @register("early")
        class Early(JobHandler):
            def handle(self, ctx):
                return None
        import django
        django.setup()
        from django_jobs import registry
        assert registry.get("early") is Early
        """,
        **SETTINGS,
    )


def test_every_module_can_be_imported_once_django_is_set_up():
    out = python(
        SETUP
        + """
import importlib, pkgutil, django_jobs
names = [m.name for m in pkgutil.walk_packages(django_jobs.__path__, "django_jobs.")]
for name in names:
    importlib.import_module(name)
print(len(names))
""",
        **SETTINGS,
    )
    assert int(out) > 50


def test_every_public_name_is_there_and_no_other_is():
    python(
        SETUP
        + """
import django_jobs
for name in django_jobs.__all__:
    getattr(django_jobs, name)
try:
    django_jobs.no_such_name
except AttributeError as error:
    assert "no_such_name" in str(error)
else:
    raise AssertionError
from django_jobs import *
""",
        **SETTINGS,
    )


def test_setting_up_and_importing_everything_asks_the_database_nothing():
    python(
        """
        from django.db.backends.base.base import BaseDatabaseWrapper

        def refuse(self):
            raise AssertionError("a connection was opened")

        BaseDatabaseWrapper.connect = refuse
        import importlib, pkgutil, django
        django.setup()
        import django_jobs
        for module in pkgutil.walk_packages(django_jobs.__path__, "django_jobs."):
            importlib.import_module(module.name)
        from django.core.checks import run_checks
        assert run_checks(tags=["django_jobs"]) == []
        from django_jobs import Jobs
        Jobs.define("trial.noop").delay(5).to_definition()
        """,
        **SETTINGS,
    )


def test_without_the_app_a_dispatch_says_what_is_missing():
    python(
        """
        from django.conf import settings
        settings.configure(SECRET_KEY="x")
        from django.core.exceptions import ImproperlyConfigured
        from django_jobs import port
        try:
            port.jobs()
        except ImproperlyConfigured as error:
            assert "INSTALLED_APPS" in str(error)
        else:
            raise AssertionError
        """
    )


def test_nothing_is_left_to_migrate():
    python(
        SETUP
        + """
from django.core.management import call_command
call_command("makemigrations", "--check", "--dry-run", "django_jobs", verbosity=0)
""",
        **SETTINGS,
    )
