"""With 5,000 entries and 20,000 ticks, a scheduler's queries run by their indexes, on each database."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connections

from django_jobs.backends.database import DatabaseBackend
from django_jobs.ids import new_ids
from django_jobs.maintenance.cleanup import closed_ticks
from django_jobs.models import ScheduleEntry, ScheduleTick, TickState
from django_jobs.scheduler.ledger import Ledger
from django_jobs.store import ago
from tests.support.plans import accesses, recorded

ENTRIES, TICKS = ScheduleEntry._meta.db_table, ScheduleTick._meta.db_table
NOW = datetime.now(UTC)


def fill(store: DatabaseBackend) -> None:
    """Entries of which 20 are due; of 100 entries, 200 closed ticks each, and 30 open ones."""
    entries = [
        ScheduleEntry(name=f"e{n}", timing_mark="x", seen_at=NOW, look_at=NOW + timedelta(minutes=n - 20))
        for n in range(5_000)
    ]
    ScheduleEntry.objects.using(store.database).bulk_create(entries, batch_size=500)
    ids = iter(new_ids(20_030))
    ticks = [
        ScheduleTick(
            id=uuid.UUID(next(ids)),
            name=f"e{n % 100}",
            instant=NOW - timedelta(minutes=n // 100),
            state=TickState.SUCCEEDED,
            decided_at=NOW,
        )
        for n in range(20_000)
    ]
    ticks += [
        ScheduleTick(
            id=uuid.UUID(next(ids)),
            name="open",
            instant=NOW - timedelta(minutes=n),
            state=TickState.DISPATCHED,
            decided_at=NOW,
            look_at=NOW - timedelta(minutes=1),
            backend="default",
            job_id=uuid.uuid4(),
            guard=f"g{n}",
        )
        for n in range(30)
    ]
    ScheduleTick.objects.using(store.database).bulk_create(ticks, batch_size=500)


def test_every_query_of_a_turn_uses_an_index(store: DatabaseBackend) -> None:
    fill(store)
    ledger, connection = Ledger(store), connections[store.database]
    with connection.cursor() as cursor:
        for table in (ENTRIES, TICKS):
            cursor.execute(f"ANALYZE TABLE {table}" if connection.vendor == "mysql" else "ANALYZE")
    index_of_entries = {name for name in _indexes(store, ENTRIES) if "look_at" in name}
    by_name = {"primary"} | {name for name in _indexes(store, ENTRIES) if name.endswith("_like")}
    once, opened = {"django_jobs_tick_once", f"sqlite_autoindex_{TICKS}_2"}, {"django_jobs_tick_open"}
    asked: list[tuple[str, Any, str, set[str]]] = [
        ("what is due", lambda: ledger.rows(due_at=NOW), ENTRIES, index_of_entries),
        ("what is due next", lambda: ledger.next_look(NOW), ENTRIES, index_of_entries),
        ("the entries of a plan", lambda: ledger.rows(["e1", "e2", "e3"]), ENTRIES, by_name),
        ("jobs that have ended", lambda: ledger.finished_here(NOW, ["default"]), TICKS, opened),
        ("runs that were lost", lambda: list(ledger.open_ticks(TickState.RUNNING, NOW)[:500]), TICKS, opened),
        ("whether anything is open", ledger.has_open, TICKS, opened),
        ("which guards are held", lambda: ledger.guards_held({"g1", "g2"}), TICKS, {"django_jobs_tick_guard"}),
        ("what a tick requires", lambda: ledger.standings(["e1"], NOW), TICKS, once),
        ("ticks that are there already", lambda: ledger.known("e1", [NOW]), TICKS, once),
        ("the history", lambda: ledger.history("e1", limit=5), TICKS, once),
        (
            "what is to be deleted",
            lambda: list(
                closed_ticks(store).filter(instant__lt=ago(store, 150 * 60)).order_by("instant").values_list("pk")[:9]
            ),
            TICKS,
            {"django_jobs_tick_age", *once},
        ),
    ]
    for what, act, table, expected in asked:
        with recorded(store.database) as sent:
            act()
        found = [a for statement in sent for a in accesses(store.database, statement, table)]
        assert found or (what, connection.vendor) == ("what is due next", "mysql"), what  # the index alone answers it
        assert {a.index for a in found} <= expected, f"{what}: {found}"


def _indexes(store: DatabaseBackend, table: str) -> list[str]:
    connection = connections[store.database]
    with connection.cursor() as cursor:
        return list(connection.introspection.get_constraints(cursor, table))
