"""`Tail`: the end of a text of any length."""

from __future__ import annotations

import io


class Tail(io.TextIOBase):
    """Takes any amount of text and keeps the last `most` characters of it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept = ""
        self._cut = 0

    @property
    def text(self) -> str:
        """The end of what was written, with a mark of what was cut."""
        return f"… ({self._cut:,} characters cut)\n{self._kept}" if self._cut else self._kept

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        kept = self._kept + str(text)
        cut = max(len(kept) - self._most, 0)
        self._kept = kept[cut:]
        self._cut += cut
        return len(text)
