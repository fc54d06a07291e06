#!/usr/bin/env python
"""Writes the pages of docs/reference that are made from the code: `make reference`. A test compares them with it."""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
from argparse import Action
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference"
MOST_CHARACTERS = 60


def settings_page() -> str:
    """Every setting and every option of a queue, from their declarations."""
    from django_jobs import conf

    long: dict[str, Any] = {}

    def shown(value: Any) -> str:
        text = repr(value)
        if len(text) <= MOST_CHARACTERS:
            return f"`{text}`"
        name = next(name for name, constant in vars(conf).items() if constant is value)
        long[name] = value
        return f"`{name}`, below"

    def rows() -> Iterator[str]:
        for line in inspect.getsource(conf.Conf).splitlines():
            if heading := re.fullmatch(r"    # (.+)", line):
                yield from ("", f"## {heading[1].capitalize()}", "", *head("setting", "is", "default", "what for"))
            elif name := re.match(r"    (\w+): Setting\[", line):
                setting = getattr(conf.Conf, name[1])
                default = "" if "Default:" in setting.about else shown(setting.default)
                yield row(f"`{setting.name}`", setting.kind.says, default, setting.about)

    queue_options = [
        row(f"`{name}`", option.metadata["kind"].says, shown(option.default), option.metadata["about"])
        for name, option in conf.QUEUE_OPTIONS.items()
    ]
    job_options = [
        row(f"`{name}`", shown(conf.DEFAULT_OPTIONS[name]) if name in conf.DEFAULT_OPTIONS else "`JOBS_BACKOFF`")
        for name in sorted({*conf.DEFAULT_OPTIONS, *conf.JOB_OPTIONS})
    ]
    lines = [
        "# Settings",
        "",
        "All are optional. Times are in seconds, sizes in bytes. `manage.py check` finds what is wrong in them; see",
        "[the checks](checks.md).",
        *rows(),
        "",
        "## Options of a queue",
        "",
        "`JOBS_QUEUES` as a dict gives options to each queue, the worker's and the jobs':",
        "",
        "```python",
        'JOBS_QUEUES = {"default": {}, "mail": {"max_workers": 2, "max_attempts": 3, "timeout": 60}}',
        "```",
        "",
        *head("option", "is", "default", "what for"),
        *queue_options,
        "",
        "Beside these it takes the options of jobs below, but for `queue`: they are the defaults of the jobs on it.",
        "",
        "## Options of jobs",
        "",
        "What `JOBS_DEFAULTS` may say of all jobs; `backoff` has a setting of its own. A call wins over the handler,",
        "it over the queue, it over `JOBS_DEFAULTS`.",
        "",
        *head("option", "default"),
        *job_options,
        "",
        "## Long defaults",
        "",
        "All of these can be imported from `django_jobs.conf`.",
    ]
    for name, value in long.items():
        lines += ["", "```python", *code(name, value), "```"]
    return "\n".join(lines) + "\n"


def code(name: str, value: Any) -> Iterator[str]:
    """The assignment of a dict or tuple of JSON values, as the formatter has it: an entry to a line."""
    start, end = "{}" if isinstance(value, dict) else "()"
    yield f"{name} = {start}"
    for entry in value:
        yield f"    {json.dumps(entry)}: {json.dumps(value[entry])}," if start == "{" else f"    {json.dumps(entry)},"
    yield end


def commands_page() -> str:
    """Every command and its flags, from their parsers."""
    from django.core.management import load_command_class
    from django.core.management.base import BaseCommand

    common = {action.dest for action in BaseCommand().create_parser("manage.py", "any")._actions}
    lines = [
        "# Commands",
        "",
        "They are called as `manage.py jobs_work`. The exit code is 0 where all went well, 1 where something failed or",
        "a thing that was named is not there, and 2 where the command was called wrongly. With `--json`, one JSON",
        "document is printed, whose keys are never renamed. Each also takes the options of Django's own commands.",
    ]
    seen: dict[type, str] = {}
    for file in sorted((ROOT / "django_jobs/management/commands").glob("jobs_*.py")):
        command = load_command_class("django_jobs", file.stem)
        parser = command.create_parser("manage.py", file.stem)
        lines += ["", f"## `{file.stem}`", ""]
        if other := seen.get(type(command)):
            lines.append(f"Another name of `{other}`.")
            continue
        seen[type(command)] = file.stem
        lines += [str(command.help), "", *head("argument", "what for")]
        lines += [row(called(a), a.help or "") for a in parser._actions if a.dest not in common]
    return "\n".join(lines) + "\n"


def called(action: Action) -> str:
    """How an argument is written."""
    value = str(action.metavar or action.dest.upper())
    if action.choices is not None:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    if not action.option_strings:
        return f"`[{value} ...]`" if action.nargs == "*" else f"`{value}`"
    return ", ".join(f"`{flag}`" if action.nargs == 0 else f"`{flag} {value}`" for flag in action.option_strings)


def checks_page() -> str:
    """Every rule of the system checks, from their table."""
    from django_jobs.findings import RULES

    when = {"always": "", "deploy": "`check --deploy`", "database": "`migrate`, `check --database ALIAS`"}
    return "\n".join(
        [
            "# System checks",
            "",
            "`manage.py check` looks for these, and so does every command that starts. An id never changes, so that",
            "`SILENCED_SYSTEM_CHECKS` can name it. E is an error, W a warning.",
            "",
            *head("id", "what is wrong", "what to do", "only with"),
            *(row(f"`django_jobs.{id}`", rule.wrong, rule.do, when[rule.when]) for id, rule in RULES.items()),  # noqa: A001
            "",
        ]
    )


def head(*titles: str) -> list[str]:
    """The first two lines of a table."""
    return [row(*titles), row(*("---" for _title in titles))]


def row(*cells: str) -> str:
    """A line of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "commands.md": commands_page,
    "checks.md": checks_page,
}


def main() -> None:
    """Write every page."""
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    import django

    django.setup()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
