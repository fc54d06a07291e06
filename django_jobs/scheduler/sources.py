"""Where the entries of the code come from: `JOBS_SCHEDULE`, and `schedule(scheduler)` in each app's `jobs.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple

from django.apps import apps
from django.core.signals import setting_changed
from django.utils.module_loading import import_string, module_has_submodule

from ..conf import SCHEDULE, conf
from .builder import EntryBuilder, Scheduler
from .entries import ERRORS, Entry, Problem
from .mapping import builder_from_mapping

SETTING = "JOBS_SCHEDULE"


class Loaded(NamedTuple):
    """The entries that hold, and what is wrong with the others."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]

    def with_entries(self, more: Iterable[Entry]) -> Loaded:
        """These and more, as from a database. A name that is taken makes the later one a problem."""
        entries, problems = {entry.name: entry for entry in self.entries}, list(self.problems)
        for entry in more:
            _add(entry, entries, problems)
        return Loaded(tuple(entries.values()), tuple(problems))


@lru_cache(maxsize=1)
def load() -> Loaded:
    """All entries of the code, in the order of their declaration; read once in a process.

    Never raises: a bad entry, or a function that fails, becomes a problem, and the others stay.
    """
    entries: dict[str, Entry] = {}
    problems: list[Problem] = []
    for found in _builders():
        if isinstance(found, Problem):
            problems.append(found)
            continue
        entry, wrong = found.build()
        problems += wrong
        if entry is not None:
            _add(entry, entries, problems)
    return Loaded(tuple(entries.values()), tuple(problems))


@lru_cache(maxsize=1)
def by_name() -> Mapping[str, Entry]:
    """The entries of the code that hold, by their names."""
    return {entry.name: entry for entry in load().entries}


def _add(entry: Entry, entries: dict[str, Entry], problems: list[Problem]) -> None:
    other = entries.setdefault(entry.name, entry)
    if other is not entry:
        says = f"another entry of this name comes from {other.origin}. Give this one a name of its own."
        problems.append(Problem(entry.name, says, "E025", entry.origin))


def _builders() -> Iterator[EntryBuilder | Problem]:
    functions: list[tuple[str, Callable[[Scheduler], object]]] = []
    source = conf.schedule
    if isinstance(source, str):
        try:
            source = import_string(source)
        except ERRORS as error:  # whatever the module raises as it is loaded
            yield Problem("", f"{source!r:.200} can't be loaded ({error}).", "E020", SETTING)
            source = ()
    if not isinstance(source, str) and callable(source):
        functions.append((SETTING, source))
    elif not SCHEDULE.fits(source) or isinstance(source, str):
        yield Problem("", f"it is {source!r:.80}. Make it {SCHEDULE.says}.", "E020", SETTING)
    elif isinstance(source, Mapping):
        for name, mapping in source.items():
            yield builder_from_mapping(name, mapping, origin=SETTING)
    else:
        for mapping in source:
            yield builder_from_mapping("", mapping, origin=SETTING)
    known = {id(function) for _, function in functions}
    functions += [found for found in _functions_of_apps() if id(found[1]) not in known]
    for origin, function in functions:
        yield from _declared(origin, function)


def _functions_of_apps() -> Iterator[tuple[str, Callable[[Scheduler], object]]]:
    for app in apps.get_app_configs():
        if app.module is not None and module_has_submodule(app.module, "jobs"):
            module = import_module(f"{app.name}.jobs")  # loaded already: the app's start does that
            function: Any = getattr(module, "schedule", None)
            if callable(function):
                yield module.__name__, function


def _declared(origin: str, function: Callable[[Scheduler], object]) -> Iterator[EntryBuilder | Problem]:
    scheduler = Scheduler(origin)
    try:
        function(scheduler)
    except ERRORS as error:  # a site's own code; what it has declared so far stays
        yield Problem("", f"schedule() failed: {type(error).__name__}: {error}", "E020", origin)
    yield from scheduler.builders


def _forget(*, setting: str, **_: Any) -> None:
    if setting.startswith("JOBS") or setting in ("TIME_ZONE", "INSTALLED_APPS"):
        load.cache_clear()
        by_name.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_jobs.scheduler.sources")
