"""From a handler's class and the facts of an attempt to the value that the handler returns.

In this order: the payload is brought to the handler's version and type, an instance is made, and within the middleware
`before_run`, `handle` and `after_run` are called. What they print is captured and their warnings are turned into errors
where the handler or its queue wants that.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from . import registry
from .awaiting import settled
from .conf import conf, is_listed
from .context import JobContext
from .definition import JobDefinition
from .exceptions import NonRetryableJobError
from .handlers import JobHandler
from .logs import get_logger
from .tail import Tail

logger = get_logger("runtime")
Next = Callable[[], Any]


class Plan(NamedTuple):
    """How the attempts of a handler's jobs on a queue are run: what does not change from job to job."""

    allowed: bool
    version: int
    loads: bool
    create: Callable[[JobContext], Any]
    middleware: tuple[Callable[[JobContext, Next], Any], ...]
    captures: bool
    strict: bool
    has_after: bool
    has_before: bool


class Invocation:
    """One call of a handler. `handler` is its instance, None until there is one."""

    __slots__ = ("ctx", "definition", "handler", "handler_class", "plan")

    def __init__(self, plan: Plan, handler_class: type, definition: JobDefinition, ctx: JobContext) -> None:
        self.plan = plan
        self.handler_class = handler_class
        self.definition = definition
        self.ctx = ctx
        self.handler: Any = None

    def run(self) -> Any:
        """What the handler returns, awaited where it is asynchronous. Raises what the handler raises."""
        plan = self.plan
        if plan.loads or self.definition.schema_version != plan.version:
            self.ctx = replace(self.ctx, payload=self._payload(plan))
        if not (plan.captures or plan.strict) or not self.ctx.controls.alone:  # else it would be of others' too
            return self._run(plan)
        with ExitStack() as stack:
            if plan.captures:
                stack.enter_context(_captured(self.ctx))
            if plan.strict:
                stack.enter_context(warnings.catch_warnings())
                warnings.simplefilter("error")
            return self._run(plan)

    def _payload(self, plan: Plan) -> Any:
        payload, handler = self.ctx.payload, self.handler_class
        if self.definition.schema_version < plan.version:
            payload = handler.migrate_payload(payload, self.definition.schema_version)  # type: ignore[attr-defined]
        return handler.load_payload(payload) if plan.loads else payload  # type: ignore[attr-defined]

    def _run(self, plan: Plan) -> Any:
        self.handler = plan.create(self.ctx)
        if not plan.middleware and not self.definition.middleware:
            return self._call(plan)
        call: Next = partial(self._call, plan)
        for middleware in reversed((*plan.middleware, *_named(self.definition.middleware))):
            call = partial(_through, middleware, self.ctx, call)
        return call()

    def _call(self, plan: Plan) -> Any:
        if plan.has_before:
            settled(self.handler.before_run(self.ctx))
        value = settled(self.handler.handle(self.ctx))
        if plan.has_after:
            try:
                settled(self.handler.after_run(self.ctx, value))
            except Exception:
                logger.exception("after_run of job %s failed", self.ctx.job_id)
        return value


def _through(middleware: Callable[[JobContext, Next], Any], ctx: JobContext, call: Next) -> Any:
    return settled(middleware(ctx, call))


def instance_of(handler_class: type, ctx: JobContext) -> Any:
    """An instance of a handler, made as its attempts have it."""
    return plan_of(handler_class, ctx.handler, ctx.queue).create(ctx)


@lru_cache(maxsize=10_000)
def plan_of(handler_class: type, key: str, queue: str) -> Plan:
    """The plan of a handler's jobs on a queue. A class of its own making lacks what `JobHandler` has."""
    strict = getattr(handler_class, "warnings_as_errors", None)
    return Plan(
        allowed=conf.queue(queue).allows(registry.canonical(key)),
        version=getattr(handler_class, "schema_version", 1),
        loads=_overrides(handler_class, "load_payload") or getattr(handler_class, "payload_type", None) is not None,
        create=_creator(handler_class),
        middleware=(*_resolved(conf.middleware), *_resolved(getattr(handler_class, "middleware", ()))),
        captures=bool(getattr(handler_class, "capture_output", False)),
        strict=conf.queue(queue).warnings_as_errors if strict is None else bool(strict),
        has_before=_overrides(handler_class, "before_run"),
        has_after=_overrides(handler_class, "after_run"),
    )


def _overrides(handler_class: type, name: str) -> bool:
    own = getattr(handler_class, name, None)
    base = getattr(JobHandler, name)
    return bool(own) and _plain(own) is not _plain(base)


def _plain(method: Any) -> Any:
    return getattr(method, "__func__", method)


def _creator(handler_class: type) -> Callable[[JobContext], Any]:
    if conf.container:
        container = import_string(conf.container) if isinstance(conf.container, str) else conf.container
        return partial(container, handler_class)
    if _overrides(handler_class, "create"):
        return handler_class.create  # type: ignore[attr-defined,no-any-return]
    return lambda ctx: handler_class()


def _resolved(middleware: Sequence[Any]) -> list[Callable[[JobContext, Next], Any]]:
    return [import_string(item) if isinstance(item, str) else item for item in middleware]


def _named(paths: Sequence[str]) -> list[Callable[[JobContext, Next], Any]]:
    """The middleware of a definition, which came from the store: only what the site allows is imported."""
    for path in paths:
        if not is_listed(path, conf.middleware_allowed):
            raise NonRetryableJobError(f"the middleware {path!r} is not allowed. Add it to JOBS_MIDDLEWARE_ALLOWED.")
    return _resolved(paths)


@contextmanager
def _captured(ctx: JobContext) -> Iterator[None]:
    """Puts what is printed meanwhile into the job's timeline, however the attempt ends."""
    kept = Tail(conf.max_output_length)
    try:
        with redirect_stdout(kept), redirect_stderr(kept):
            yield
    finally:
        if text := kept.text:
            ctx.controls.note("output", text, {})


def _forget(*, setting: str, **_: Any) -> None:
    if setting.startswith("JOBS"):
        plan_of.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_jobs.invocation")
