"""The built-in handler `callable`: calls a function by its dotted path."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from django.utils.module_loading import import_string

from ..conf import conf, is_listed
from ..context import JobContext
from ..exceptions import InvalidDefinition, NonRetryableJobError
from .base import JobHandler


class CallableHandler(JobHandler):
    """Calls a module-level function that `JOBS_CALLABLES_ALLOWED` names; what it returns is the job's output.

    The payload is `{"path": "app.reports.monthly", "args": [], "kwargs": {}}`, a dotted path, or the function itself:
    `Jobs.define("callable", monthly)`. A lambda or an inner function has no path that a worker could import.
    """

    def handle(self, ctx: JobContext) -> Any:
        call = self.clean_payload(ctx.payload)
        if not _is_allowed(call["path"]):
            raise NonRetryableJobError(_refusal(call["path"]))
        return import_string(call["path"])(*call["args"], **call["kwargs"])

    @classmethod
    def clean_payload(cls, payload: Any) -> dict[str, Any]:
        """The payload in its long form. Raises `InvalidDefinition` for what is no allowed function."""
        if callable(payload):
            payload = {"path": path_of_function(payload)}
        elif isinstance(payload, str):
            payload = {"path": payload}
        if not isinstance(payload, Mapping) or set(payload) - {"path", "args", "kwargs"}:
            raise InvalidDefinition('payload: give a function, or {"path": "app.module.function", "args": [...]}.')
        path, args, kwargs = payload.get("path"), payload.get("args") or [], payload.get("kwargs") or {}
        if not isinstance(path, str) or not isinstance(args, list | tuple) or not isinstance(kwargs, Mapping):
            raise InvalidDefinition("payload: path must be a text, args a list and kwargs a mapping.")
        if not _is_allowed(path):
            raise InvalidDefinition(f"payload: {_refusal(path)}")
        return {"path": path, "args": list(args), "kwargs": dict(kwargs)}


def path_of_function(function: Any) -> str:
    """The dotted path of a module-level function. Raises `InvalidDefinition` for any other."""
    if not inspect.isfunction(function) or "<" in function.__qualname__ or "." in function.__qualname__:
        name = getattr(function, "__qualname__", function)
        raise InvalidDefinition(
            f"payload: {name!r:.80} is not a module-level function, so no worker could find it. Move it into a module."
        )
    return f"{function.__module__}.{function.__qualname__}"


def _is_allowed(path: str) -> bool:
    return is_listed(path, conf.callables_allowed)


def _refusal(path: str) -> str:
    return f"the function {path[:200]!r} is not allowed. Add it to JOBS_CALLABLES_ALLOWED."
