"""An entry of the schedule: what is to be run, when, and under which conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from django.utils.translation import gettext as _

from ..conf import conf
from .timing import Timing

Hook = Callable[..., Any] | str
"""A callable, or its dotted path."""
ERRORS = (Exception, SystemExit)
"""What code of the site may raise: a `sys.exit()` in a hook ends no scheduler."""
_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Entry:
    """One recurring definition, checked. A builder makes one (`Scheduler.define`), or `mapping.entry_from_mapping`."""

    name: str
    handler: str
    """The key of a registered handler."""
    timing: Timing
    payload: Any = None
    queue: str | None = None
    """None: it runs inline, in the scheduler's process."""
    backend: str | None = None
    """None: the queue's, or the default one."""
    options: Mapping[str, Any] = field(default_factory=lambda: _NO_OPTIONS)
    """Further options of its jobs, as `JobDefinition.with_` takes them: priority, max_attempts, timeout, tags …"""
    environments: tuple[str, ...] = ()
    """Only where `JOBS_ENVIRONMENT` is one of these; empty is everywhere."""
    enabled: bool = True
    depends_on: tuple[str, ...] = ()
    """Entries that come before it in a run, where they are due too."""
    requires: tuple[str, ...] = ()
    """Entries whose tick must have succeeded first."""
    single_instance: str | None = None
    """The key of the guard against overlaps; None is no guard."""
    overlap_seconds: float = 60.0
    """How long the guard is held without being renewed."""
    catch_up: str = "skip"
    """What becomes of missed ticks: `skip`, `one` (the last), or `all`."""
    catch_up_limit: int = 10
    """At most so many missed ticks are made up for, the latest."""
    when: tuple[Hook, ...] = ()
    """Run only where each of these answers something true."""
    skip: tuple[Hook, ...] = ()
    """Do not run where any of these answers something true."""
    before: tuple[Hook, ...] = ()
    after: tuple[Hook, ...] = ()
    on_success: tuple[Hook, ...] = ()
    on_failure: tuple[Hook, ...] = ()
    description: str = ""
    run_in_maintenance: bool = False
    origin: str = "JOBS_SCHEDULE"
    """Where it was declared: `JOBS_SCHEDULE`, the module of an app, or `database`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with an entry. The entry is left out, and the others stay."""

    entry: str
    """Its name; empty where it has none yet."""
    message: str
    rule: str
    """The id of the system check that says so."""
    origin: str = "JOBS_SCHEDULE"

    def __str__(self) -> str:
        facts = {"origin": self.origin, "name": self.entry, "why": self.message}
        text = _("%(origin)s: the entry '%(name)s' is left out: %(why)s") if self.entry else "%(origin)s: %(why)s"
        return text % facts


def is_at_home(entry: Entry) -> bool:
    """Whether an entry is one of this environment (`JOBS_ENVIRONMENT`)."""
    return not entry.environments or conf.environment in entry.environments
