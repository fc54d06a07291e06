"""Locks in a folder."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


class FileLocks:
    """Locks between the processes of one host: a small file for each, in a folder that only they may write to.

    Their time is that of the host's clock. The files stay.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def take(self, name: str, token: str, ttl: float) -> bool:
        with self._file(name) as file:
            if _token(file):
                return False
            _write(file, {"name": name, "token": token, "until": time.time() + ttl})
            return True

    def renew(self, name: str, token: str, ttl: float) -> bool:
        with self._file(name) as file:
            if _token(file) != token:
                return False
            _write(file, {"name": name, "token": token, "until": time.time() + ttl})
            return True

    def release(self, name: str, token: str) -> bool:
        with self._file(name) as file:
            if _token(file) != token:
                return False
            _write(file, None)
            return True

    def holds(self, name: str, token: str) -> bool:
        with self._file(name) as file:
            return _token(file) == token

    @contextmanager
    def _file(self, name: str) -> Iterator[IO[str]]:
        """The file of a lock, for as long as it takes to look at it and write it."""
        digest = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
        fd = os.open(self.folder / f"{digest}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o660)
        with open(fd, "r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file


def _token(file: IO[str]) -> str:
    """Whose the lock is; blank where it is nobody's. What is half written, by somebody who was killed, is nothing."""
    try:
        found = json.loads(file.read())
        return str(found["token"]) if found["until"] > time.time() else ""
    except (ValueError, TypeError, KeyError):
        return ""


def _write(file: IO[str], value: Any) -> None:
    file.seek(0)
    file.truncate()
    file.write(json.dumps(value))
    file.flush()
