"""Maintenance mode: while it is on, only entries with `run_in_maintenance` run."""

from __future__ import annotations

from typing import Any

from django.core.cache import cache
from django.utils.module_loading import import_string

from ..conf import conf
from ..logs import get_logger
from .entries import ERRORS

logger = get_logger("schedule")

CACHE_KEY = "django_jobs.maintenance"


def cache_flag() -> bool:
    """Whether the key `django_jobs.maintenance` of the default cache holds something true.

    JOBS_MAINTENANCE = "django_jobs.scheduler.maintenance.cache_flag"
    """
    return bool(cache.get(CACHE_KEY))


def is_on() -> bool:
    """Whether the site is in maintenance mode, as `JOBS_MAINTENANCE` has it; what can't tell is taken for a no."""
    asked: Any = conf.maintenance
    try:
        if isinstance(asked, str):
            asked = import_string(asked)
        return bool(asked() if callable(asked) else asked)
    except ERRORS:
        logger.exception("JOBS_MAINTENANCE does not tell whether this is maintenance; the schedule goes on")
        return False
