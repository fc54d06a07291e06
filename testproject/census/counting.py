"""Counts what a source file holds. Knows nothing of jobs."""

from __future__ import annotations

import ast
import warnings
from importlib.util import decode_source
from typing import NamedTuple


class Longest(NamedTuple):
    """A function and how many lines it has."""

    name: str
    lines: int


class Count(NamedTuple):
    """What a source file holds."""

    lines: int
    functions: int
    classes: int
    longest: Longest | None


def count(source: bytes) -> Count:
    """The count of one file. Raises `SyntaxError`, or `UnicodeDecodeError` for bytes that are not in its encoding."""
    text = decode_source(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the parser warns of other people's escape sequences
        tree = ast.parse(text)
    census = _Census()
    census.visit(tree)
    longest = max(census.functions, key=lambda function: function.lines, default=None)
    return Count(len(text.splitlines()), len(census.functions), census.classes, longest)


class _Census(ast.NodeVisitor):
    def __init__(self) -> None:
        self.functions: list[Longest] = []
        self.classes = 0
        self.scope: list[str] = []

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        name = ".".join([*self.scope, node.name])
        self.functions.append(Longest(name, (node.end_lineno or node.lineno) - node.lineno + 1))
        self._descend(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.classes += 1
        self._descend(node)

    def _descend(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self.scope.append(node.name)
        self.generic_visit(node)
        self.scope.pop()
