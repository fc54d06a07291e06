"""Puts a worker together from the settings and what its command was told."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..backends import Backend
from ..conf import QueueOptions, conf
from .console import Console
from .coordinator import Coordinator, Limits
from .executor import Executor
from .housekeeping import Chore
from .inline import Inline
from .order import Order
from .pool import Pool
from .stopping import StopSignals
from .supervisor import AGAIN, Post, Supervisor
from .terms import Terms


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What the command line says. None takes the settings' value."""

    max_workers: int | None = None
    isolation: str | None = None
    timeout: float | None = None
    poll_interval: float | None = None
    console: Console = field(default_factory=Console)
    limits: Limits = field(default_factory=Limits)
    stop_signals: StopSignals | None = None
    """Already installed: then the process ends with the worker, and keeps them."""


def assemble(backend: Backend, order: Order, options: WorkerOptions, chores: Sequence[Chore] = ()) -> Coordinator:
    """A coordinator for the queues of `order`.

    Its children serve all of its queues: as many as the queue with most workers asks for, and isolated as the first
    one.
    """
    order.expect(conf.queue_names())
    per_queue = queues_of(order)
    executor: Executor
    if (isolation := isolation_of(order, options)) != "inline":
        terms = terms_of(isolation, per_queue, backend)
        children = options.max_workers or max(q.max_workers for q in per_queue)
        executor = Pool(children * terms.concurrency, terms)
        backend.bound_waits(conf.lease_seconds)  # not inline, where the handlers may have the same connection
    else:
        executor = Inline(
            lambda: coordinator.renew_lease(), lambda: backend.cancel_requests(coordinator.worker_id), backend
        )
    coordinator = Coordinator(
        backend=backend,
        order=order,
        executor=executor,
        console=options.console,
        chores=list(chores),
        limits=options.limits,
        timeout=options.timeout,
        stop_signals=options.stop_signals or StopSignals(),
        restores_signals=options.stop_signals is None,
        poll_interval=conf.poll_interval if options.poll_interval is None else options.poll_interval,
    )
    return coordinator


def supervise(
    stores: Mapping[str, Backend], chores: Mapping[str, Sequence[Chore]], options: WorkerOptions
) -> Supervisor:
    """A supervisor of a worker for each of these queues, on its backend and with its chores.

    Of the limits, the time is that of all of them together.
    """
    limits = replace(options.limits, seconds=None)

    def post(queue: str, backend: Backend) -> Post:
        def work(stop_signals: StopSignals) -> int:
            own = replace(options, limits=limits, stop_signals=stop_signals)
            worker = assemble(backend, Order.of(queue), own, chores[queue])
            worker.run()
            stop_signals.hold()
            return AGAIN if worker.outgrown or stop_signals.count else 0  # whether all are to stop, its parent knows

        return Post(queue, work)

    posts = [post(queue, backend) for queue, backend in stores.items()]
    return Supervisor(posts, options.limits.seconds, options.stop_signals or StopSignals())


def terms_of(isolation: str, queues: Sequence[QueueOptions], backend: Backend) -> Terms:
    """The terms for children that serve all of these queues of a backend: the strictest of them."""
    return Terms(
        isolation=isolation,
        concurrency=min(q.concurrency for q in queues) if isolation == "pool" else 1,
        max_jobs=min((q.max_jobs_per_child for q in queues if q.max_jobs_per_child), default=None),
        max_memory_mb=min((q.max_memory_mb for q in queues if q.max_memory_mb), default=None),
        store=backend,
    )


def queues_of(order: Order) -> list[QueueOptions]:
    """The options of the queues that are known; at least one."""
    return [conf.queue(name) for name in order.names] or [QueueOptions("")]


def isolation_of(order: Order, options: WorkerOptions) -> str:
    """Where a worker of these queues runs its jobs."""
    if not hasattr(os, "fork"):
        return "inline"
    return options.isolation or ("inline" if options.limits.cycles is not None else queues_of(order)[0].isolation)
