"""`--show=lines`: a line for each job, to be read by people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TextIO

from django.utils.termcolors import colorize
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..redaction import one_line
from ..settlement import Settlement
from .console import WORDS, Started, Written

PLAIN, DETAILED, TRACED = 1, 2, 3
STOPPING = gettext_lazy("stop signal received, finishing current cycle...")
DRAINED = gettext_lazy("graceful shutdown complete.")


class Lines(Written):
    """Prints lines. `detail` 0: only of what went wrong; 1: of each job; 2: with its handler, id and time; 3: with the
    traceback.
    """

    def __init__(
        self, stream: TextIO | None = None, *, detail: int = PLAIN, coloured: bool = False, patient: bool = False
    ) -> None:
        super().__init__(stream, patient=patient)
        self.detail = detail
        self.coloured = coloured

    def started(self, worker: Started) -> None:
        for queue in worker.queues:
            self.say(_("processing queue '%(queue)s'") % {"queue": queue})
        if self.detail >= DETAILED:
            self.say(
                _("%(worker_id)s, pid %(pid)d on %(host)s, %(isolation)s, %(children)d at once") % worker._asdict()
            )

    def say(self, text: str) -> None:
        self.write(f"[Worker] {text}\n")

    def stopping(self) -> None:
        self.say(str(STOPPING))

    def empty(self, queues: Iterable[str]) -> None:
        self.write("".join(f"{self._word('empty')} {queue}\n" for queue in queues))

    def settled(self, settlements: Sequence[Settlement]) -> None:
        chosen = settlements if self.detail >= PLAIN else [s for s in settlements if s.error is not None]
        self.write("".join(map(self._line, chosen)))

    def drained(self) -> None:
        self.say(str(DRAINED))

    def stopped(self, settled: int) -> None:
        if self.detail >= DETAILED:
            self.say(ngettext("%(n)d job settled", "%(n)d jobs settled", settled) % {"n": settled})
        self.finish()

    def _line(self, s: Settlement) -> str:
        claim, transition = s.claim, s.transition
        attempt = 0 if transition.reason in ("rejected", "corrupt") else claim.attempt
        text = f"{self._word(transition.word)} {claim.queue} (attempt {attempt})"
        if self.detail >= DETAILED:
            text += f" {one_line(claim.handler)} {claim.id} {s.seconds * 1000:.1f} ms"
        if why := reason_of(s):
            text += f" - {why}"
        if self.detail >= TRACED and s.error is not None and s.error.traceback:
            text += "\n" + "\n".join(map(one_line, s.error.traceback.rstrip().splitlines()))
        return text + "\n"

    def _word(self, word: str) -> str:
        colour = WORDS.get(word, "") if self.coloured else ""
        return f"[{colorize(word, fg=colour)}]" if colour else f"[{word}]"


def reason_of(s: Settlement) -> str:
    """Why a job came to nothing, on one line; empty where there is nothing to say."""
    if s.error is None or s.transition.word == "cancelled":
        return ""
    if s.error.class_path.endswith("BadSignature"):
        return "invalid signature"
    first = (s.error.message or s.error.class_path).splitlines() or [""]
    return one_line((f"{s.transition.reason}: " if s.transition.reason else "") + first[0][:200])
