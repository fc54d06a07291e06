"""A network that fails: a proxy before a database server that cuts connections, swallows replies and falls silent."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Self

LOCALHOST = "127.0.0.1"


class Connection:
    """One client's connection through the proxy."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy = proxy
        self.client = client
        self.server = server
        self.said = b""
        self.silent = False
        self.loses_reply = False
        for source, target, look in ((client, server, self.asks), (server, client, self.answers)):
            threading.Thread(target=self.pump, args=(source, target, look), daemon=True).start()

    def pump(self, source: socket.socket, target: socket.socket, look: Callable[[bytes], bool]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if look(data):
                    target.sendall(data)
        self.cut()

    def asks(self, data: bytes) -> bool:
        """Whether what the client sends goes on to the server."""
        self.said = (self.said + data)[-10_000:]
        if self.proxy.silences is not None and self.proxy.silences in data:
            self.silent = True
            self.proxy.silenced += 1
        if self.proxy.takes_reply_of(data):
            self.loses_reply = True
        return not self.silent

    def answers(self, data: bytes) -> bool:
        """Whether what the server sends goes on to the client."""
        if self.loses_reply:
            self.proxy.swallowed += 1
            self.cut()
            return False
        return not self.silent

    def cut(self) -> None:
        """End it for both."""
        self.proxy.connections.discard(self)
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class FaultProxy:
    """Listens on `port`, and forwards to a server. As a context manager it starts and ends.

    `silences`: a connection on which the client sends these bytes falls silent: it stays open, and nothing comes
    through any more. `swallow`: of every `every`th statement with one of these words the reply is lost.
    """

    def __init__(self, target: int, host: str = LOCALHOST) -> None:
        self.target = (host, target)
        self.connections: set[Connection] = set()
        self.silences: bytes | None = None
        self.swallow: tuple[bytes, ...] = ()
        self.every = 5
        self.silenced = self.swallowed = self.cuts = self._matches = 0
        self._listener = socket.create_server((LOCALHOST, 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for connection in list(self.connections):
            connection.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(self.target)
                except OSError:
                    client.close()
                    continue
                self.connections.add(Connection(self, client, server))

    def cut_one(self, rng: random.Random) -> None:
        """Cut one connection, whichever."""
        if some := list(self.connections):
            rng.choice(some).cut()
            self.cuts += 1

    def that_said(self, word: bytes) -> list[Connection]:
        """The connections on which the client has sent `word` of late."""
        return [connection for connection in list(self.connections) if word in connection.said]

    def silence(self, connections: Iterable[Connection] | None = None) -> None:
        """These connections (all that there are) stay open, and nothing comes through any more."""
        for connection in list(self.connections if connections is None else connections):
            connection.silent = True

    def takes_reply_of(self, data: bytes) -> bool:
        """Whether the reply to this is to be lost."""
        if not any(word in data for word in self.swallow):
            return False
        self._matches += 1
        return self._matches % self.every == 0
