"""The schedule's two tables on a database: how its entries stand, and their ticks. All of its queries are here."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models import DateTimeField, Exists, Min, OuterRef, QuerySet, Subquery, TextField, Value
from django.db.models.functions import Coalesce, Concat

from ..backends import Backend, JobRecord, get_backend
from ..backends.archive import aware, kept
from ..backends.database import DatabaseBackend
from ..ids import new_id
from ..models import CompletedJob, FailedJob, Job, ScheduleEntry, ScheduleTick, TickState
from ..redaction import clip
from ..store import clock, store_of
from .entries import Entry
from .requirements import Standing
from .ticks import ticks
from .timing import Timing

T = TypeVar("T")
ROWS = 500
ERROR_BYTES = 1000
LONGEST_LOOK = timedelta(days=1)
"""An entry is looked at after this long even where its next tick is farther away: zones change their rules."""


class Row(NamedTuple):
    """How an entry stands. Every tick up to `seen_at` has been decided upon."""

    name: str
    enabled: bool
    seen_at: datetime | None


class Ending(NamedTuple):
    """How the job of a tick ended."""

    state: TickState
    reason: str = ""
    error: str = ""


NO_RECORD = Ending(TickState.SUCCEEDED, "the job left no record")


class Ledger:
    """The schedule's rows in the database of a backend."""

    def __init__(self, store: DatabaseBackend) -> None:
        self.store = store
        self.database = store.database

    def now(self) -> datetime:
        """What time the store has."""
        return clock(self.store)

    def kept(self, when: datetime) -> datetime:
        """A moment as the ORM takes it."""
        return kept(when, self.database)

    def aware(self, when: datetime | None) -> datetime | None:
        """A moment that the ORM has read."""
        return None if when is None else aware(when, self.database)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction of a few statements, in which no code of the site runs."""
        with self.store.sql.brief_transaction():
            yield

    @property
    def entries(self) -> QuerySet[ScheduleEntry]:
        """The rows of entries."""
        return ScheduleEntry.objects.using(self.database)

    @property
    def ticks(self) -> QuerySet[ScheduleTick]:
        """The rows of ticks."""
        return ScheduleTick.objects.using(self.database)

    def _locking(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Lock these rows; those that somebody else has in hand are left out, where the database can do that."""
        features = connections[self.database].features
        if not features.has_select_for_update:
            return rows
        return rows.select_for_update(skip_locked=features.has_select_for_update_skip_locked)

    # -- entries ----------------------------------------------------------------------------------------------

    def made_here(self) -> list[tuple[str, Any]]:
        """The entries that were made in the database: names and definitions."""
        rows = self.entries.filter(definition__isnull=False).order_by("name")
        return list(rows.values_list("name", "definition"))

    def rows(self, names: Collection[str] | None = None, *, due_at: datetime | None = None) -> dict[str, Row]:
        """How entries stand, by name: all of them, or some, or those that are to be looked at by a moment."""
        chosen = self.entries if due_at is None else self.entries.filter(look_at__lte=self.kept(due_at))
        if names is None:
            return self._read(chosen)
        return {n: row for some in batched(names, ROWS) for n, row in self._read(chosen.filter(name__in=some)).items()}

    def _read(self, rows: QuerySet[Any]) -> dict[str, Row]:
        found = rows.values_list("name", "enabled", "seen_at")
        return {name: Row(name, enabled, self.aware(seen_at)) for name, enabled, seen_at in found}

    def lock(self, names: Collection[str]) -> dict[str, Row]:
        """How entries stand, which are now ours until the end of the transaction."""
        return self._read(self._locking(self.entries.filter(name__in=list(names)).order_by("name")))

    def marks(self) -> dict[str, str]:
        """The mark of each entry's timing, by name; blank where no scheduler has seen it."""
        return dict(self.entries.values_list("name", "timing_mark"))

    def register(self, entries: Iterable[Entry], marks: Mapping[str, str], *, now: datetime, grace: float) -> list[str]:
        """Make the rows of new entries, which start from `now`, and note where a timing has changed; answers the new.

        An entry whose timing has changed starts anew too, but what is on time counts: while a new version of the code
        is rolled out, schedulers of both take turns to find it changed.
        """
        new, begun = [], []
        for entry in entries:
            known, mark = marks.get(entry.name), mark_of(entry.timing)
            if known is None:
                new.append(ScheduleEntry(name=entry.name, timing_mark=mark, **self._from(now, entry)))
            elif not known:
                begun.append(entry.name)
                self.entries.filter(name=entry.name, timing_mark="").update(timing_mark=mark, **self._from(now, entry))
            elif known != mark:
                self._start_anew(entry.name, known, mark, now=now, grace=grace)
        for some in batched(new, ROWS):
            self.entries.bulk_create(some, ignore_conflicts=True)
        return [*(row.name for row in new), *begun]

    def _start_anew(self, name: str, known: str, mark: str, *, now: datetime, grace: float) -> None:
        on_time = self.kept(now - timedelta(seconds=grace))
        rows = self.entries.filter(name=name, timing_mark=known)
        rows.filter(seen_at__lt=on_time).update(seen_at=on_time)
        rows.update(timing_mark=mark, look_at=self.kept(now))

    def come_back(self, now: datetime, grace: float) -> None:
        """Where the store's clock was ahead and has been set right: go on from now, not when that time has come.

        What is on time counts. What has been dispatched meanwhile has its tick, and is not dispatched again.
        """
        ahead, on_time = (self.kept(now + timedelta(seconds=seconds)) for seconds in (grace, -grace))
        present = self.kept(now)
        self.entries.filter(seen_at__gt=ahead).update(seen_at=on_time, look_at=present)
        self.ticks.filter(state=TickState.DISPATCHED, look_at__gt=ahead).update(look_at=present)

    def foreseen(self, entries: Iterable[Entry], *, now: datetime, grace: float) -> dict[str, Row]:
        """How the entries that are not new would stand after `come_back` and `register`. Writes nothing."""
        rows, marks, on_time = self.rows(), self.marks(), now - timedelta(seconds=grace)
        found = {}
        for entry in entries:
            row, mark = rows.get(entry.name), marks.get(entry.name)
            if row is None or row.seen_at is None or not mark:
                continue
            seen_at = on_time if row.seen_at > now + timedelta(seconds=grace) else row.seen_at
            found[entry.name] = row._replace(
                seen_at=seen_at if mark == mark_of(entry.timing) else max(seen_at, on_time)
            )
        return found

    def _from(self, now: datetime, entry: Entry) -> dict[str, Any]:
        return {"seen_at": self.kept(now), "look_at": self.kept(next_look(entry.timing, now))}

    def advance(self, looks: Mapping[str, datetime], *, seen_at: datetime, locked: bool = False) -> None:
        """Note that every tick of these entries up to `seen_at` has been decided, and when each is looked at next.

        Where the rows are not locked, somebody may have looked at them meanwhile: those are left as they are.
        """
        by_moment: dict[datetime, list[str]] = {}
        for name, look_at in looks.items():
            by_moment.setdefault(look_at, []).append(name)
        for look_at, names in by_moment.items():
            for some in batched(names, ROWS):
                rows = self.entries.filter(name__in=some)
                rows = rows if locked else rows.filter(look_at__lte=self.kept(seen_at))
                rows.update(seen_at=self.kept(seen_at), look_at=self.kept(look_at))

    def next_look(self, now: datetime) -> datetime | None:
        """When the next entry is to be looked at, after `now`."""
        later = self.entries.filter(look_at__gt=self.kept(now))
        return self.aware(later.aggregate(next=Min("look_at"))["next"])

    def has_open(self) -> bool:
        """Whether any tick is open, so that it is worth looking soon."""
        return self.ticks.filter(look_at__isnull=False).exists()

    def set_enabled(self, names: Collection[str], *, enabled: bool, now: datetime) -> list[str]:
        """Enable or disable entries, whether they have a row or not; answers those that changed.

        What an entry missed while it was disabled passes by.
        """
        missing = set(names) - set(self.rows(names))
        rows = [ScheduleEntry(name=name) for name in missing]
        self.entries.bulk_create(rows, ignore_conflicts=True)
        changed = sorted(name for name, row in self.rows(names).items() if row.enabled is not enabled)
        for some in batched(changed, ROWS):
            chosen = self.entries.filter(name__in=some, enabled=not enabled)
            if enabled:
                chosen.filter(seen_at__isnull=False).update(seen_at=self.kept(now), look_at=self.kept(now))
            chosen.update(enabled=enabled)
        return changed

    def standings(self, names: Collection[str], at: datetime) -> dict[str, Standing]:
        """How the entries stand that a tick due `at` requires."""
        last = self.ticks.filter(name=OuterRef("name"), instant__lte=self.kept(at)).order_by("-instant")
        rows = self.entries.filter(name__in=list(names)).annotate(last=Subquery(last.values("state")[:1]))
        found = rows.values_list("name", "enabled", "look_at", "last")
        return {name: Standing(enabled, self.aware(look_at), last or "") for name, enabled, look_at, last in found}

    # -- ticks ------------------------------------------------------------------------------------------------

    def new_tick(self, name: str, instant: datetime, state: TickState, now: datetime, **fields: Any) -> ScheduleTick:
        """A tick that was decided `now`, not stored yet."""
        moments = {f: None if fields.get(f) is None else self.kept(fields[f]) for f in fields if f.endswith("_at")}
        return ScheduleTick(
            id=uuid.UUID(new_id()),
            name=name,
            instant=self.kept(instant),
            state=state,
            decided_at=self.kept(now),
            **{**fields, **moments},
        )

    def store_ticks(self, new: Sequence[ScheduleTick]) -> None:
        """Store ticks, all or none. Raises `IntegrityError` where one is there already, or its guard is taken."""
        self.ticks.bulk_create(new, batch_size=ROWS)

    def known(self, name: str, instants: Collection[datetime]) -> set[datetime]:
        """Those of `instants` at which the entry has a tick already."""
        rows = self.ticks.filter(name=name, instant__in=[self.kept(at) for at in instants])
        return {aware(instant, self.database) for instant in rows.values_list("instant", flat=True)}

    def guards_held(self, guards: Collection[str]) -> set[str]:
        """Those of `guards` that somebody holds."""
        held = self.ticks.filter(guard__in=list(guards)).values_list("guard", flat=True) if guards else ()
        return {guard for guard in held if guard}

    def open_ticks(self, state: TickState, now: datetime) -> QuerySet[ScheduleTick]:
        """The open ticks in a state that are to be looked at `now`, the oldest first."""
        return self.ticks.filter(state=state, look_at__lte=self.kept(now)).order_by("look_at", "id")

    def take(self, tick: ScheduleTick, holder: uuid.UUID, *, now: datetime, lease: float) -> bool:
        """Take a waiting tick in hand, as nobody else has."""
        until = self.kept(now + timedelta(seconds=lease))
        return bool(self._as_seen(tick).update(holder=holder, look_at=until))

    def put_off(self, tick: ScheduleTick, *, until: datetime) -> None:
        """Look at an open tick later, unless somebody else has done something about it."""
        self._as_seen(tick).update(look_at=self.kept(until))

    def _as_seen(self, tick: ScheduleTick) -> QuerySet[ScheduleTick]:
        return self.ticks.filter(pk=tick.pk, state=tick.state, holder=tick.holder, look_at=tick.look_at)

    def in_hand(self, tick: ScheduleTick, holder: uuid.UUID) -> QuerySet[ScheduleTick]:
        """The row of an open tick, as long as `holder` has it in hand."""
        return self.ticks.filter(pk=tick.pk, holder=holder, look_at__isnull=False)

    def renew(self, tick: ScheduleTick, holder: uuid.UUID, lease: float) -> bool:
        """Prolong the lease of a tick in hand. False: it is ours no more."""
        until = self.kept(self.now() + timedelta(seconds=lease))
        return bool(self.in_hand(tick, holder).update(look_at=until))

    def mark_running(self, tick: ScheduleTick, holder: uuid.UUID, job_id: str) -> bool:
        """A tick in hand runs in this process from now on."""
        begun = {"state": TickState.RUNNING, "started_at": self.kept(self.now()), "reason": "", "job_id": job_id}
        return bool(self.in_hand(tick, holder).update(**begun))

    def mark_dispatched(self, tick: ScheduleTick, holder: uuid.UUID, job_id: str, backend: str) -> bool:
        """The job of a tick in hand is stored in a backend."""
        now = self.kept(self.now())
        begun = {"state": TickState.DISPATCHED, "started_at": now, "reason": "", "job_id": job_id}
        return bool(self.in_hand(tick, holder).update(**begun, backend=backend, holder=None, look_at=now))

    def close(self, rows: QuerySet[ScheduleTick], ending: Ending, *, now: datetime) -> int:
        """Close ticks and free their guards; answers how many were still as `rows` has them.

        Each was over when its job was, `now` where that has left no record.
        """
        moments = [
            Subquery(model._default_manager.filter(pk=OuterRef("job_id")).values("finished_at"))
            for model in (CompletedJob, FailedJob)
        ]
        fields: dict[str, Any] = {"finished_at": Coalesce(*moments, Value(self.kept(now), DateTimeField()))}
        if ending.error:
            fields["notes"] = Concat("notes", Value(f"{ending.error}\n"), output_field=TextField())
        reason = ending.reason[:200]
        return rows.update(state=ending.state, reason=reason, holder=None, look_at=None, guard=None, **fields)

    # -- the jobs of ticks --------------------------------------------------------------------------------------

    def finished_here(self, now: datetime, aliases: Collection[str]) -> list[ScheduleTick]:
        """Dispatched ticks whose jobs were kept in this database by these backends, and are live no more."""
        live = Job.objects.using(self.database).filter(pk=OuterRef("job_id"))
        rows = self.open_ticks(TickState.DISPATCHED, now).filter(backend__in=list(aliases))
        return list(rows.filter(~Exists(live))[:ROWS])

    def dispatched_elsewhere(self, now: datetime, aliases: Collection[str]) -> list[ScheduleTick]:
        """Dispatched ticks whose jobs other backends keep, which are to be asked now."""
        return list(self.open_ticks(TickState.DISPATCHED, now).exclude(backend__in=list(aliases))[:ROWS])

    def lock_as_seen(self, some: Sequence[ScheduleTick]) -> list[ScheduleTick]:
        """Those of these ticks that are still as they were seen, and now ours until the end of the transaction."""
        chosen = self.ticks.filter(pk__in=[t.pk for t in some], look_at__isnull=False).order_by("pk")
        seen = {t.pk: (t.state, t.holder, t.look_at) for t in some}
        return [t for t in self._locking(chosen) if seen[t.pk] == (t.state, t.holder, t.look_at)]

    def endings(self, job_ids: Collection[Any]) -> dict[Any, Ending]:
        """How jobs ended, as this database has it; one that left no record completed, for failures stay."""
        found: dict[Any, Ending] = {}
        failed = FailedJob.objects.using(self.database).filter(pk__in=list(job_ids))
        for pk, reason, kind, message in failed.values_list("pk", "reason", "error_class", "error_message"):
            found[pk] = Ending(TickState.FAILED, reason, clip(f"{kind}: {message}".strip(": "), ERROR_BYTES))
        done = CompletedJob.objects.using(self.database).filter(pk__in=list(job_ids))
        for pk, state in done.values_list("pk", "state"):
            succeeded = state == "completed"
            found[pk] = Ending(TickState.SUCCEEDED) if succeeded else Ending(TickState.FAILED, state)
        rest = [pk for pk in job_ids if pk not in found]
        live = set(Job.objects.using(self.database).filter(pk__in=rest).values_list("pk", flat=True))
        return found | {pk: NO_RECORD for pk in rest if pk not in live}

    def job_of(self, tick: ScheduleTick) -> JobRecord | None:
        """The job of a tick, as its backend has it. None: there is no record of it, or nobody could say."""
        if tick.job_id is None:
            return None
        try:
            backend = get_backend(tick.backend) if tick.backend else self.store  # what ran inline is recorded here
        except ImproperlyConfigured:
            return None
        return backend.get(str(tick.job_id))

    # -- history ----------------------------------------------------------------------------------------------

    def last_ticks(self) -> dict[str, ScheduleTick]:
        """The last tick of every entry, by name, in one query."""
        last = self.ticks.filter(name=OuterRef("name")).order_by("-instant").values("pk")[:1]
        chosen = self.entries.annotate(last=Subquery(last)).filter(last__isnull=False).values("last")
        return {tick.name: tick for tick in self.ticks.filter(pk__in=chosen)}

    def history(self, name: str, *, states: Collection[str] = (), limit: int) -> list[ScheduleTick]:
        """The latest ticks of an entry, the latest first."""
        rows = self.ticks.filter(name=name)
        return list((rows.filter(state__in=list(states)) if states else rows).order_by("-instant")[:limit])


def ledger_of(backend: Backend, fallback: str) -> Ledger:
    """The ledger beside a backend: in its database, else in that with the alias `fallback`."""
    store = store_of(backend)
    return Ledger(store or DatabaseBackend("schedule", {"DATABASE": fallback}))


def mark_of(timing: Timing) -> str:
    """A short text that differs when a timing does."""
    crons = [f"{cron}/{cron.has_seconds:d}{cron.day_or:d}" for cron in timing.crons]
    windows = [f"{window.start}-{window.end}/{window.inside:d}" for window in timing.windows]
    text = "\n".join([timing.zone_name, timing.at.isoformat() if timing.at else "", *crons, "", *windows])
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=15).hexdigest()


@lru_cache(maxsize=2000)  # thousands of entries may have the same timing
def next_look(timing: Timing, now: datetime) -> datetime:
    """When an entry is to be looked at again: at its next tick, at the latest in a day."""
    latest = now + LONGEST_LOOK
    tick = next(ticks(timing, after=now, until=latest), None)
    return latest if tick is None else tick.at


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of so many."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def guard_of(key: str) -> str:
    """The column's form of a guard's key."""
    return hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=30).hexdigest()
