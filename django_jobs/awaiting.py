"""Waiting for the value of an `async def`, in a thread that may be interrupted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from contextvars import ContextVar
from types import AsyncGeneratorType, GeneratorType
from typing import Any, Protocol

from asgiref.sync import async_to_sync

from .exceptions import NonRetryableJobError


class Interrupter(Protocol):
    """Cancels the task that it watches when that is due."""

    def watch(self, task: asyncio.Task[Any]) -> asyncio.TimerHandle | None:
        """Begin; answers a timer to be cancelled in the end."""

    def unwatch(self) -> BaseException | None:
        """End; answers what the cancellation means, if it came from here."""


interrupter: ContextVar[Interrupter | None] = ContextVar("django_jobs.interrupter", default=None)
"""Of the job that runs in this context, where others run beside it."""


def settled(value: Any) -> Any:
    """`value`, or what it comes to where it is an awaitable.

    The coroutine runs in an event loop of its own, as Django runs asynchronous views under WSGI: what it does through
    `sync_to_async`, the ORM's asynchronous methods among them, happens in this thread, on this thread's connections.
    Where `JobTimeout` strikes this thread, the coroutine is cancelled, and may clean up. It must not work on while the
    next job runs: this waits for its end, and after the grace the worker ends the process of one that does not listen.

    In a thread of a crew, the event loop is that of the crew, and its `interrupter` cancels the coroutine.

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
        watcher = interrupter.get()
        timer = None if watcher is None or self._task is None else watcher.watch(self._task)
        try:
            return await self._awaitable
        except asyncio.CancelledError:
            if watcher is not None and (error := watcher.unwatch()) is not None:
                raise error from None
            raise
        finally:
            self._ended.set()
            if watcher is not None:
                watcher.unwatch()
            if timer is not None:
                timer.cancel()

    def end(self) -> None:
        """Cancel the coroutine where it still runs, and wait for its end."""
        if self._loop is None or self._task is None or self._ended.is_set():
            return
        try:
            self._loop.call_soon_threadsafe(self._task.cancel)
        except RuntimeError:
            return  # the loop is closed
        self._ended.wait()
