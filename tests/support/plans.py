"""What is sent to a database, and how it means to run it: by which index it gets at the rows of a table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import connections, transaction


class Access(NamedTuple):
    """One way into a table. `index` is empty for a scan of the table; `bounded` says that a condition limits what is
    read of it.
    """

    index: str
    bounded: bool


class Sent(NamedTuple):
    """A statement that was sent, with the parameters of its first row; `times` is how many rows it was sent for."""

    sql: str
    params: Any
    times: int = 1


@contextmanager
def recorded(database: str) -> Iterator[list[Sent]]:
    """What the block sends to the database, savepoints and the like left out."""
    sent: list[Sent] = []

    def record(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", sql):
            sent.append(Sent(sql, params[0], len(params)) if many else Sent(sql, params))
        return execute(sql, params, many, context)

    with connections[database].execute_wrapper(record):
        yield sent


def accesses(database: str, statement: Sent, table: str) -> list[Access]:
    """How the statement would get at the rows of `table`, primary keys under the name of `primary`."""
    vendor = connections[database].vendor
    found = {"postgresql": _postgresql, "mysql": _mysql, "sqlite": _sqlite}[vendor](database, statement, table)
    keys = ("PRIMARY", f"{table}_pkey", f"sqlite_autoindex_{table}_1")
    return [access._replace(index="primary") if access.index in keys else access for access in found]


def _explain(database: str, how: str, statement: Sent) -> list[tuple[Any, ...]]:
    with connections[database].cursor() as cursor:
        cursor.execute(f"{how} {statement.sql}", statement.params)
        return list(cursor.fetchall())


def _postgresql(database: str, statement: Sent, table: str) -> list[Access]:
    ((answer,),) = _explain(database, "EXPLAIN (FORMAT JSON)", statement)
    (plan,) = json.loads(answer) if isinstance(answer, str) else answer
    return list(_nodes(plan["Plan"], table))


def rows_handled(database: str, statement: Sent) -> int:
    """How many rows the parts of the plan have passed on or left out as PostgreSQL ran it. It is undone."""
    with transaction.atomic(using=database):
        ((answer,),) = _explain(database, "EXPLAIN (ANALYZE, FORMAT JSON)", statement)
        transaction.set_rollback(True, using=database)
    (plan,) = json.loads(answer) if isinstance(answer, str) else answer
    return _rows(plan["Plan"])


def _rows(node: dict[str, Any]) -> int:
    rows = sum(count for name, count in node.items() if name == "Actual Rows" or name.startswith("Rows Removed"))
    return int(rows * node["Actual Loops"]) + sum(map(_rows, node.get("Plans", [])))


def _nodes(node: dict[str, Any], table: str) -> Iterator[Access]:
    children = node.get("Plans", [])
    if node.get("Relation Name") == table and node["Node Type"] != "ModifyTable":
        # The index of a bitmap scan is named by the node below it.
        named = children[0] if node["Node Type"] == "Bitmap Heap Scan" else node
        yield Access(named.get("Index Name", ""), "Index Cond" in named)
    for child in children:
        yield from _nodes(child, table)


def _mysql(database: str, statement: Sent, table: str) -> list[Access]:
    names = {table, *re.findall(rf"`{table}` `?(\w\d?)\b", statement.sql)}
    found = []
    for row in _explain(database, "EXPLAIN", statement):
        name, how, index = row[2], row[-7] if len(row) == 10 else row[4], row[5] if len(row) == 10 else row[6]
        if name in names:
            found.append(Access(index or "", how not in ("ALL", "index")))
    return found


def _sqlite(database: str, statement: Sent, table: str) -> list[Access]:
    names = {table, *re.findall(rf'"{table}" "?(\w\d?)\b', statement.sql)}
    found = []
    for *_, text in _explain(database, "EXPLAIN QUERY PLAN", statement):
        match = re.match(r"(SEARCH|SCAN) (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", text)
        if match and match[2] in names:
            found.append(Access(match[3] or "", match[1] == "SEARCH"))
    return found
