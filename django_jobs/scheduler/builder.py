"""`Scheduler`, which collects entries, and the fluent `EntryBuilder`."""

from __future__ import annotations

from typing import Any

from .entries import Entry


class Scheduler:
    """Collects the entries of a schedule.

    def schedule(s: Scheduler) -> None:
        s.define("report", "--month=06").named("daily-report").daily_at("02:00").queue("reports")
    """

    def define(self, handler: Any, payload: Any = None) -> EntryBuilder:
        """A new entry of the schedule, for a handler's key, a registered class or a `@job` function."""
        raise NotImplementedError


class EntryBuilder:
    """One entry, built step by step. Unlike a `JobBuilder` it changes in place: the schedule has it already."""

    def to_entry(self) -> Entry:
        """The entry. Raises `InvalidSchedule` with all that is wrong."""
        raise NotImplementedError
