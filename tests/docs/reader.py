"""Somebody who reads a page and types in its code, block after block, in one namespace.

A block whose first line names a file (`# shop/jobs.py`) is that module. One that only sets settings takes effect for
the rest of the page, and the system checks must accept it when the page is read. The test cases that a block defines
are run. A block that ends in `raise` must raise.
"""

from __future__ import annotations

import ast
import sys
import unittest
from contextlib import ExitStack
from logging.config import DictConfigurator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from django.core import checks, mail
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler
from django.test import SimpleTestCase
from django.test.utils import override_settings

from django_jobs import Scheduler, registry
from django_jobs.conf import declared
from tests.docs.pages import Block
from tests.docs.prelude import Prelude

ELSEWHERE = {"INSTALLED_APPS", "DATABASES"}
KNOWN = {setting.name for setting in declared()} | {"LOGGING", "SECRET_KEY_FALLBACKS"} | ELSEWHERE


class Reader:
    """A context manager: what a page changes is undone at its end."""

    def __init__(self, prelude: Prelude) -> None:
        self.module = ModuleType("page")
        self.module.__dict__.update(prelude.names)
        self.settings: dict[str, Any] = prelude.settings
        self.apart = prelude.apart
        self.stages: list[dict[str, Any]] = []
        self.undo = ExitStack()

    def __enter__(self) -> Reader:
        self.undo.enter_context(patch.dict(registry._declared))
        self.undo.enter_context(patch.dict(registry._resolved))
        self.undo.enter_context(patch.dict(sys.modules))
        self.undo.enter_context(override_settings(**self.settings))
        self.become("shop/jobs.py")
        return self

    def __exit__(self, *error: Any) -> None:
        self.undo.close()

    def read(self, block: Block, page: str) -> None:
        """Type in a block of `page`."""
        with transaction.atomic():
            self.type_in(block, page)
            transaction.set_rollback(self.apart)
        if self.apart:
            mail.outbox.clear()

    def type_in(self, block: Block, page: str) -> None:
        """Run its code."""
        tree = ast.parse(block.text, page)
        ast.increment_lineno(tree, block.line - 1)
        code = compile(tree, page, "exec")
        if is_settings(tree):
            self.set(code)
            return
        names = self.module.__dict__
        names["__name__"] = self.become(block.file)
        before = cases(names)
        if isinstance(tree.body[-1], ast.Raise):
            try:
                exec(code, names)
            except Exception:
                return
            raise AssertionError("nothing was raised")
        exec(code, names)
        for case in cases(names) - before:
            run(case)
        if any(isinstance(node, ast.FunctionDef) and node.name == "schedule" for node in tree.body):
            declare(names["schedule"])

    def become(self, file: str) -> str:
        """Be the module in `file` too; answers its name."""
        name = file.removesuffix(".py").replace("/", ".") or "page"
        sys.modules[name] = self.module
        for parent in (name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)):
            package = sys.modules.setdefault(parent, ModuleType(parent))
            package.__path__ = []
        return name

    def set(self, code: Any) -> None:
        """Let settings take effect. Handlers add up."""
        names: dict[str, Any] = {"__name__": "settings", "BASE_DIR": Path("/nowhere")}
        exec(code, names)
        given = {name: value for name, value in names.items() if name in KNOWN}
        unknown = {name for name in names if name.isupper()} - KNOWN - {"BASE_DIR"}
        assert not [name for name in unknown if not name.startswith("DEFAULT_")], unknown
        if "JOBS" in given:
            given["JOBS"] = {**self.settings.get("JOBS", {}), **given["JOBS"]}
        self.settings = {**self.settings, **given}
        self.stages.append(self.settings)
        self.undo.enter_context(override_settings(**changeable(given)))

    def check(self) -> None:
        """Let the system checks look at the settings as they were after each block that set some."""
        for settings in self.stages:
            with ExitStack() as stack:
                stack.enter_context(override_settings(**changeable(settings)))
                if "DATABASES" in settings:
                    handler = ConnectionHandler(settings["DATABASES"])
                    stack.enter_context(patch("django_jobs.backends.database.checks.connections", handler))
                found = checks.run_checks(tags=["django_jobs", "django_jobs_schedule"])
                assert [str(message) for message in found] == []
            if "LOGGING" in settings:
                check_logging(settings["LOGGING"])


def declare(schedule: Any) -> None:
    """Let a page's schedule declare its entries: each must hold."""
    scheduler = Scheduler("page")
    schedule(scheduler)
    assert scheduler.builders
    for builder in scheduler.builders:
        builder.to_entry()


def check_logging(settings: dict[str, Any]) -> None:
    """Make the formatters and filters of `LOGGING`, but leave the loggers of this process as they are."""
    configurator = DictConfigurator(settings)
    for config in configurator.config.get("formatters", {}).values():
        configurator.configure_formatter(config)
    for config in configurator.config.get("filters", {}).values():
        configurator.configure_filter(config)


def changeable(settings: dict[str, Any]) -> dict[str, Any]:
    """Those that can be changed in a running process."""
    return {name: value for name, value in settings.items() if name not in ELSEWHERE}


def is_settings(tree: ast.Module) -> bool:
    """Whether a block does nothing but set settings."""
    targets = [
        target.id if isinstance(target, ast.Name) else ""
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
    ]
    plain = all(isinstance(statement, ast.Import | ast.ImportFrom | ast.Assign) for statement in tree.body)
    return plain and bool(targets) and all(name.isupper() for name in targets)


def cases(names: dict[str, Any]) -> set[type[SimpleTestCase]]:
    """The test cases that are defined in a namespace."""
    found = {value for value in names.values() if isinstance(value, type) and issubclass(value, SimpleTestCase)}
    return {case for case in found if not case.__module__.startswith("django.")}


def run(case: type[SimpleTestCase]) -> None:
    """Run the tests of a case."""
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    assert suite.countTestCases() > 0, f"{case.__name__} has no tests"
    result = unittest.TestResult()
    with patch.object(BaseDatabaseWrapper, "close"):  # at its end a case closes connections, also that of the page
        suite.run(result)
    assert result.wasSuccessful(), "".join(trace for _, trace in (*result.failures, *result.errors))
