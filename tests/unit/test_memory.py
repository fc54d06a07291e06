"""Memory of a worker's processes."""

from __future__ import annotations

import os
import sys

import pytest

from django_jobs.worker.memory import HUGE_PAGE, _private_regions, use_huge_pages


def test_huge_pages_hold_what_was_there_before():
    pattern = bytes(range(256))
    kept = bytearray(pattern * (4 * HUGE_PAGE // 256))
    use_huge_pages()
    assert kept == pattern * (4 * HUGE_PAGE // 256)
    if not (pid := os.fork()):
        kept[:] = bytes(len(kept))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert kept == pattern * (4 * HUGE_PAGE // 256)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's list of regions is Linux's")
def test_what_is_gathered_is_private_memory_alone():
    found = list(_private_regions())
    assert found
    assert all(start < end for start, end in found)
