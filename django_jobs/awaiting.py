"""Waiting for the value of an `async def`, in a thread that may be interrupted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from asgiref.sync import async_to_sync

from .exceptions import NonRetryableJobError


def settled(value: Any) -> Any:
    """`value`, or what it comes to where it is an awaitable.

    The coroutine runs in an event loop of its own, as Django runs asynchronous views under WSGI: what it does through
    `sync_to_async`, the ORM's asynchronous methods among them, happens in this thread, on this thread's connections.
    Where `JobTimeout` strikes this thread, the coroutine is cancelled, and may clean up. It must not work on while the
    next job runs: this waits for its end, and after the grace the worker ends the process of one that does not listen.

    Raises `NonRetryableJobError` for a generator: a function with a `yield` has only been called, not run.
    """
    if isinstance(value, GeneratorType | AsyncGeneratorType):
        raise NonRetryableJobError(
            f"{value.__qualname__} is a generator, so nothing of it has run. Take out its yield."
        )
    if not hasattr(value, "__await__"):
        return value
    task = _Task(value)
    try:
        return async_to_sync(task.run)()
    except BaseException:
        task.end()
        raise


class _Task:
    def __init__(self, awaitable: Awaitable[Any]) -> None:
        self._awaitable = awaitable
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._ended = threading.Event()

    async def run(self) -> Any:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            return await self._awaitable
        finally:
            self._ended.set()

    def end(self) -> None:
        """Cancel the coroutine where it still runs, and wait for its end."""
        if self._loop is None or self._task is None or self._ended.is_set():
            return
        try:
            self._loop.call_soon_threadsafe(self._task.cancel)
        except RuntimeError:
            return  # the loop is closed
        self._ended.wait()
