"""How fast jobs are enqueued, each in a transaction of its own, and many at a time.

The bare minimum writes the same rows, ready made, with nothing but the database's driver: one INSERT and commit a row,
and in bulk COPY (PostgreSQL) or `executemany` in one transaction. Ours checks each job, makes its id, signs its
envelope, inserts it and tells the workers.
"""

from __future__ import annotations

import io
import uuid
from typing import Any

from django_jobs.ids import new_id

from .harness import Contenders, Figures
from .jobs import BULK, empty, rate
from .site import Site

ROUNDS = 15


def contenders(site: Site, *, quick: bool) -> Contenders:
    """The driver, and `Jobs`."""
    few, many = (100, 1_000) if quick else (1_000, 10_000)
    return {
        "the driver alone": lambda: _bare(few, many),
        "Jobs.push, Jobs.push_many": lambda: _ours(few, many),
    }


def _ours(few: int, many: int) -> Figures:
    from django_jobs import Jobs

    def one_by_one() -> None:
        for n in range(few):
            Jobs.push("trial.noop", {"user_id": n})

    def in_bulk() -> None:
        for start in range(0, many, BULK):
            Jobs.push_many("trial.noop", [{"user_id": start + n} for n in range(BULK)])

    empty()
    found = {"one by one, jobs/s": rate(few, one_by_one)}
    empty()
    return {**found, f"{BULK:,} a call, jobs/s": rate(many, in_bulk)}


def _bare(few: int, many: int) -> Figures:
    from django.db import connection

    columns, rows = _ready_rows(max(few, many))
    empty()
    driver: Any = connection.connection
    marks = ", ".join(["?" if connection.vendor == "sqlite" else "%s"] * len(columns))
    names = ", ".join(connection.ops.quote_name(column) for column in columns)
    insert = f"INSERT INTO django_jobs_job ({names}) VALUES ({marks})"
    cursor = driver.cursor()

    def one_by_one() -> None:
        for row in rows[:few]:
            cursor.execute(insert, row)

    def in_bulk() -> None:
        for start in range(0, many, BULK):
            some = rows[start : start + BULK]
            if connection.vendor == "postgresql":
                with cursor.copy(f"COPY django_jobs_job ({names}) FROM STDIN") as copy:
                    copy.write(_as_text(some))
                continue
            cursor.execute("BEGIN")
            cursor.executemany(insert, some)
            cursor.execute("COMMIT")

    found = {"one by one, jobs/s": rate(few, one_by_one)}
    empty()
    return {**found, f"{BULK:,} a call, jobs/s": rate(many, in_bulk)}


def _ready_rows(count: int) -> tuple[list[str], list[list[Any]]]:
    """So many rows, as the driver takes them: copies of a job of ours, each with an id of its own."""
    from django.db import connection

    from django_jobs import Jobs

    empty()
    Jobs.push("trial.noop", {"user_id": 1})
    cursor = connection.connection.cursor()
    cursor.execute("SELECT * FROM django_jobs_job")
    columns = [column[0] for column in cursor.description]
    (row,) = cursor.fetchall()
    at, native = columns.index("id"), isinstance(row[columns.index("id")], uuid.UUID)
    ids = [new_id() if native or "-" in str(row[at]) else new_id().replace("-", "") for _ in range(count)]
    return columns, [[*row[:at], job_id, *row[at + 1 :]] for job_id in ids]


def _as_text(rows: list[list[Any]]) -> str:
    """Rows in COPY's text form."""
    text = io.StringIO()
    for row in rows:
        text.write("\t".join("\\N" if value is None else str(value).replace("\\", "\\\\") for value in row) + "\n")
    return text.getvalue()
