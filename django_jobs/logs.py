"""Logging: the loggers of django_jobs, the job that a record is about, and records as JSON lines.

- `django_jobs.worker`, in the worker: `FINISHED`, `REQUEUED`, `SNOOZED`, `RELEASED` and `CANCELLED` (INFO), `TIMEOUT`
  and `STUCK` (WARNING), `DEAD` (ERROR); of the worker itself `STARTED`, `SHUTDOWN` and `STOPPED` (INFO)
- `django_jobs.runtime`, where a job runs: `START` (DEBUG); what hooks and `backoff_delay` raise (ERROR)
- `django_jobs.reap`, whoever reaps: `REAPED` (WARNING)
- `django_jobs.schedule`, in schedulers: `STARTED`, `SUCCEEDED` and `SKIPPED` (INFO) and `FAILED` (ERROR) of a tick
- `django_jobs.locks`, whoever takes a mutex: one whose time was over before its release (WARNING)
- `django_jobs.backends`, everywhere: what is wrong with the store

Records about a job have `job_id`, `queue`, `handler` and `attempt`. What a job logs itself, to any logger, gets them
from `JobFilter` on a handler of the site. Secrets and control characters are taken out of what these loggers say.
"""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Protocol

from .redaction import presentable, redact, straight

MESSAGE_BYTES = 8_000
TRACEBACK_BYTES = 32_000
_FACTS = ("job_id", "queue", "handler", "attempt")
_OF_EVERY_RECORD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


class AboutJob(Protocol):
    """What a record says of its job: a claim has it."""

    @property
    def id(self) -> str: ...
    @property
    def queue(self) -> str: ...
    @property
    def handler(self) -> str: ...
    @property
    def attempt(self) -> int: ...


running: ContextVar[AboutJob | None] = ContextVar("django_jobs.running", default=None)
"""The job whose attempt runs here. Threads that it starts have none, unless they run in a copy of its context."""


def facts(job: AboutJob) -> dict[str, Any]:
    """The `extra` of a record about `job`."""
    return {"job_id": job.id, "queue": job.queue, "handler": job.handler, "attempt": job.attempt}


def get_logger(name: str) -> logging.Logger:
    """The logger `django_jobs.<name>`, whose records carry no secrets and no control characters."""
    logger = logging.getLogger(f"django_jobs.{name}")
    logger.addFilter(_hide)  # a filter that is there already is not added again
    return logger


def _hide(record: logging.LogRecord) -> bool:
    try:
        text = record.getMessage()
    except Exception:
        return True  # a mistake in the call, which logging itself reports
    # No line of a message passes for a record, and none is read backwards.
    shown = straight(presentable(text, MESSAGE_BYTES)).replace("\n", "\n    ")
    if shown != text:
        record.msg, record.args = shown, None
    if record.exc_info and not record.exc_text:  # a formatter takes this text instead of making its own
        record.exc_text = _traceback(record)
    return True


def _traceback(record: logging.LogRecord) -> str:
    try:
        text = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
    except Exception as error:
        text = f"<an error that could not be shown: {type(error).__name__}>"
    return presentable(text, TRACEBACK_BYTES, keep_end=True)


class JobFilter(logging.Filter):
    """Puts `job_id`, `queue`, `handler` and `attempt` of the running job on each record; empty where there is none.

    "filters": {"job": {"()": "django_jobs.logs.JobFilter"}}
    """

    def filter(self, record: logging.LogRecord) -> bool:
        job = running.get()
        values = dict.fromkeys(_FACTS, "") if job is None else facts(job)
        for name, value in values.items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


class JSONFormatter(logging.Formatter):
    """A record as one line of JSON: bounded, in ASCII, without secrets; what `extra` gave is in it by its name.

    "formatters": {"json": {"()": "django_jobs.logs.JSONFormatter"}}
    """

    def format(self, record: logging.LogRecord) -> str:
        job = running.get()
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": presentable(record.getMessage(), MESSAGE_BYTES),
            **({} if job is None else facts(job)),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD}
        if record.exc_info:
            line["exception"] = record.exc_text or _traceback(record)
        line = redact(line)
        try:
            text = json.dumps(line, default=_shown)
        except (TypeError, ValueError, RecursionError):
            text = json.dumps({name: _shown(value) for name, value in line.items()})
        if len(text) > MESSAGE_BYTES * 6 + TRACEBACK_BYTES * 6:
            text = json.dumps({name: line[name] for name in ("time", "level", "logger", "message")})
        return text


def _shown(value: Any) -> str:
    try:
        return presentable(str(value), MESSAGE_BYTES)
    except Exception:
        return f"<{type(value).__name__}, which could not be shown>"
