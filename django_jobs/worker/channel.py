"""Message sockets between the coordinator and its children.

One socket pair is shared by all children: a message is one job or a few quick ones, and the kernel hands it to a child
that waits. The coordinator keeps the children's end open as well, so that it can take unread messages back.

`marshal` never meets stored data here: both ends are processes of one worker, of one interpreter.
"""

from __future__ import annotations

import contextlib
import errno
import marshal
import mmap
import socket
from collections.abc import Callable
from typing import Any

from ..logs import get_logger

MESSAGE_BYTES = 400_000
logger = get_logger("worker")
_TYPE = getattr(socket, "SOCK_SEQPACKET", socket.SOCK_DGRAM)  # macOS has no SEQPACKET; datagrams do


class TooBig(Exception):
    """The message is longer than a receiver's buffer, or than the socket takes."""


class Channel:
    """A socket pair that keeps the bounds of messages. `near` is the coordinator's end, `far` the children's."""

    def __init__(self) -> None:
        try:
            self.near, self.far = socket.socketpair(socket.AF_UNIX, _TYPE)
        except OSError:
            self.near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in (self.near, self.far):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, option, MESSAGE_BYTES)

    def close(self) -> None:
        """Close both ends."""
        self.near.close()
        self.far.close()


class Port:
    """Sends and receives messages on one end."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        # Private pages that take no memory until a message is that long; a bytearray takes it all at once.
        self._buffer = mmap.mmap(-1, MESSAGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._view = memoryview(self._buffer)

    def send(self, message: Any) -> None:
        """Send, and wait for room."""
        self.end.send(_packed(message))

    def try_send(self, message: Any) -> bool:
        """Send without waiting. False: there is no room just now."""
        try:
            self.end.send(_packed(message), socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno in (105, 55):  # ENOBUFS, as Linux and macOS number it
                return False
            if error.errno == errno.EMSGSIZE:
                raise TooBig from None
            raise
        return True

    def receive(self) -> Any:
        """The next message; waits for it. None: the other end is closed."""
        size = self.end.recv_into(self._view)
        return marshal.loads(self._view[:size]) if size else None  # noqa: S302 - see the module's docstring

    def try_receive(self, complain: Callable[..., object] = logger.error) -> Any:
        """The next message, if there is one now. None: there is none. `complain` is told of what is none of ours."""
        with contextlib.suppress(BlockingIOError, InterruptedError, ConnectionResetError):
            while size := self.end.recv_into(self._view, 0, socket.MSG_DONTWAIT):
                try:
                    return marshal.loads(self._view[:size])  # noqa: S302
                except (EOFError, ValueError, TypeError):
                    complain("a message of %d bytes is not ours: a job wrote into the worker's socket", size)
        return None

    def is_empty(self) -> bool:
        """Whether no message waits."""
        try:
            return not self.end.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        except OSError:
            return True

    def is_closed(self) -> bool:
        """Whether nothing comes any more, as the other end is closed."""
        try:
            return not self.end.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self.end.fileno()


def _packed(message: Any) -> bytes:
    data = marshal.dumps(message)
    if len(data) > MESSAGE_BYTES:
        raise TooBig
    return data
