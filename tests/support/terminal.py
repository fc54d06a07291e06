"""A real terminal, in tmux: what a person would see."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .waiting import wait_until

HAS_TMUX = shutil.which("tmux") is not None


class Terminal:
    """A terminal of this size with a shell, in a tmux server of its own."""

    def __init__(self, folder: Path, width: int, height: int, env: Mapping[str, str]) -> None:
        self.socket = folder / f"tmux-{uuid.uuid4().hex[:8]}"
        size = ["-x", str(width), "-y", str(height)]
        # PS1 alone: the prompt of a shell without start-up files, on any machine
        self.tmux("-f", "/dev/null", "new-session", "-d", *size, "env PS1='$ ' sh", env={**env, "ENV": ""})
        wait_until(lambda: self.text.startswith("$"), "a prompt")

    def tmux(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        """What a command of tmux prints."""
        command = ["tmux", "-u", "-S", str(self.socket), *arguments]
        environ = {**(os.environ if env is None else env), "LC_ALL": "C.UTF-8"}
        return subprocess.run(command, env=environ, check=True, capture_output=True, text=True, timeout=30).stdout

    def type(self, *keys: str) -> None:
        """Press keys, by tmux's names for them."""
        self.tmux("send-keys", *keys)

    def run(self, command: Sequence[str]) -> None:
        """Type a command; a last "&" has it in the background."""
        front = command[:-1] if command[-1] == "&" else command
        self.tmux("send-keys", "-l", shlex.join(front) + " &" * (front is not command))
        self.type("Enter")

    def resize(self, width: int, height: int) -> None:
        """Make it as large as this."""
        self.tmux("resize-window", "-x", str(width), "-y", str(height))

    @property
    def text(self) -> str:
        """What is on the screen."""
        return self.tmux("capture-pane", "-p")

    def shows(self, *words: str, seconds: float = 30.0) -> str:
        """Wait until all of these are on the screen; answers what is on it then."""

        def look() -> str:
            text = self.text
            return text if all(word in text for word in words) else ""

        try:
            return wait_until(look, f"{words} on the screen", seconds, every=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text}") from None

    def state(self) -> tuple[str, str, str]:
        """Whether it has the alternate screen, whether it has a cursor, and whether it echoes."""
        alternate, cursor, tty = self.tmux("display", "-p", "#{alternate_on} #{cursor_flag} #{pane_tty}").split()
        flags = subprocess.run(["stty", "-a", "-F", tty], check=True, capture_output=True, text=True).stdout.split()
        return alternate, cursor, "-echo" if "-echo" in flags else "echo"


@contextmanager
def terminal(folder: Path, width: int, height: int, env: Mapping[str, str]) -> Iterator[Terminal]:
    """A terminal, ended with the block."""
    made = Terminal(folder, width, height, env)
    try:
        yield made
    finally:
        made.tmux("kill-server")
