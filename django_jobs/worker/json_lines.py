"""`--show=json`: a JSON object for each event, to be read by machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from ..settlement import Settlement
from .console import Started, Written


class JsonLines(Written):
    """Prints a line for each event. Keys are added, and never renamed."""

    def __init__(self, stream: TextIO | None = None, *, patient: bool = False) -> None:
        super().__init__(stream, patient=patient)
        self.worker_id = ""

    def started(self, worker: Started) -> None:
        self.worker_id = worker.worker_id
        self._tell(
            "started",
            host=worker.host,
            pid=worker.pid,
            queues=list(worker.queues),
            children=worker.children,
            isolation=worker.isolation,
        )

    def say(self, text: str) -> None:
        self._tell("message", text=text)

    def stopping(self) -> None:
        self._tell("stopping")

    def empty(self, queues: Iterable[str]) -> None:
        for queue in queues:
            self._tell("empty", outcome="empty", queue=queue)

    def settled(self, settlements: Sequence[Settlement]) -> None:
        at = _now()
        self.write("".join(self._line("settled", at, {"worker": s.claim.worker_id, **_facts(s)}) for s in settlements))

    def stopped(self, settled: int) -> None:
        self._tell("stopped", settled=settled)
        self.finish()

    def _tell(self, event: str, **fields: Any) -> None:
        self.write(self._line(event, _now(), fields))

    def _line(self, event: str, at: str, fields: dict[str, Any]) -> str:
        return json.dumps({"event": event, "at": at, "worker": self.worker_id, **fields}) + "\n"


def _facts(s: Settlement) -> dict[str, Any]:
    claim, transition = s.claim, s.transition
    facts: dict[str, Any] = {
        "outcome": transition.word,
        "queue": claim.queue,
        "handler": claim.handler,
        "id": claim.id,
        "attempt": claim.attempt,
        "seconds": round(s.seconds, 6),
    }
    if transition.delay:
        facts["delay"] = round(transition.delay, 3)
    if s.error is not None:
        facts |= {"reason": transition.reason, "error": s.error.class_path, "message": s.error.message[:1000]}
    return facts


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
