"""A small real site: the demo runs on it, and so do the tests.

Without any environment variable it is a site on SQLite. `TESTPROJECT_DATABASE` (sqlite, postgresql or mysql) chooses
the database that `default` is, and `TESTPROJECT_NAME` its name. The tests use the servers that JOBS_TEST_POSTGRESQL and
JOBS_TEST_MYSQL name, each under an alias of its own.
"""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = Path(os.environ.get("TESTPROJECT_VAR", BASE_DIR / "var"))
VAR.mkdir(exist_ok=True)

SECRET_KEY = "only-for-the-demo-and-the-tests-of-django-jobs"
DEBUG = os.environ.get("TESTPROJECT_DEBUG") == "1"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
ROOT_URLCONF = "testproject.urls"
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_jobs",
    "testproject.census",
    "testproject.trials",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def sqlite(name: str) -> dict[str, Any]:
    """SQLite as a queue wants it: a write-ahead log, and transactions that may write from their start on."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(VAR / f"{name}.sqlite3"),
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
        "TEST": {"NAME": str(VAR / f"test_{name}_{os.getpid()}.sqlite3")},
    }


def server(kind: str, name: str) -> dict[str, Any] | None:
    """A database on the server that the tests found; None where there is none."""
    url = os.environ.get(f"JOBS_TEST_{kind.upper()}", "")
    if not url:
        return None
    if kind == "mysql":
        from testproject.mysql_driver import install_mysql_driver

        install_mysql_driver()
    parts = urlsplit(url)
    options = {"charset": "utf8mb4"} if kind == "mysql" else {"connect_timeout": 5}
    return {
        "ENGINE": f"django.db.backends.{kind}",
        "NAME": name,
        "HOST": parts.hostname,
        "PORT": parts.port,
        "USER": parts.username or "",
        "PASSWORD": parts.password or "",
        "OPTIONS": options,
        "TEST": {"NAME": f"test_{name}_{os.getpid()}", **({"CHARSET": "utf8mb4"} if kind == "mysql" else {})},
    }


_kind = os.environ.get("TESTPROJECT_DATABASE", "sqlite")
_name = os.environ.get("TESTPROJECT_NAME", "jobs")
if _kind == "sqlite":
    _default = sqlite(_name)
else:
    _default = server(_kind, _name) or {}
    assert _default, f"TESTPROJECT_DATABASE={_kind} needs JOBS_TEST_{_kind.upper()}"
DATABASES: dict[str, Any] = {"default": _default}
if os.environ.get("TESTPROJECT_ALL_DATABASES") == "1":
    for _other in ("postgresql", "mysql"):
        if _entry := server(_other, _name):
            DATABASES[_other] = _entry

JOBS = {
    "census.file": "testproject.census.jobs.CountFile",
    **{f"trial.{n}": f"testproject.trials.jobs.{c}" for n, c in {"noop": "NoOp", "flaky": "Flaky"}.items()},
}
JOBS_BUILTINS = ["command"]
JOBS_COMMANDS_ALLOWED = ["clearsessions"]
JOBS_QUEUES = {"default": {}, "mail": {"max_attempts": 3}, "census": {"max_workers": 2}}

# From Django 6.1 on, whoever sends mail without it is warned.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.console.EmailBackend"}}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {"django_jobs": {"handlers": ["console"], "level": os.environ.get("TESTPROJECT_LOG", "WARNING")}},
}

# Any setting, as JSON: the tests shorten leases and deadlines with it.
globals().update(json.loads(os.environ.get("TESTPROJECT_SETTINGS", "{}")))
