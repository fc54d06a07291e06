"""Services that are to be left alone for a while, because one of their jobs was told so (`RetryAfter`)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from .. import registry
from ..backends import Backend
from ..exceptions import InvalidHandler, UnknownHandler
from ..retry import Target, Transition
from ..runtime import Claim, service_name
from ..settlement import Settlement

SPREAD = 0.1  # of the pause that is left: they must not all come back at one moment


def pause(backend: Backend, settled: Iterable[Settlement]) -> None:
    """Note what these settlements say of their services."""
    pauses: dict[str, float] = {}
    for s in settled:
        if s.pause is not None:
            name, seconds = s.pause
            pauses[name] = max(pauses.get(name, 0.0), seconds)
    if pauses:
        backend.pause_services(pauses)


def spare(backend: Backend, claims: Sequence[Claim]) -> tuple[list[Claim], list[Settlement]]:
    """Part claims into those that may start, and settlements that put the others off, at no charge."""
    services = {claim.id: name for claim in claims if (name := _service_of(claim.handler))}
    paused = backend.paused_services(set(services.values())) if services else {}
    if not paused:
        return list(claims), []
    started, put_off = [], []
    for claim in claims:
        left = paused.get(services.get(claim.id, ""))
        if left is None:
            started.append(claim)
        else:
            delay = left * (1 + SPREAD * random.random())  # noqa: S311 - spreads load, guards nothing
            later = Transition(Target.WAITING, "rate-limited", delay=delay, attempt_refund=1)
            put_off.append(Settlement(claim, later, history=claim.history))
    return started, put_off


def _service_of(key: str) -> str:
    try:
        return service_name(getattr(registry.get(key), "service", ""))
    except (UnknownHandler, InvalidHandler):
        return ""
