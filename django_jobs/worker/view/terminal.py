"""The terminal of a view: what it was before, and how it becomes that again, whoever has to see to it."""

from __future__ import annotations

import contextlib
import os
import signal
import termios
from dataclasses import dataclass, field
from typing import Any

_PLAIN_AGAIN = b"\x1b[?25h\x1b[0m\x1b[?1049l"


@dataclass(slots=True)
class Terminal:
    """The terminal behind a descriptor, which stays open under a number of its own."""

    fd: int
    _before: list[Any] | None = None
    _own: int = field(init=False)

    def __post_init__(self) -> None:
        self._own = os.dup(self.fd)
        os.set_inheritable(self._own, False)
        with contextlib.suppress(termios.error):
            self._before = termios.tcgetattr(self._own)

    def fileno(self) -> int:
        """A descriptor of it."""
        return self._own

    @property
    def is_ours(self) -> bool:
        """Whether we are in front: not in the background of a shell, to whom it belongs then."""
        try:
            return os.tcgetpgrp(self._own) == os.getpgrp()
        except OSError:  # it controls nobody
            return True

    def hush(self) -> None:
        """Show nothing of what is typed; Ctrl-C and its like are signals still."""
        if self._before is not None:
            quiet = [*self._before]
            quiet[3] &= ~(termios.ECHO | termios.ICANON)
            self._set(quiet)

    def close(self) -> None:
        """Close what was opened of it."""
        os.close(self._own)

    def restore(self, *, screen: bool) -> None:
        """Echo again; with `screen`, leave a drawing that nobody has cleared up."""
        if self._before is not None:
            self._set(self._before)
        if screen:
            with contextlib.suppress(OSError):  # opened anew: a terminal that is held up must hold up nobody
                again = os.open(os.ttyname(self._own), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
                with contextlib.suppress(OSError):
                    os.write(again, _PLAIN_AGAIN)
                os.close(again)

    def _set(self, attributes: list[Any]) -> None:
        """Also where the shell has the terminal already, as after the worker was killed: the kernel would stop us."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTTOU,))
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._own, termios.TCSANOW, attributes)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
