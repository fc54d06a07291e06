"""How long to wait before the next try of something that fails again and again."""

from __future__ import annotations

MOST_DOUBLINGS = 64  # an outage may last for days: beyond a thousand, floats are at their end


def doubled(first: float, times: int, most: float) -> float:
    """`first` seconds, doubled so many times, but `most` at most."""
    return min(first * 2.0 ** min(times, MOST_DOUBLINGS), most)
