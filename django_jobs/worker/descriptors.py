"""How many descriptors this process has left: for files, sockets, connections."""

from __future__ import annotations

import math
import os
import resource
from functools import cache

SPARE = 32
"""As many as a job may want to open."""


def is_short_of_descriptors() -> bool:
    """Whether it could soon open nothing more. To be called after each job, so it takes a microsecond: a new descriptor
    is the lowest one that is free.
    """
    try:
        os.close(lowest := os.dup(2))
    except OSError:
        return True
    return lowest > _most() - SPARE


@cache
def _most() -> float:
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return math.inf if most == resource.RLIM_INFINITY else most
