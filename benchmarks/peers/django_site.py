"""Settings of the smallest site on a peer's store, for the queues that are Django apps. `PEER_APP` is the app."""

import os
from urllib.parse import urlsplit

_url = urlsplit(os.environ["PEER_STORE"])
SECRET_KEY = "only-for-benchmarks"
USE_TZ = True
INSTALLED_APPS = [os.environ["PEER_APP"]]
DATABASES = {
    "default": {
        "ENGINE": f"django.db.backends.{'postgresql' if _url.scheme == 'postgresql' else 'sqlite3'}",
        "NAME": _url.path.lstrip("/") if _url.scheme == "postgresql" else _url.path,
        "HOST": _url.hostname or "",
        "PORT": _url.port or "",
        "USER": _url.username or "",
        "PASSWORD": _url.password or "",
        # db_worker closes connections older than this around every task.
        "CONN_MAX_AGE": None,
    }
}
if _url.scheme == "sqlite":
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": f"PRAGMA journal_mode=WAL; PRAGMA synchronous={os.environ.get('PEER_SYNCHRONOUS', 'FULL')}",
    }
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": ["default"]}}
JOBS = {"bench.tick": "benchmarks.peers.django_jobs.Tick"}
