"""Function jobs: `@job` makes a function dispatchable."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from .. import port, registry
from ..context import JobContext
from ..definition import JobBuilder
from ..exceptions import InvalidDefinition, InvalidHandler, NonRetryableJobError
from .base import JobHandler

if TYPE_CHECKING:
    from ..api import JobRef

P = ParamSpec("P")
R = TypeVar("R")


def job(key: str, *, takes_context: bool = False, **options: Any) -> Callable[[Callable[P, R]], FunctionJob[P, R]]:
    """Decorator: register a function as the handler `key`.

    `options` are job options and the other attributes of a handler (`retry_on_crash`, `middleware` …). A payload that
    is a list gives positional arguments, one that is a dict gives keyword arguments. With `takes_context=True` the
    first parameter is the `JobContext`. Calling the function runs it here, as ever.

        @job("thumbs.make", queue="img", max_attempts=3)
        def make_thumbnail(path, width=200): ...


        make_thumbnail.dispatch("a.png", width=100)
    """
    if not isinstance(key, str):
        raise InvalidHandler('@job needs a key: write @job("some-key").')

    def decorate(func: Callable[P, R]) -> FunctionJob[P, R]:
        return FunctionJob(key, func, takes_context, options)

    return decorate


class FunctionJob(Generic[P, R]):
    """A function with a handler key. Call it to run it here; `dispatch` it to enqueue it."""

    def __init__(self, key: str, func: Callable[P, R], takes_context: bool, options: dict[str, Any]) -> None:
        update_wrapper(self, func)
        if not inspect.isfunction(func) or "<locals>" in func.__qualname__ or func.__name__ == "<lambda>":
            raise InvalidHandler(
                f"handler {key!r}: {func!r} is not a module-level function, so no worker could find it."
            )
        self.key = key
        self.func: Callable[P, R] = func
        self.signature = inspect.signature(func)
        if takes_context:
            self.signature = self.signature.replace(parameters=list(self.signature.parameters.values())[1:])
        if unknown := set(options) - set(_ATTRIBUTES):
            raise InvalidHandler(
                f"handler {key!r}: @job has no option {min(unknown)!r}. It has {', '.join(_ATTRIBUTES)}."
            )
        attributes = {"function": self, "takes_context": takes_context, "__module__": func.__module__, **options}
        self.job_handler = type(func.__name__, (FunctionHandler,), attributes | {"__qualname__": func.__qualname__})
        registry.defaults_of(self.job_handler)
        registry.declare(key, self.job_handler)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.func(*args, **kwargs)

    def define(self, *args: Any, **kwargs: Any) -> JobBuilder:
        """A builder for a call with these arguments. Raises `InvalidDefinition` if the function can't be called so."""
        return port.jobs().define(self.key, self.payload(args, kwargs))

    def dispatch(self, *args: Any, **kwargs: Any) -> JobRef:
        """Enqueue a call with these arguments. For options: `define(...).delay(60).dispatch()`."""
        return self.define(*args, **kwargs).dispatch()

    def dispatch_sync(self, *args: Any, **kwargs: Any) -> JobRef:
        """Run a call with these arguments here and now, as a job."""
        return port.jobs().dispatch_sync(self.define(*args, **kwargs))

    def payload(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The payload that stands for these arguments."""
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidDefinition(f"payload: {self.key!r} can't be called so: {error}.") from None
        if not args:
            return kwargs
        if not kwargs:
            return list(args)
        kinds = {parameter.kind for parameter in self.signature.parameters.values()}
        if inspect.Parameter.POSITIONAL_ONLY in kinds or inspect.Parameter.VAR_POSITIONAL in kinds:
            raise InvalidDefinition(
                f"payload: {self.key!r} takes positional or keyword arguments in one call, not both."
            )
        arguments = dict(bound.arguments)
        for parameter in self.signature.parameters.values():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                arguments.update(arguments.pop(parameter.name, {}))
        return arguments

    def bind(self, payload: Any) -> inspect.BoundArguments:
        """The arguments that a payload stands for. Raises `TypeError` if they don't fit the function."""
        if payload is None:
            return self.signature.bind()
        if isinstance(payload, dict):
            return self.signature.bind(**payload)
        if isinstance(payload, list | tuple):
            return self.signature.bind(*payload)
        return self.signature.bind(payload)


class FunctionHandler(JobHandler):
    """The handler behind a `@job` function."""

    function: FunctionJob[Any, Any]
    takes_context: bool = False

    def handle(self, ctx: JobContext) -> Any:
        try:
            bound = self.function.bind(ctx.payload)
        except TypeError as error:
            raise NonRetryableJobError(f"the payload does not fit {ctx.handler!r}: {error}") from None
        if self.takes_context:
            return self.function.func(ctx, *bound.args, **bound.kwargs)
        return self.function.func(*bound.args, **bound.kwargs)

    @classmethod
    def clean_payload(cls, payload: Any) -> Any:
        """Raise `InvalidDefinition` unless the function can be called with `payload`."""
        try:
            cls.function.bind(payload)
        except TypeError as error:
            raise InvalidDefinition(f"payload: {cls.function.key!r} can't be called so: {error}.") from None
        return payload


_ATTRIBUTES = (
    *("queue", "backend", "priority", "delay", "max_attempts", "max_retries", "retry_delay", "timeout"),
    *("backoff", "ttl", "unique", "retry_on_crash", "atomic", "schema_version", "migrate_payload", "middleware"),
    *("capture_output", "warnings_as_errors", "max_snoozes", "service"),
)
