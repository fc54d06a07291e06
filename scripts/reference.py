#!/usr/bin/env python
"""Writes the pages of docs/reference that are made from the code: `make reference`. A test compares them with it."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import sys
from argparse import SUPPRESS, Action
from collections.abc import Callable, Iterator
from itertools import pairwise
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
        "document is printed, whose keys are never renamed. Where the reader of what they print has gone, as `head`",
        "goes, they end with 141. Each also takes the options of Django's own commands.",
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
        lines += [row(called(a), a.help or "") for a in parser._actions if a.dest not in common and a.help != SUPPRESS]
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
            "`manage.py check` looks for these, and so does every command that starts. Those of django_jobs leave out",
            "what is about the schedule (E020 to E026, W020 to W022), as one bad entry stops no other.",
            "An id never changes, so that `SILENCED_SYSTEM_CHECKS` can name it. E is an error, W a warning.",
            "",
            *head("id", "what is wrong", "what to do", "only with"),
            *(row(f"`django_jobs.{id}`", rule.wrong, rule.do, when[rule.when]) for id, rule in RULES.items()),  # noqa: A001
            "",
        ]
    )


# -- from docstrings --------------------------------------------------------------------------------------------


def handlers_page() -> str:
    """What a handler is made of, and what it sees."""
    from django_jobs import JobContext, JobHandler, JobResult, job
    from django_jobs.definition import JobDefinition
    from django_jobs.handlers import CallableHandler, CommandHandler, ShellHandler

    said, blank = attributes_of(JobHandler), vars(JobHandler)
    options = [name for name in JobHandler.__annotations__ if name not in said]
    facts = {"payload": "The payload, brought to the handler's version and type."} | properties_of(JobContext)
    if silent := set(options) - set(JobDefinition.__annotations__):
        raise ValueError(f"JobHandler.{min(silent)} needs a docstring")
    lines = [
        "# Handlers",
        "",
        "How to write them is told in [Write handlers](../how-to/handlers.md).",
        *section("`JobHandler`", JobHandler),
        "",
        f"The options of its jobs that it may set: {', '.join(f'`{name}`' for name in options)}. Beside these:",
        "",
        *head("attribute", "default", "what for"),
        *(row(f"`{name}`", f"`{blank[name]!r}`", about) for name, about in said.items()),
        *methods_of(JobHandler),
        *section("`@job(key, *, takes_context=False, **options)`", job),
        *section("`JobContext`", JobContext),
        "",
        *head("fact", "what it is"),
        *(row(f"`{name}`", about) for name, about in facts.items()),
        *methods_of(JobContext, properties=False),
        *section("`JobResult`", JobResult),
        *methods_of(JobResult),
        *section("The built-in handler `command`", CommandHandler),
        *section("The built-in handler `callable`", CallableHandler),
        *section("The built-in handler `shell`", ShellHandler),
    ]
    return "\n".join(lines) + "\n"


def jobs_page() -> str:
    """What dispatches jobs, and looks after them."""
    from django_jobs import JobRef, Jobs, Priority, locks, retry
    from django_jobs.backends import CancelOutcome, JobRecord
    from django_jobs.definition import JobBuilder

    lines = [
        "# Jobs",
        *section("`Jobs`", Jobs),
        *methods_of(Jobs),
        *section("`JobBuilder`", JobBuilder),
        *methods_of(JobBuilder),
        *section("`JobRef`", JobRef),
        *methods_of(JobRef),
        *section("`JobRecord`", JobRecord),
        "",
        f"Its facts: {', '.join(f'`{name}`' for name in JobRecord.__annotations__)}.",
        *section("`CancelOutcome`", CancelOutcome),
        "",
        f"{', '.join(f'`{outcome}`' for outcome in CancelOutcome)}.",
        *section("`Priority`", Priority),
        "",
        f"{', '.join(f'`{priority.name}` ({priority:d})' for priority in Priority)}.",
        *section("`django_jobs.retry.backoff(strategy, **fields)`", retry.backoff),
        *section("`django_jobs.locks.mutex(name, ttl, *, wait=0, driver='database')`", locks.mutex),
        *methods_of(locks.Mutex),
        *section("`django_jobs.locks.cache_locks(alias='default')`", locks.cache_locks),
        *section("`django_jobs.locks.FileLocks(folder)`", locks.FileLocks),
    ]
    return "\n".join(lines) + "\n"


def schedule_page() -> str:
    """What declares entries of the schedule, and each helper that says when, with the cron expression it comes to."""
    from django_jobs.scheduler import mapping
    from django_jobs.scheduler.builder import EntryBuilder, Scheduler
    from django_jobs.scheduler.frequency import Frequency

    def comes_to(name: str) -> str:
        try:
            return f"`{getattr(Frequency(), name)().to_timing().expression}`"
        except (TypeError, ValueError):  # it needs arguments, or another helper beside it
            return ""

    said = {name: function for name, function in vars(Frequency).items() if name in mapping.FREQUENCIES | {"cron"}}
    lines = [
        "# The schedule",
        "",
        "How to define entries is told in [Schedule jobs](../how-to/schedule.md).",
        *section("`Scheduler`", Scheduler),
        *methods_of(Scheduler),
        *section("When", inspect.getmodule(Frequency)),
        "",
        *head("helper", "is due", "without arguments"),
        *(
            row(
                f"`{name}{called_with(function)}`", " ".join(inspect.cleandoc(function.__doc__).split()), comes_to(name)
            )
            for name, function in said.items()
        ),
        *section("`EntryBuilder`", EntryBuilder),
        *methods_of(EntryBuilder),
        *section("Entries as dicts", mapping),
        "",
        f"The keys: {', '.join(f'`{key}`' for key in sorted(mapping.KEYS))}.",
    ]
    return "\n".join(lines) + "\n"


def exceptions_page() -> str:
    """Every exception and signal."""
    import django_jobs
    from django_jobs import exceptions, signals

    near = [f"`{name}`" for name, home in django_jobs._HOMES.items() if home == "exceptions"]
    lines = [
        "# Exceptions and signals",
        "",
        "All are in `django_jobs.exceptions` and `django_jobs.signals`. These can be imported from `django_jobs` too:",
        f"{', '.join(near)}.",
    ]
    for line in inspect.getsource(exceptions).splitlines():
        if heading := re.fullmatch(r"# -- (.+?) -+", line):
            lines += ["", f"## {heading[1].capitalize()}"]
        elif name := re.match(r"class (\w+)", line):
            error = getattr(exceptions, name[1])
            kinds = ", ".join(f"`{base.__name__}`" for base in error.__bases__)
            lines += ["", f"### `{error.__name__}`", "", f"A kind of {kinds}.", "", *markdown(error)]
    lines += ["", "## Signals", "", *markdown(signals)[2:]]
    return "\n".join(lines) + "\n"


def testing_page() -> str:
    """The test kit, name by name."""
    from django_jobs import testing

    lines = [
        "# The test kit",
        "",
        "All of it is in `django_jobs.testing`; what for is told in [Test your jobs](../how-to/test-your-jobs.md).",
    ]
    for name in testing._HOMES:
        thing = getattr(testing, name)
        if inspect.isfunction(thing):
            lines += ["", f"## `{name}{called_with(thing, skip=0)}`", "", *prose(thing)]
        elif inspect.isclass(thing):
            facts = ", ".join(f"`{fact}`" for fact in inspect.get_annotations(thing))
            lines += ["", f"## `{name}`", "", *prose(thing), *(["", f"Its facts: {facts}."] if facts else [])]
            lines += methods_of(thing) if name in ("CapturedJobs", "JobsTestMixin", "JobRun") else []
        else:
            lines += ["", f"## `{name}`", "", f"{', '.join(f'`{item}`' for item in thing)}: for `run_jobs(fault=…)`."]
    return "\n".join(lines) + "\n"


def backends_page() -> str:
    """The contract of a backend."""
    from django_jobs import settlement
    from django_jobs.backends import Backend, Promotion, QueueStats, Settled, Supports, Wakeup, WorkerInfo, base
    from django_jobs.runtime import Claim, ErrorRecord, Outcome

    said = attributes_of(Supports)
    lines = [
        "# Backends",
        "",
        "`Jobs.backend(alias)` answers the backend of an alias in `JOBS_BACKENDS`. Workers and commands do all that",
        "they do to jobs by the verbs below, which a program of yours may call too, and a backend of yours must have.",
        "`django_jobs.testing.conformance` has the tests that every backend passes. What is on this page is in",
        "`django_jobs.backends`, but where another module is named.",
        "",
        *prose(base),
        *section("`Backend`", Backend),
        *methods_of(Backend),
        *section("`Supports`", Supports),
        "",
        *head("flag", "default", "what for"),
        *(row(f"`{name}`", f"`{getattr(Supports(), name)}`", said.get(name, "")) for name in Supports.__annotations__),
        *section("`Settled`", Settled),
        "",
        f"{', '.join(f'`{answer.name}`' for answer in Settled)}.",
        *section("`Wakeup`", Wakeup),
        *methods_of(Wakeup),
    ]
    for thing in (WorkerInfo, Promotion, QueueStats, Claim, Outcome, ErrorRecord, settlement.Settlement):
        home = "" if thing.__module__.startswith("django_jobs.backends") else f"{thing.__module__}."
        facts = ", ".join(f"`{name}`" for name in thing.__annotations__)
        lines += ["", f"## `{home}{thing.__name__}`", "", *prose(thing), "", f"Its facts: {facts}."]
    for function in (settlement.conclude, settlement.give_back):
        title = f"{function.__module__}.{function.__name__}{called_with(function, skip=0)}"
        lines += ["", f"## `{title}`", "", *prose(function)]
    return "\n".join(lines) + "\n"


def prose(thing: Any) -> list[str]:
    """A docstring without its examples."""
    text = "\n".join(markdown(thing))
    return re.sub(r"\n*```python\n.*?```", "", text, flags=re.DOTALL).strip().splitlines()


def section(title: str, thing: Any) -> list[str]:
    """A heading, and a docstring."""
    return ["", f"## {title}", "", *markdown(thing)]


def properties_of(cls: type) -> dict[str, str]:
    """The public properties of a class itself, and their docstrings."""
    return {
        name: " ".join(str(member.__doc__).split())
        for name, member in vars(cls).items()
        if isinstance(member, property)
    }


def methods_of(cls: type, *, properties: bool = True) -> Iterator[str]:
    """The public methods and properties of a class itself, each with its docstring."""
    for name, member in vars(cls).items():
        function = member.fget if isinstance(member, property) and properties else getattr(member, "__func__", member)
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        call = "" if isinstance(member, property) else called_with(function)
        yield from ("", f"### `{name}{call}`", "", *markdown(function))


def called_with(function: Callable[..., Any], skip: int = 1) -> str:
    """The parameters of a method, without types; `skip` of them are left out at the start."""
    signature = inspect.signature(function)
    parameters = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    plain = signature.replace(parameters=parameters[skip:], return_annotation=inspect.Signature.empty)
    text = re.sub(r"<class '[\w.]*?(\w+)'>", r"\1", str(plain))
    return re.sub(r"<(?:function|built-in method) .*? at 0x[0-9a-f]+>", "…", text)


def attributes_of(cls: type) -> dict[str, str]:
    """The attributes of a class that have a text below them, and that text."""
    (tree,) = (node for node in ast.parse(inspect.getsource(cls)).body if isinstance(node, ast.ClassDef))
    return {
        attribute.target.id: " ".join(str(ast.literal_eval(text.value)).split())
        for attribute, text in pairwise(tree.body)
        if isinstance(attribute, ast.AnnAssign)
        and isinstance(attribute.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


def markdown(thing: Any) -> list[str]:
    """A docstring as lines of Markdown: its examples become blocks of code."""
    doc = inspect.cleandoc(thing.__doc__)
    lines: list[str] = []
    for paragraph in re.split(r"\n{2,}(?! )", doc):  # what is indented goes on
        prose, *examples = re.split(r"\n{2,}(?=    )", paragraph, maxsplit=1)
        if is_code(paragraph):
            prose, examples = "", [paragraph]
        lines += [*prose.splitlines(), ""] if prose else []
        for example in examples:
            lines += ["```python", *inspect.cleandoc("\n" + example).splitlines(), "```", ""]
    return lines[:-1]


def is_code(text: str) -> bool:
    """Whether a paragraph is an example: it parses, and does something."""
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return False
    return not all(isinstance(s, ast.Expr) and isinstance(s.value, ast.Name) for s in body)


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
    "handlers.md": handlers_page,
    "jobs.md": jobs_page,
    "schedule.md": schedule_page,
    "exceptions-and-signals.md": exceptions_page,
    "backends.md": backends_page,
    "testing.md": testing_page,
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
