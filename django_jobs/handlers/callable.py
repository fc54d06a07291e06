"""The built-in handler `callable`: calls a function by its dotted path."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakValueDictionary

from django.utils.module_loading import import_string

from ..conf import conf, is_listed
from ..context import JobContext
from ..definition import LocalPayload
from ..exceptions import InvalidDefinition, NonRetryableJobError
from ..names import shown
from .base import JobHandler


class CallableHandler(JobHandler):
    """Calls a module-level function that `JOBS_CALLABLES_ALLOWED` names; what it returns is the job's output.

    The payload is `{"path": "app.reports.monthly", "args": [], "kwargs": {}}`, a dotted path, or the function itself:
    `Jobs.define("callable", monthly)`. A lambda or an inner function has no path that a worker could import: it
    is taken where its job is run by the process that dispatches it, as by the `sync` backend.
    """

    def handle(self, ctx: JobContext) -> Any:
        if isinstance(ctx.payload, Mapping) and _LOCAL in ctx.payload:
            return _local_function(ctx.payload[_LOCAL])()
        call = self.clean_payload(ctx.payload)
        if not _is_allowed(call["path"]):
            raise NonRetryableJobError(_refusal(call["path"]))
        return import_string(call["path"])(*call["args"], **call["kwargs"])

    @classmethod
    def clean_payload(cls, payload: Any) -> dict[str, Any]:
        """The payload in its long form. Raises `InvalidDefinition` for what is no allowed function."""
        if isinstance(payload, LocalFunction):
            return payload
        if callable(payload):
            if not (found := path_of_function(payload)):
                return LocalFunction(payload)
            payload = {"path": found}
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


_LOCAL = "local"
_functions: WeakValueDictionary[str, LocalFunction] = WeakValueDictionary()


class LocalFunction(LocalPayload):
    """The payload of a function without a path: its number among those of this process, which it keeps alive."""

    def __init__(self, function: Callable[[], Any]) -> None:
        name = f"{id(self):x} {function.__qualname__}"
        super().__init__({_LOCAL: name})
        self.function = function
        _functions[name] = self


def _local_function(name: Any) -> Callable[[], Any]:
    known = _functions.get(str(name))
    if known is None:
        raise NonRetryableJobError(f"the function {str(name)[:200]!r} is not known in this process.")
    return known.function


def path_of_function(function: Any) -> str:
    """The dotted path of a module-level function; blank for a lambda or an inner one.

    Raises `InvalidDefinition` for what is no function.
    """
    if not inspect.isfunction(function):
        raise InvalidDefinition(f"payload: {shown(getattr(function, '__qualname__', function))} is not a function.")
    if "<" in function.__qualname__ or "." in function.__qualname__:
        return ""
    return f"{function.__module__}.{function.__qualname__}"


def _is_allowed(path: str) -> bool:
    return is_listed(path, conf.callables_allowed)


def _refusal(path: str) -> str:
    return f"the function {path[:200]!r} is not allowed. Add it to JOBS_CALLABLES_ALLOWED."
