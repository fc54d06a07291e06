"""What the worker prints: a line per job, JSON lines, or nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import TextIO

from ..redaction import clip
from ..settlement import Settlement


class Console:
    """Prints outcomes and what the worker does. `show` is lines, json or quiet."""

    def __init__(self, show: str = "lines", stream: TextIO | None = None) -> None:
        self.show = show
        self.stream = stream or sys.stdout

    def say(self, text: str) -> None:
        """A line about the worker itself."""
        if self.show == "lines":
            self._write(f"[Worker] {text}\n")
        elif self.show == "json":
            self._write(json.dumps({"worker": text}) + "\n")

    def empty(self, queues: Iterable[str]) -> None:
        """A cycle of a bounded run found nothing."""
        for queue in queues:
            if self.show == "lines":
                self._write(f"[empty] {queue}\n")
            elif self.show == "json":
                self._write(json.dumps({"outcome": "empty", "queue": queue}) + "\n")

    def settled(self, settlements: Iterable[Settlement]) -> None:
        """A line for each job that was settled."""
        if self.show == "quiet":
            return
        render = _line if self.show == "lines" else _json
        self._write("".join(render(s) for s in settlements))

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):  # whoever read it is gone; the work goes on
            self.show = "quiet"


def _line(s: Settlement) -> str:
    claim, transition = s.claim, s.transition
    attempt = 0 if transition.reason in ("rejected", "corrupt") else claim.attempt
    ran = f"{_one_line(claim.handler)} {claim.id} {s.seconds * 1000:.1f} ms"
    text = f"[{transition.word}] {claim.queue} (attempt {attempt}) {ran}"
    if s.error is not None and transition.word != "cancelled":
        first = (s.error.message or s.error.class_path).splitlines() or [""]
        text += f" - {transition.reason + ': ' if transition.reason else ''}{first[0][:200]}"
    return text + "\n"


def _one_line(text: str) -> str:
    """A stored text as a terminal may have it: a row that somebody forged may hold anything."""
    if text.isprintable():
        return text
    return clip(text, 200).replace("\n", "�").replace("\t", " ")


def _json(s: Settlement) -> str:
    claim = s.claim
    fields: dict[str, object] = {
        "outcome": s.transition.word,
        "queue": claim.queue,
        "handler": claim.handler,
        "id": claim.id,
    }
    fields |= {"attempt": claim.attempt, "seconds": round(s.seconds, 6)}
    if s.error is not None:
        fields |= {"reason": s.transition.reason, "error": s.error.class_path, "message": s.error.message[:1000]}
    return json.dumps(fields) + "\n"
