"""The transaction of an atomic job: what its handler writes is committed with its completion, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from django.db import DatabaseError, connections
from django.db import transaction as transactions
from django.db.backends.base.base import BaseDatabaseWrapper

from ..conf import conf
from ..exceptions import NonRetryableJobError, RetryableJobError
from ..logs import get_logger
from ..retry import OutcomeKind
from ..runtime import Claim, Complete, Outcome, RolledBack, record_error
from ..settlement import Settlement, conclude
from .base import Settled

logger = get_logger("backends")


@contextmanager
def completing(
    claim: Claim,
    *,
    database: str,
    transaction: AbstractContextManager[Any],
    settle: Callable[[Settlement], Settled],
    is_outage: Callable[[BaseException], bool],
) -> Iterator[Complete]:
    """Opens `transaction` for a handler, and answers what writes its completion with `settle` at the end of it.

    Raises `RolledBack` where the claim is lost, where a cancel was asked for, and where the store failed when the
    handler was done: that is no fault of the handler's, so it counts as a crash. What a callback of `on_commit` raises
    comes after the commit, and is logged.
    """
    connection = connections[database]
    within = connection.in_atomic_block  # of a caller, whose commit is not ours
    committed: list[bool] = []
    mark: str | None = None
    within_it: list[str | None] = []
    done = False

    def complete(outcome: Outcome) -> Outcome:
        nonlocal done
        if mark and connection.savepoint_ids == within_it:  # else the handler has left one open, and commits nothing
            _release(connection, mark)
        done = True
        answer = settle(conclude(claim, outcome))
        if answer is Settled.WRITTEN:
            return outcome._replace(stored=True)
        raise RolledBack(Outcome(OutcomeKind.CANCELLED if answer is Settled.CANCELLED else OutcomeKind.INTERRUPTED))

    try:
        with transaction:
            if not within:
                transactions.on_commit(lambda: committed.append(True), using=database)
            if connection.vendor == "mysql":
                mark, within_it = connection.savepoint(), [*connection.savepoint_ids]
            yield complete
    except RolledBack:
        raise
    except BaseException as error:
        if committed:
            logger.exception("job %s is done; what follows its commit failed", claim.id)
        elif done and is_outage(error):
            raise RolledBack(Outcome(OutcomeKind.CRASHED, error=record_error(error))) from error
        else:
            raise
    if not (within or committed):
        raise NonRetryableJobError("the handler left a transaction open, so that nothing was committed")


def _release(connection: BaseDatabaseWrapper, mark: str) -> None:
    """Let go of the savepoint at the beginning of a transaction. Raises `RetryableJobError` where it is there no more.

    At a deadlock MySQL and MariaDB undo a whole transaction, and at a change of a table they commit it. A handler that
    takes no notice writes on in another one, of which nobody has told Django.
    """
    try:
        connection.savepoint_commit(mark)
    except DatabaseError as error:
        if mark not in str(error):
            raise
        raise RetryableJobError(
            "the database has ended the handler's transaction before its end: at a deadlock, whose error must not be "
            "ignored, or at a statement that commits by itself, as one that changes a table does"
        ) from error


class Unrecorded:
    """The store of an atomic attempt whose job is in none: it has its transaction, and nothing is recorded in it."""

    longest_transaction: float | None = None

    @contextmanager
    def completing(self, claim: Claim) -> Iterator[Complete]:
        database = conf.database_alias
        with completing(
            claim,
            database=database,
            transaction=transactions.atomic(using=database),
            settle=lambda settlement: Settled.WRITTEN,
            is_outage=lambda error: False,
        ) as complete:
            yield lambda outcome: complete(outcome)._replace(stored=False)
