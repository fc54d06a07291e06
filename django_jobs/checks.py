"""System checks: what is wrong with the settings, and what to do. One function per rule; the ids never change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from . import registry
from .backends import build
from .conf import DEFAULT_OPTIONS, EVENTS, QueueOptions, Setting, conf, parse_queues
from .defaults import site_defaults
from .definition import JobDefinition
from .exceptions import InvalidDefinition, InvalidHandler, UnknownHandler

Messages = list[checks.CheckMessage]
Apps = Sequence[AppConfig] | None


@checks.register("django_jobs")
def check_handlers(app_configs: Apps, **_: Any) -> Messages:
    """E001: every key of `JOBS` names a handler."""
    found: Messages = []
    if not isinstance(conf.handlers, dict):
        return [
            checks.Error(
                "JOBS is not a dict.", hint="Map handler keys to classes or dotted paths.", id="django_jobs.E001"
            )
        ]
    for key in registry.handler_keys():
        try:
            registry.check_class(key, registry.get(key))
            registry.defaults_of(registry.get(key))
        except (InvalidHandler, UnknownHandler) as error:
            found.append(
                checks.Error(str(error), hint="Mend the entry in JOBS, or the handler it names.", id="django_jobs.E001")
            )
    return found


@checks.register("django_jobs")
def check_queues(app_configs: Apps, **_: Any) -> Messages:
    """E002: `JOBS_QUEUES` can be read, and the options of its queues hold."""
    try:
        for queue in parse_queues(conf.queues).values():
            JobDefinition(handler="").with_(**queue.options)
            _check_queue(queue)
    except (ImproperlyConfigured, InvalidDefinition, TypeError) as error:
        return [checks.Error(str(error), hint="Mend JOBS_QUEUES.", id="django_jobs.E002")]
    return []


def _check_queue(queue: QueueOptions) -> None:
    for option, low in {"max_workers": 1, "max_jobs_per_child": 1, "keep_completed": 0}.items():
        value = getattr(queue, option)
        if value is None and option != "max_workers":
            continue
        if type(value) is not int or value < low:
            raise InvalidDefinition(
                f"JOBS_QUEUES[{queue.name!r}][{option!r}] must be a whole number of at least {low}."
            )
    if queue.backend is not None and queue.backend not in conf.backends:
        raise InvalidDefinition(f"JOBS_QUEUES[{queue.name!r}]['backend']: JOBS_BACKENDS has no {queue.backend!r}.")


@checks.register("django_jobs")
def check_defaults(app_configs: Apps, **_: Any) -> Messages:
    """E003: `JOBS_DEFAULTS` and `JOBS_BACKOFF` hold."""
    if not isinstance(conf.defaults, dict):
        return []  # E009 says so
    if unknown := set(conf.defaults) - set(DEFAULT_OPTIONS):
        known = ", ".join(sorted(DEFAULT_OPTIONS))
        return [
            checks.Error(
                f"JOBS_DEFAULTS: unknown option {min(unknown)!r}.",
                hint=f"It takes {known}.",
                id="django_jobs.E003",
            )
        ]
    try:
        site_defaults()
        JobDefinition(handler="").with_(ttl=conf.default_option("ttl"), queue=conf.default_option("queue"))
    except (InvalidDefinition, TypeError) as error:
        return [checks.Error(str(error), hint="Mend JOBS_DEFAULTS or JOBS_BACKOFF.", id="django_jobs.E003")]
    return []


@checks.register("django_jobs")
def check_backends(app_configs: Apps, **_: Any) -> Messages:
    """E004 to E006, W001 to W003: every backend can be made, and its store is fit."""
    found: Messages = []
    for alias in conf.backends:
        try:
            found += build(alias, conf.backends).check()
        except ImproperlyConfigured as error:
            found.append(checks.Error(str(error), hint="Mend JOBS_BACKENDS.", id="django_jobs.E004"))
    if conf.default_backend not in conf.backends:
        found.append(
            checks.Error(
                f"JOBS_DEFAULT_BACKEND is {conf.default_backend!r}, which JOBS_BACKENDS does not have.",
                hint=f"Set it to one of: {', '.join(conf.backends)}.",
                id="django_jobs.E004",
            )
        )
    return found


@checks.register("django_jobs")
def check_values(app_configs: Apps, **_: Any) -> Messages:
    """E009: numbers are numbers, and lists are lists: a text in the place of a list allows each of its parts."""
    found: Messages = []
    for setting in vars(type(conf)).values():
        if not isinstance(setting, Setting):
            continue
        value, default = setting.__get__(conf, type(conf)), setting.default
        problem = ""
        if isinstance(default, bool):
            problem = "" if isinstance(value, bool) else "True or False"
        elif isinstance(default, int | float):
            good = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
            problem = "" if good and (value > 0 or setting.name in _MAY_BE_ZERO) else "a number above 0"
        elif setting.name in _CHOICES:
            problem = "" if value in _CHOICES[setting.name] else f"one of {', '.join(_CHOICES[setting.name])}"
        elif setting.name in _LISTS and (isinstance(value, str | bytes) or not isinstance(value, Iterable)):
            problem = "a list of texts"
        elif isinstance(default, dict) and not isinstance(value, dict):
            problem = "a dict"
        if problem and setting.name not in ("JOBS", "JOBS_BACKOFF"):
            found.append(
                checks.Error(f"{setting.name} is {value!r:.80}.", hint=f"Make it {problem}.", id="django_jobs.E009")
            )
    return found


_LISTS = ("JOBS_BUILTINS", "JOBS_COMMANDS_ALLOWED", "JOBS_SIGNING_KEY_FALLBACKS", "JOBS_SENSITIVE_KEYS")
_CHOICES = {"JOBS_EVENTS": EVENTS}
_MAY_BE_ZERO = (
    "JOBS_MISSING_HANDLER_GRACE",
    "JOBS_SHUTDOWN_TIMEOUT",
    "JOBS_KILL_GRACE",
    "JOBS_KEEP_EVENTS",
    "JOBS_KEEP_WORKERS",
)


@checks.register("django_jobs")
def check_lease(app_configs: Apps, **_: Any) -> Messages:
    """E007: the lease outlives three missed renewals."""
    if check_values(None):
        return []
    if conf.lease_seconds < 3 * conf.heartbeat_interval:
        return [
            checks.Error(
                f"JOBS_LEASE_SECONDS ({conf.lease_seconds}) is under three times JOBS_HEARTBEAT_INTERVAL "
                f"({conf.heartbeat_interval}).",
                hint="A late renewal would lose live work. Raise the lease, or renew more often.",
                id="django_jobs.E007",
            )
        ]
    return []


MESSAGE_BYTES = 400_000


@checks.register("django_jobs")
def check_bounds(app_configs: Apps, **_: Any) -> Messages:
    """E008: what a job may carry fits a message between the worker's processes."""
    most = max(2 * conf.max_payload_bytes, conf.max_result_bytes + 2 * conf.max_traceback_bytes)
    if most + 16_384 > MESSAGE_BYTES // 2:
        return [
            checks.Error(
                "JOBS_MAX_PAYLOAD_BYTES, JOBS_MAX_RESULT_BYTES or JOBS_MAX_TRACEBACK_BYTES is more than the worker's "
                "sockets carry.",
                hint="Keep payloads and results below 90,000 bytes: store what is bigger elsewhere and pass its id.",
                id="django_jobs.E008",
            )
        ]
    return []


@checks.register("django_jobs")
def check_names(app_configs: Apps, **_: Any) -> Messages:
    """W004: a setting that starts with JOBS_ but is none of ours is a typing error more often than not."""
    ours = {name for name, value in vars(type(conf)).items() if hasattr(value, "default")}
    known = {"JOBS"} | {f"JOBS_{name.upper()}" for name in ours}
    strange = sorted(name for name in dir(settings) if name.startswith("JOBS_") and name not in known)
    return [
        checks.Warning(
            f"{name} is not a setting of django_jobs.", hint="Mend its spelling, or take it out.", id="django_jobs.W004"
        )
        for name in strange
    ]


@checks.register("django_jobs", deploy=True)
def check_signing(app_configs: Apps, **_: Any) -> Messages:
    """W005: envelopes are verified."""
    if conf.verify_signatures:
        return []
    return [
        checks.Warning(
            "JOBS_VERIFY_SIGNATURES is False: whoever can write to the store chooses what your workers run.",
            hint="Set it to True, and JOBS_SIGNING_KEY to a secret that every process has.",
            id="django_jobs.W005",
        )
    ]
