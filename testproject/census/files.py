"""Which files the census counts."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import django

BROKEN = "broken"
SKIPPED = {"__pycache__", "dist-packages", "idle_test", "site-packages", "test", "tests"}


class SourceFile(NamedTuple):
    """A file to count. `source` is one word for where it comes from."""

    source: str
    root: Path
    path: str


class BrokenFile(NamedTuple):
    """A file that must fail, and the reason that its job must fail with."""

    path: str
    reason: str


# Their suffix keeps them from tools that read Python. The last one is not there at all.
BROKEN_FILES = (
    BrokenFile("unclosed_bracket.py.txt", "failed"),
    BrokenFile("print_statement.py.txt", "failed"),
    BrokenFile("wrong_encoding.py.txt", "dead"),
    BrokenFile("nested_too_deep.py.txt", "dead"),
    BrokenFile("not_there.py.txt", "dead"),
)


def roots() -> dict[str, Path]:
    """Where the real source code is. Raises `FileNotFoundError` for a folder that is missing."""
    found = {"stdlib": Path(sysconfig.get_path("stdlib")), "django": Path(django.__file__).parent}
    for source, root in found.items():
        if not root.is_dir():
            raise FileNotFoundError(f"{source}: there is no folder {root}")
    return found


def real_files(limit: int | None = None) -> list[SourceFile]:
    """The `.py` files of the standard library and of Django, without their tests; `limit` of them, evenly spread."""
    found = [SourceFile(source, root, path) for source, root in roots().items() for path in sorted(_python_files(root))]
    if limit is None or limit >= len(found):
        return found
    return [found[index * len(found) // limit] for index in range(limit)]


def broken_files() -> list[SourceFile]:
    """The files that the demo breaks on purpose."""
    root = Path(__file__).parent / "broken"
    return [SourceFile(BROKEN, root, path) for path, _ in BROKEN_FILES]


def _python_files(root: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in SKIPPED]
        for name in names:
            if name.endswith(".py"):
                yield Path(folder, name).relative_to(root).as_posix()
