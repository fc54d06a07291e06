"""How PostgreSQL moves completed jobs: one statement for a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...settlement import Settlement
from ..base import Settled
from .arrays import array, plain_array
from .statements import DEFAULT_KEEP_SECONDS

if TYPE_CHECKING:
    from .statements import Statements

_SETTLED = {"running": Settled.WRITTEN, "cancel_requested": Settled.CANCELLED}


class Completion:
    """The statement for a batch, in which each job is once. A cancel that was asked for makes a job cancelled.

    A job that is completed already makes it raise `IntegrityError`, or do what `or_else` says: to be ready for it costs
    PostgreSQL a tenth more.
    """

    def __init__(self, statements: Statements, settlements: Sequence[Settlement], or_else: str = "") -> None:
        self._settlements = settlements
        batch = sorted(settlements, key=_id_of)  # locked in the order of their keys
        each = {
            "id uuid": plain_array(s.claim.id for s in batch),
            "claim_no int": plain_array(str(s.claim.claim_no) for s in batch),
            "seconds float8": plain_array(f"{s.seconds:.6f}" for s in batch),
        }
        alike: dict[str, str | None] = {}  # what they all share is sent once
        columns: dict[str, list[Any]] = {
            "worker_id uuid": [s.claim.worker_id for s in batch],
            "result text": [s.result for s in batch],
            "keep float8": [s.keep_seconds for s in batch],
        }
        for column, values in columns.items():
            first = values[0]
            if values.count(first) == len(values):
                alike[column] = None if first is None else str(first)
            else:
                each[column] = array(values)
        self.params = [*alike.values(), *each.values(), str(len(batch))]
        self.sql = _sql(statements, [c.split() for c in each], [c.split() for c in alike], or_else)

    def answers(self, row: Sequence[Any]) -> list[Settled]:
        """What became of each, from the row that the statement answers."""
        every, states = row
        if every:
            return [Settled.WRITTEN] * len(self._settlements)
        found = {} if states is None else {job_id: _SETTLED[state] for job_id, state in states.items()}
        return [found.get(s.claim.id, Settled.LOST) for s in self._settlements]


def _sql(statements: Statements, each: Sequence[list[str]], alike: Sequence[list[str]], or_else: str) -> str:
    arrays = ", ".join(f"%s::{kind}[]" for _, kind in each)
    names = ", ".join(name for name, _ in each)
    shared = "".join(f", %s::{kind} AS {name}" for name, kind in alike)
    # State and worker are asked for in a form of which the planner knows nothing. From statistics that were taken while
    # all jobs waited it would conclude that none is held, and look through the whole batch for each that is.
    return f"""
        WITH gone AS (
            DELETE FROM {statements.job} j
            USING (SELECT each.*{shared} FROM unnest({arrays}) AS each({names})) AS t
            WHERE j.id = t.id AND j.claim_no = t.claim_no
              AND CASE WHEN j.state IN ('running', 'cancel_requested') THEN j.worker_id = t.worker_id ELSE FALSE END
            RETURNING {statements.shared_of_job}, j.state, t.result, t.seconds, t.keep
        ), kept AS (
            INSERT INTO {statements.completed}
                   ({statements.shared}, state, result, run_seconds, finished_at, keep_until)
            SELECT {statements.shared},
                   CASE WHEN state = 'running' THEN 'completed' ELSE 'cancelled' END,
                   CASE WHEN state = 'running' THEN result ELSE '' END,
                   seconds, {statements.now},
                   {statements.later(f"CASE WHEN state = 'running' THEN keep ELSE {DEFAULT_KEEP_SECONDS} END")}
            FROM gone WHERE keep IS DISTINCT FROM 0 OR state <> 'running' {or_else}
        ), wrote AS (SELECT count(*) = %s AND bool_and(state = 'running') AS every FROM gone)
        SELECT every, CASE WHEN NOT every THEN (SELECT json_object_agg(id, state) FROM gone) END FROM wrote"""


def _id_of(settlement: Settlement) -> str:
    return settlement.claim.id
