"""When an entry is due, as it was asked for: cron expressions or one moment, hours of the day, and a time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from django.utils import timezone

from ..conf import conf
from ..exceptions import InvalidSchedule
from .cron import Cron, parse


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of the day, both ends included; one that ends before it starts goes over midnight."""

    start: time
    end: time
    inside: bool = True
    """False: only outside of them."""

    def admits(self, wall: time) -> bool:
        """Whether a tick at this time of the day may be."""
        if self.start <= self.end:
            return (self.start <= wall <= self.end) is self.inside
        return (wall >= self.start or wall <= self.end) is self.inside


@dataclass(frozen=True, slots=True)
class Timing:
    """When something is due. With several expressions it is due at the ticks of each, once where they meet."""

    crons: tuple[Cron, ...] = ()
    at: datetime | None = None
    """One moment, in UTC, in the place of expressions."""
    windows: tuple[Window, ...] = ()
    zone_name: str = "UTC"

    @classmethod
    def of(cls, expression: str, zone_name: str = "", *, seconds: bool = False, day_or: bool = True) -> Timing:
        """The timing of one expression; no zone is that of the schedule. Raises `InvalidSchedule`."""
        name = zone_name or default_zone_name()
        zone_of(name)
        return cls((parse(expression, seconds=seconds, day_or=day_or),), zone_name=name)

    @property
    def zone(self) -> tzinfo:
        """The time zone."""
        return zone_of(self.zone_name)

    @property
    def is_possible(self) -> bool:
        """Whether the windows leave any of its times of the day."""
        if not self.windows:
            return True
        return any(
            all(window.admits(time(hour, minute, second)) for window in self.windows)
            for cron in self.crons
            for hour in cron.hours
            for minute in cron.minutes
            for second in cron.seconds
        )

    @property
    def expression(self) -> str:
        """The expressions as one text, or the one moment."""
        return self.at.isoformat() if self.at is not None else " | ".join(map(str, self.crons))


def default_zone_name() -> str:
    """`JOBS_SCHEDULE_TIMEZONE`, else `TIME_ZONE`."""
    return conf.schedule_timezone or timezone.get_default_timezone_name()


@lru_cache(maxsize=1000)
def zone_of(name: str) -> tzinfo:
    """The time zone of this name. Raises `InvalidSchedule`."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # what zoneinfo raises depends on what the name looks like
        raise InvalidSchedule(
            f"timezone: {str(name)[:80]!r} is not a time zone. Give a name such as 'Europe/Berlin'.",
            rule="E024",
        ) from None
