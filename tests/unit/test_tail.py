"""`Tail` keeps the end of a text of any length."""

from __future__ import annotations

import pytest

from django_jobs.tail import Tail


@pytest.mark.parametrize(
    ("parts", "most", "kept"),
    [
        ([], 3, ""),
        (["abc"], 3, "abc"),
        (["ab", "cd"], 3, "… (1 characters cut)\nbcd"),
        (["abcdef", "g"], 3, "… (4 characters cut)\nefg"),
        (["abc", "d"], 0, "… (4 characters cut)\n"),
    ],
)
def test_it_keeps_the_end_and_says_how_much_is_gone(parts: list[str], most: int, kept: str) -> None:
    tail = Tail(most)
    assert [tail.write(part) for part in parts] == list(map(len, parts))
    assert tail.text == kept
