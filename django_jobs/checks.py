"""System checks: what is wrong with the settings, and what to do. One function per rule; `findings` has their table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from inspect import iscoroutinefunction
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.module_loading import import_string

from . import registry
from .backends import Backend, build
from .conf import DEFAULT_OPTIONS, QueueOptions, Setting, conf, declared, is_listed, parse_queues
from .defaults import site_defaults, with_defaults
from .definition import JobDefinition
from .exceptions import InvalidDefinition, InvalidHandler, InvalidSchedule, UnknownHandler
from .findings import finding
from .handlers import CommandHandler, JobHandler, ShellHandler, typed
from .handlers.command import parse_command
from .handlers.shell import is_allowed, locate, parse_program
from .scheduler import sources
from .scheduler.entries import Problem
from .scheduler.order import order
from .scheduler.timing import default_zone_name, zone_of
from .settlement import HISTORY_ENTRY_BYTES
from .worker.channel import MESSAGE_BYTES

Messages = list[checks.CheckMessage]
Apps = Sequence[AppConfig] | None

LEAST_KEY_CHARACTERS = 32
LEAST_KEY_VARIETY = 5
CLOSE = 0.87
"""How alike two names are that differ by a letter or two (`difflib`)."""
MOST_SQLITE_WORKERS = 4
MOST_NAMED = 5
ONLY_IN_A_POOL = {"concurrency": 1, "max_jobs_per_child": None, "max_memory_mb": None}
"""Options of a queue that mean something with the isolation `pool` alone, and how they are left out."""
ALLOWED_BY = {"command": "commands_allowed", "callable": "callables_allowed", "shell": "shell_allowed"}
"""Built-in handlers, and the setting that lists what each may do."""


def _fit(*names: str) -> bool:
    """Whether these settings are of their kinds. Where one is not, E009 says so, and other rules can't be judged."""
    return all(setting.fits for setting in _settings(*names))


def _settings(*names: str) -> list[Setting[Any]]:
    return [getattr(type(conf), name) for name in names]


# -- the settings, one by one ---------------------------------------------------------------------------------


@checks.register("django_jobs")
def check_values(app_configs: Apps, **_: Any) -> Messages:
    """E009: every setting is of its kind: a text in the place of a list would allow each of its parts."""
    said_elsewhere = _settings("handlers", "queues", "backoff", "schedule")
    return [
        finding("E009", f"{setting.name} is {_shown(setting)}.", f"Make it {setting.kind.says}.")
        for setting in declared()
        if not setting.fits and setting not in said_elsewhere
    ]


def _shown(setting: Setting[Any]) -> str:
    """The value, unless it is a secret."""
    return "not one" if "KEY" in setting.name else f"{setting.__get__(conf, type(conf))!r:.80}"


@checks.register("django_jobs")
def check_names(app_configs: Apps, **_: Any) -> Messages:
    """W004: a setting that starts with JOBS_ is one of ours."""
    known = {setting.name for setting in declared()}
    strange = sorted(name for name in dir(settings) if name.startswith("JOBS_") and name not in known)
    return [finding("W004", f"{name} is not a setting of django_jobs.") for name in strange]


# -- handlers -------------------------------------------------------------------------------------------------


@checks.register("django_jobs")
def check_handlers(app_configs: Apps, **_: Any) -> Messages:
    """E001: every key of `JOBS` names a handler."""
    if not _fit("handlers"):
        do = 'Map handler keys to classes or dotted paths: JOBS = {"welcome": "app.jobs.Welcome"}.'
        return [finding("E001", f"JOBS is {conf.handlers!r:.80}, and not a dict with texts as keys.", do)]
    if not _fit("builtins", "aliases"):
        return []
    keys = registry.handler_keys()
    found: Messages = [
        finding("E001", f"JOBS_ALIASES[{old!r:.80}]: there is no handler {key!r:.80}.", "Mend JOBS_ALIASES.")
        for old, key in conf.aliases.items()
        if key not in keys
    ]
    for key in keys:
        try:
            registry.check_class(key, registry.get(key))
            registry.defaults_of(registry.get(key))
        except (InvalidHandler, UnknownHandler) as error:
            found.append(finding("E001", str(error)))
    return found


@checks.register("django_jobs")
def check_handler_attributes(app_configs: Apps, **_: Any) -> Messages:
    """E013, W014: typed payloads have a type that works, and no attribute is a misspelt option or hook."""
    found: Messages = []
    for key in registry.handler_keys() if _fit("handlers", "builtins", "aliases") else []:
        try:
            handler = registry.get(key)
            if getattr(handler, "payload_type", None) is not None:
                typed.check_type(handler.payload_type)  # type: ignore[attr-defined]
        except InvalidHandler as error:
            found.append(finding("E013", f"handler {key!r}: {error}"))
        except UnknownHandler:
            continue  # E001 says so
        else:
            found += [
                finding("W014", f"handler {key!r}: {registry.path_of(handler)}.{name} is almost {meant!r}.")
                for name, meant in _misspelt(handler)
            ]
    return found


def _misspelt(handler: type) -> Iterator[tuple[str, str]]:
    """Attributes of a handler's own, and what they may have been meant to be."""
    known = {name for name in dir(JobHandler) if not name.startswith("_")} | {"max_retries", "retry_delay"}
    own = {name for kind in handler.__mro__ if kind is not object for name in vars(kind)}
    for name in sorted(own - known):
        near = [] if name.startswith("_") else get_close_matches(name, known, 1, CLOSE)
        if near:
            yield name, near[0]


@checks.register("django_jobs")
def check_builtins(app_configs: Apps, **_: Any) -> Messages:
    """E011, W010: `JOBS_BUILTINS` names built-in handlers, each with something that it may do."""
    if not _fit("builtins", *ALLOWED_BY.values()):
        return []
    known = ", ".join(sorted(registry.BUILTINS))
    strange = sorted(set(conf.builtins) - set(registry.BUILTINS))
    found = [
        finding("E011", f"JOBS_BUILTINS: {key!r:.80} is no built-in handler. There are: {known}.") for key in strange
    ]
    for key, setting in zip(ALLOWED_BY, _settings(*ALLOWED_BY.values()), strict=True):
        if key in conf.builtins and not setting.__get__(conf, type(conf)):
            found.append(finding("W010", f"JOBS_BUILTINS lets {key!r} in, and {setting.name} is empty."))
    return found


@checks.register("django_jobs")
def check_programs(app_configs: Apps, **_: Any) -> Messages:
    """W016: the programs that `JOBS_SHELL_ALLOWED` names are there."""
    if not _fit("builtins", "shell_allowed") or "shell" not in conf.builtins:
        return []
    return [
        finding("W016", f"JOBS_SHELL_ALLOWED: there is no program {name!r:.200} here.")
        for name in sorted(conf.shell_allowed)
        if locate(name) is None
    ]


# -- queues, defaults, backends -------------------------------------------------------------------------------


@checks.register("django_jobs")
def check_queues(app_configs: Apps, **_: Any) -> Messages:
    """E002: `JOBS_QUEUES` can be read, and the options of its queues hold."""
    try:
        queues = parse_queues(conf.queues)
    except ImproperlyConfigured as error:
        return [finding("E002", str(error))]
    return [
        finding("E002", f"JOBS_QUEUES[{queue.name!r}]{says}") for queue in queues.values() if (says := _wrong(queue))
    ]


def _wrong(queue: QueueOptions) -> str:
    if queue.backend is not None and _fit("backends") and queue.backend not in conf.backends:
        return f"['backend']: JOBS_BACKENDS has no {queue.backend!r}."
    try:
        JobDefinition(handler="").with_(**queue.options)
    except (InvalidDefinition, TypeError) as error:
        return f": {error}"
    return ""


@checks.register("django_jobs")
def check_allowed(app_configs: Apps, **_: Any) -> Messages:
    """W008, W009: the handlers that a queue allows are there."""
    try:
        queues = parse_queues(conf.queues)
    except ImproperlyConfigured:
        return []  # E002 says so
    known = set(registry.handler_keys()) if _fit("handlers", "builtins") else None
    found: Messages = []
    for queue in queues.values():
        where = f"JOBS_QUEUES[{queue.name!r}]['handlers']"
        if queue.handlers == ():
            found.append(finding("W008", f"{where} is empty."))
        strange = set(queue.handlers or ()) - known if known is not None else ()
        found += [finding("W009", f"{where}: there is no handler {key!r:.80}.") for key in sorted(strange)]
    return found


@checks.register("django_jobs")
def check_loaded(app_configs: Apps, **_: Any) -> Messages:
    """E012: what settings name by a dotted path can be loaded and called."""
    named: list[tuple[str, Any]] = []
    if _fit("middleware"):
        named += [("JOBS_MIDDLEWARE", item) for item in conf.middleware]
    if _fit("middleware_allowed"):
        named += [("JOBS_MIDDLEWARE_ALLOWED", item) for item in conf.middleware_allowed]
    if _fit("container") and conf.container:
        named.append(("JOBS_CONTAINER", conf.container))
    if _fit("maintenance") and isinstance(conf.maintenance, str):
        named.append(("JOBS_MAINTENANCE", conf.maintenance))
    if _fit("backoffs"):
        named += [(f"JOBS_BACKOFFS[{name!r}]", item) for name, item in conf.backoffs.items()]
    found: Messages = []
    for where, item in named:
        try:
            loaded = import_string(item) if isinstance(item, str) else item
        except Exception as error:  # whatever the module raises as it is loaded
            found.append(finding("E012", f"{where}: {item!r:.80} can't be loaded ({error})."))
            continue
        if not callable(loaded):
            found.append(finding("E012", f"{where}: {item!r:.80} can't be called."))
    return found


@checks.register("django_jobs")
def check_defaults(app_configs: Apps, **_: Any) -> Messages:
    """E003: `JOBS_DEFAULTS` and `JOBS_BACKOFF` hold."""
    if not _fit("defaults"):
        return []
    if unknown := set(map(str, conf.defaults)) - set(DEFAULT_OPTIONS):
        known = ", ".join(sorted(DEFAULT_OPTIONS))
        return [finding("E003", f"JOBS_DEFAULTS: unknown option {min(unknown)!r}.", f"It takes {known}.")]
    try:
        site_defaults()
        JobDefinition(handler="").with_(ttl=conf.default_option("ttl"), queue=conf.default_option("queue"))
    except (InvalidDefinition, TypeError) as error:
        return [finding("E003", str(error))]
    return []


@checks.register("django_jobs")
def check_sqlite_workers(app_configs: Apps, **_: Any) -> Messages:
    """W015: SQLite has one writer at a time."""
    if not _fit("default_backend"):
        return []
    on_sqlite = {b.alias for b in _backends() if _vendor_of(b) == "sqlite"}
    try:
        queues = parse_queues(conf.queues).values() if on_sqlite else ()
    except ImproperlyConfigured:
        return []  # E002 says so
    return [
        finding("W015", f"JOBS_QUEUES[{queue.name!r}]['max_workers'] is {queue.max_workers}, on SQLite.")
        for queue in queues
        if (queue.backend or conf.default_backend) in on_sqlite and queue.max_workers > MOST_SQLITE_WORKERS
    ]


@checks.register("django_jobs")
def check_isolation(app_configs: Apps, **_: Any) -> Messages:
    """E040, W040: a queue's isolation can be had, and what goes with it has an effect."""
    found: Messages = []
    for queue in _queues():
        where = f"JOBS_QUEUES[{queue.name!r}]"
        if queue.isolation == "spawn" and "DJANGO_SETTINGS_MODULE" not in os.environ:
            found.append(finding("E040", f"{where}['isolation'] is 'spawn', and there is no settings module."))
        if queue.isolation != "pool":
            idle = [name for name, none in ONLY_IN_A_POOL.items() if getattr(queue, name) != none]
            says = f"has no effect with the isolation {queue.isolation!r}."
            found += [finding("W040", f"{where}[{name!r}] {says}") for name in idle]
        elif queue.concurrency > 1 and queue.warnings_as_errors:
            says = f"{where}['warnings_as_errors'] has no effect beside concurrency: warnings are of a whole process."
            found.append(finding("W040", says))
    return found


@checks.register("django_jobs", deploy=True)
def check_deadlines(app_configs: Apps, **_: Any) -> Messages:
    """W041, W042: jobs can be ended without others."""
    found: Messages = []
    for queue in _queues():
        where = f"JOBS_QUEUES[{queue.name!r}]"
        if queue.isolation == "inline":
            found.append(finding("W041", f"{where}['isolation'] is 'inline'."))
        elif queue.isolation == "pool" and queue.concurrency > 1 and (keys := _blocking(queue)):
            says = f"{where} has a concurrency of {queue.concurrency}, also for {', '.join(keys)}."
            found.append(finding("W042", says))
    return found


def _blocking(queue: QueueOptions) -> list[str]:
    """The handlers that may be on a queue and can't be interrupted beside others; the first few of them."""
    found = []
    for key in registry.handler_keys() if _fit("handlers", "builtins", "aliases") else []:
        try:
            handler = registry.get(key)
        except (InvalidHandler, UnknownHandler):
            continue  # E001 says so
        if handler is ShellHandler:
            continue  # it looks by itself whether it is to end
        function = getattr(handler, "function", None)  # of a function job
        if queue.allows(key) and not iscoroutinefunction(getattr(function, "func", getattr(handler, "handle", None))):
            found.append(key)
    return [*found[:MOST_NAMED], *(["…"] if len(found) > MOST_NAMED else [])]


def _queues() -> list[QueueOptions]:
    """The queues, where they can be read. Where not, E002 says so."""
    try:
        return list(parse_queues(conf.queues).values())
    except ImproperlyConfigured:
        return []


def _vendor_of(backend: Backend) -> str:
    database = getattr(backend, "database", None)
    return connections[database].vendor if backend.supports.claim and database in connections.settings else ""


def _backends() -> list[Backend]:
    """The backends that can be made."""
    if not _fit("backends", "database_alias"):
        return []
    made = []
    for alias in conf.backends:
        try:
            made.append(build(alias, conf.backends))
        except ImproperlyConfigured:
            continue  # E004 says so
    return made


@checks.register("django_jobs")
def check_backends(app_configs: Apps, **_: Any) -> Messages:
    """E004 to E006, W001 to W003, W013: every backend can be made, and its store is fit."""
    if not _fit("backends", "default_backend", "database_alias"):
        return []
    found: Messages = []
    for alias in conf.backends:
        try:
            found += build(alias, conf.backends).check()
        except ImproperlyConfigured as error:
            found.append(finding("E004", str(error)))
    if conf.default_backend not in conf.backends:
        says = f"JOBS_DEFAULT_BACKEND is {conf.default_backend!r}, which JOBS_BACKENDS does not have."
        found.append(finding("E004", says, f"Set it to one of: {', '.join(conf.backends)}."))
    return found


@checks.register(checks.Tags.database)
def check_stores(app_configs: Apps, databases: Collection[str] | None = None, **_: Any) -> Messages:
    """W011, W012: the servers are fit. Only where `migrate` runs, or `check --database`.

    Without the tag that our commands check at their start: from 6.1 on, Django gives such a check every database, and
    a worker has to start while its database is away.
    """
    return [message for backend in _backends() for message in backend.check_store(databases or ())]


# -- the schedule ---------------------------------------------------------------------------------------------


SCHEDULE = "django_jobs_schedule"
"""A tag of its own: a worker starts whatever an entry has wrong, as one entry never stops the rest."""


@checks.register(SCHEDULE)
def check_schedule(app_configs: Apps, **_: Any) -> Messages:
    """E020 to E026, W022: each entry of the schedule holds, and has a place in the order."""
    if not _fit(*_READ_BY_THE_SCHEDULE):
        return []
    try:
        zone_of(default_zone_name())
    except InvalidSchedule as error:  # said once, and not for each entry
        return [finding("E024", f"JOBS_SCHEDULE_TIMEZONE: {error}")]
    loaded = sources.load()
    return [_found(problem) for problem in (*loaded.problems, *order(loaded.entries).problems)]


_READ_BY_THE_SCHEDULE = ("handlers", "builtins", "aliases", "schedule_timezone", "backends", "default_backend")


def _found(problem: Problem) -> checks.CheckMessage:
    entry = f", entry {problem.entry!r}" if problem.entry else ""
    return finding(problem.rule, f"{problem.origin}{entry}: {problem.message}")


@checks.register(SCHEDULE)
def check_schedule_words(app_configs: Apps, **_: Any) -> Messages:
    """W020, W021: environments are spelt alike, and commands and programs are allowed."""
    if not _fit(*_READ_BY_THE_SCHEDULE, "environment", "commands_allowed", "shell_allowed"):
        return []
    entries = sources.load().entries
    uses = Counter(word for entry in entries for word in entry.environments)
    uses[conf.environment] += len(entries) + 1
    found: Messages = []
    for entry in entries:
        where = f"{entry.origin}, entry {entry.name!r}"
        for word in entry.environments:
            near = [meant for meant in uses if uses[meant] > uses[word] and _is_almost(word, meant)]
            found += [finding("W020", f"{where}: the environment {word!r} is almost {near[0]!r}.")] if near else []
        handler = registry.get(entry.handler)  # the site may have one of its own under a key of ours
        if handler is CommandHandler and not is_listed(name := parse_command(entry.payload)[0], conf.commands_allowed):
            do = "Add the command to JOBS_COMMANDS_ALLOWED."
            found.append(finding("W021", f"{where}: the command {name!r} is not allowed.", do))
        elif handler is ShellHandler and not is_allowed(name := parse_program(entry.payload)[0]):
            do = "Add the program to JOBS_SHELL_ALLOWED."
            found.append(finding("W021", f"{where}: the program {name!r:.200} is not allowed.", do))
    return found


def _is_almost(word: str, meant: str) -> bool:
    return word != meant and bool(get_close_matches(word.lower(), [meant.lower()], 1, CLOSE))


# -- what depends on several settings -------------------------------------------------------------------------


@checks.register("django_jobs")
def check_lease(app_configs: Apps, **_: Any) -> Messages:
    """E007: the lease outlives three missed renewals."""
    if not _fit("lease_seconds", "heartbeat_interval") or conf.lease_seconds >= 3 * conf.heartbeat_interval:
        return []
    says = f"JOBS_LEASE_SECONDS ({conf.lease_seconds}) is under three times JOBS_HEARTBEAT_INTERVAL"
    return [finding("E007", f"{says} ({conf.heartbeat_interval}).")]


@checks.register("django_jobs")
def check_bounds(app_configs: Apps, **_: Any) -> Messages:
    """E008: what a job may carry fits a message between the worker's processes.

    The longest is that of a hook: the payload and the meta, the history, and the outcome.
    """
    if not _fit("max_payload_bytes", "max_history", "max_result_bytes", "max_traceback_bytes"):
        return []
    parts = {
        "JOBS_MAX_PAYLOAD_BYTES": 2 * conf.max_payload_bytes,
        "JOBS_MAX_HISTORY": conf.max_history * HISTORY_ENTRY_BYTES,
        "JOBS_MAX_RESULT_BYTES": conf.max_result_bytes,
        "JOBS_MAX_TRACEBACK_BYTES": conf.max_traceback_bytes * 9 // 8,
    }
    needed = sum(parts.values()) + 16_384
    if needed <= MESSAGE_BYTES:
        return []
    biggest = ", ".join(f"{name} makes {size:,}" for name, size in parts.items())
    says = f"A job may need a message of {needed:,} bytes, and the worker's sockets carry {MESSAGE_BYTES:,}: {biggest}."
    return [finding("E008", says)]


@checks.register("django_jobs")
def check_atomic(app_configs: Apps, **_: Any) -> Messages:
    """E030, W030: the backends of atomic handlers can complete them, in the time that they ask for."""
    backends = {backend.alias: backend for backend in _backends()}
    found: Messages = []
    for key in registry.handler_keys() if _fit("handlers", "builtins", "aliases", "lease_seconds") else []:
        try:
            handler = registry.get(key)
            if not getattr(handler, "atomic", False):
                continue
            backend = backends[str(with_defaults(JobDefinition(handler=key)).backend)]
            timeout = registry.defaults_of(handler).get("timeout", 0)
        except Exception:  # noqa: S112 - whatever it is, other rules say so
            continue
        longest = backend.longest_transaction if _vendor_of(backend) else None
        if not backend.supports.atomic:
            says = f"handler {key!r} is atomic, and the backend {backend.alias!r} has no transactions for it."
            found.append(finding("E030", says))
        elif longest is not None and (timeout is None or timeout > longest):
            says = f"handler {key!r} is atomic with a timeout of {timeout} seconds, and has {longest:g}."
            found.append(finding("W030", says))
    return found


# -- before a deployment --------------------------------------------------------------------------------------


@checks.register("django_jobs", deploy=True)
def check_verification(app_configs: Apps, **_: Any) -> Messages:
    """W005: envelopes are verified."""
    if not _fit("verify_signatures") or conf.verify_signatures:
        return []
    says = "JOBS_VERIFY_SIGNATURES is False: whoever can write to the store chooses what your workers run."
    return [finding("W005", says)]


@checks.register("django_jobs", deploy=True)
def check_key(app_configs: Apps, **_: Any) -> Messages:
    """W006: the key that signs can't be guessed."""
    if not _fit("signing_key"):
        return []
    name = "JOBS_SIGNING_KEY" if conf.signing_key else "SECRET_KEY"
    key = str(conf.signing_key or settings.SECRET_KEY)
    if key.startswith("django-insecure-"):
        return [finding("W006", f"Jobs are signed with {name}, which is the one that startproject made.")]
    if len(key) < LEAST_KEY_CHARACTERS or len(set(key)) < LEAST_KEY_VARIETY:
        return [finding("W006", f"Jobs are signed with {name}, which is short or hardly random.")]
    return []


@checks.register("django_jobs", deploy=True)
def check_key_of_its_own(app_configs: Apps, **_: Any) -> Messages:
    """E010: what is kept outside of the database is signed with a key of its own."""
    if not _fit("signing_key") or conf.signing_key:
        return []
    outside = [b.alias for b in _backends() if b.supports.shared and b.supports.claim and not b.supports.transactional]
    return [
        finding(
            "E010", f"JOBS_BACKENDS[{alias!r}] keeps jobs outside of the database, and JOBS_SIGNING_KEY is not set."
        )
        for alias in outside
    ]


@checks.register("django_jobs", deploy=True)
def check_debug(app_configs: Apps, **_: Any) -> Messages:
    """W007: no worker runs with DEBUG."""
    return [finding("W007", "DEBUG is True: a job's errors are shown with what it held.")] if settings.DEBUG else []
