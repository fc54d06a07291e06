"""What runs in the view's process: takes news in, and draws them, until the last worker has ended."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from dataclasses import dataclass, field

from rich.console import Console as RichConsole
from rich.live import Live

from ..channel import Port
from ..interrupts import ignore_stop_signals
from .board import Board
from .drawing import draw
from .figures import ASCII, UNICODE, plain
from .news import unpacked
from .process import END
from .terminal import Terminal

DRAW_SECONDS = 0.2
TICK_SECONDS = 1.0
LOOK_SECONDS = 0.25
OUTPUT_BYTES = 16_384
LAST_LINES = 20


def watch(port: Port, terminal: Terminal, output: int, owner: int, *, coloured: bool) -> None:
    """Draw until there is no more news, the worker is gone, or the terminal is."""
    with contextlib.suppress(BrokenPipeError), open(terminal.fileno(), "w", closefd=False, errors="replace") as file:
        console = RichConsole(file=file, force_terminal=True, no_color=not coloured, highlight=False)
        _Screen(port, terminal, output, owner, console).run()


@dataclass(slots=True)
class _Screen:
    port: Port
    terminal: Terminal
    output: int
    owner: int
    console: RichConsole
    board: Board = field(default_factory=Board)
    signals: set[int] = field(default_factory=set)
    drawn_at: float = 0.0
    hidden: bool = False

    def run(self) -> None:
        woken = self.take_signals()
        self.terminal.hush()
        live = Live(console=self.console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        try:
            with live:
                self.draw(live)
                while self.news(woken):
                    self.suspend(live)
                    self.draw(live)
        except OSError:
            return  # the terminal is gone
        finally:
            self.terminal.restore(screen=False)
        self.sum_up()

    def take_signals(self) -> socket.socket:
        """Those that end a worker are the worker's; a change of size, and a stop from the keyboard, are ours."""
        ignore_stop_signals()
        signal.signal(signal.SIGQUIT, signal.SIG_IGN)  # Ctrl-\ ends the worker at once: then we clear up
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        for number in (signal.SIGWINCH, signal.SIGTSTP):
            signal.signal(number, lambda number, frame: self.signals.add(number))
        signal.set_wakeup_fd(far.detach(), warn_on_full_buffer=False)
        return near

    def news(self, woken: socket.socket) -> bool:
        """Wait for news, and take in what there is. False: there will be none."""
        ready, _, _ = select.select([self.port.fileno(), woken.fileno()], [], [], LOOK_SECONDS)
        if woken.fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                woken.recv(4096)
        if self.port.fileno() in ready:
            with contextlib.suppress(BlockingIOError, ConnectionResetError):
                if not self.port.end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                    return False
            while (message := self.port.try_receive()) is not None:
                if message == END:
                    return False
                with contextlib.suppress(TypeError, ValueError):  # a job wrote into the worker's socket
                    self.board.take(unpacked(message))
        return os.getppid() == self.owner

    def draw(self, live: Live) -> None:
        """Draw what there is; seldom enough to be calm, and at once where the size has changed."""
        now = time.monotonic()
        busy = self.board.changed
        if self.hidden:
            return
        if signal.SIGWINCH not in self.signals and now - self.drawn_at < (DRAW_SECONDS if busy else TICK_SECONDS):
            return
        self.signals.discard(signal.SIGWINCH)
        self.drawn_at = now
        self.board.output = self.last_lines()
        width, height = self.console.size
        glyphs = UNICODE if self.console.encoding.startswith("utf") else ASCII
        live.update(draw(self.board.picture(now), width, height, glyphs), refresh=True)

    def suspend(self, live: Live) -> None:
        """Ctrl-Z: leave the terminal to the shell, and draw again when we are back in front."""
        if signal.SIGTSTP in self.signals:
            self.signals.discard(signal.SIGTSTP)
            self.hidden = True
            live.stop()
            self.terminal.restore(screen=False)
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.hidden and self.terminal.is_ours:
            self.hidden = False
            self.terminal.hush()
            live.start()
            self.drawn_at = 0.0

    def last_lines(self) -> list[str]:
        """The end of what the worker and its jobs have printed."""
        size = os.fstat(self.output).st_size
        data = os.pread(self.output, OUTPUT_BYTES, max(size - OUTPUT_BYTES, 0))
        return data.decode("utf-8", "replace").splitlines()[-LAST_LINES:]

    def sum_up(self) -> None:
        """What stays to be read when the drawing is gone: the worker's last words, and what was printed."""
        picture = self.board.picture(time.monotonic())
        total = sum(count.total for count in picture.counts)
        counts = ", ".join(f"{count.total:,} {count.word}" for count in picture.counts)
        said = [f"{total:,} settled" + (f": {counts}" if counts else ""), *dict.fromkeys(picture.said)]
        if os.getppid() != self.owner:
            said.append("the worker has died; its lease brings its jobs back.")
        lines = [plain(line) for line in self.last_lines()]
        lines += [f"[Worker] {plain(text)}" for text in said]
        for line in lines:
            self.console.file.write(line + "\n")
        self.console.file.flush()
