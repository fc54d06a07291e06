"""Atomic jobs whose process died between their commit and their report."""

from __future__ import annotations

from .. import registry
from ..backends import Backend
from ..exceptions import InvalidHandler, UnknownHandler
from ..retry import COMPLETE
from ..runtime import result_json
from ..settlement import Settlement


def completed_unreported(backend: Backend, lost: Settlement) -> Settlement | None:
    """The completion that this claim's own transaction has written, where what its worker made of it came too late.

    So a job whose process was killed with the last of its work done is told of as what it is, and has its hooks. None:
    there is no such record, or none was kept.
    """
    claim = lost.claim
    try:
        if not getattr(registry.get(claim.handler), "atomic", False):
            return None
    except (UnknownHandler, InvalidHandler):
        return None
    record = backend.get(claim.id)
    if record is None or (record.state, record.worker_id, record.claim_no) != (
        *("completed", claim.worker_id, claim.claim_no),
    ):
        return None
    result = "" if record.result is None else result_json(record.result)
    return Settlement(claim, COMPLETE, result, None, claim.history, lost.seconds, stored=True)
