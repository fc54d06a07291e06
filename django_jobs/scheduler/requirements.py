"""Whether what a tick requires has come about: the success of other entries' ticks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from ..models import TickState

LONGEST_WAIT = timedelta(days=2)
"""For an entry that is due and not looked at."""
OPEN = (TickState.WAITING, TickState.DISPATCHED, TickState.RUNNING)


class Standing(NamedTuple):
    """How an entry stands that another one requires."""

    enabled: bool
    look_at: datetime | None
    """Every tick before this has been decided upon."""
    state: str = ""
    """That of its last tick up to the moment in question; blank where it has had none."""


class Verdict(NamedTuple):
    """Whether a tick may start. Neither ready nor refused: it waits."""

    ready: bool = False
    refusal: str = ""


READY, WAIT = Verdict(ready=True), Verdict()


def verdict(requires: Sequence[str], at: datetime, standings: Mapping[str, Standing], now: datetime) -> Verdict:
    """Whether a tick that is due `at` may start, by the standings of what it requires; a missing one is unknown.

    The tick of the required entry that counts is its last one up to `at`: it must have been decided upon, and must have
    succeeded. One that is not looked at for days is waited for no longer: it may be of an environment that has no
    scheduler.
    """
    waits = False
    for name in requires:
        standing = standings.get(name)
        if standing is None:
            return Verdict(refusal=f"requires {name}, which there is not")
        if not standing.enabled:
            return Verdict(refusal=f"requires {name}, which is disabled")
        if standing.state in OPEN:
            waits = True
        elif standing.look_at is None or standing.look_at <= at:
            if standing.look_at is not None and now - standing.look_at > LONGEST_WAIT:
                return Verdict(refusal=f"requires {name}, which nobody runs here")
            waits = True
        elif not standing.state:
            return Verdict(refusal=f"requires {name}, which has not run yet")
        elif standing.state != TickState.SUCCEEDED:
            return Verdict(refusal=f"requires {name}, whose tick is {standing.state}")
    return WAIT if waits else READY
