"""What the handler `shell` takes for a program, and which it lets through."""

from __future__ import annotations

import os

import pytest

from django_jobs import Jobs
from django_jobs.exceptions import InvalidDefinition
from django_jobs.handlers.shell import is_allowed, locate, parse_program
from tests.support.jobs import make_claim, run


@pytest.fixture(autouse=True)
def _let_in(settings) -> None:
    settings.JOBS_BUILTINS = ["shell"]


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder of programs that PATH names through a link: `tool`, and `other`, which is a link to it."""
    (tmp_path / "real").mkdir()
    tool = tmp_path / "real" / "tool"
    tool.write_text("#!/bin/sh\necho $0\n")
    tool.chmod(0o755)
    (tmp_path / "real" / "other").symlink_to("tool")
    (tmp_path / "real" / "plain").write_text("no program")
    (tmp_path / "linked").symlink_to("real")
    monkeypatch.setenv("PATH", f"{tmp_path / 'linked'}:{os.environ['PATH']}")
    return tmp_path


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("tool", ["tool"]),
        ("tool --month=06 'two words'", ["tool", "--month=06", "two words"]),
        (["tool", "a b", 5, 0.5, ">"], ["tool", "a b", "5", "0.5", ">"]),
        (("tool", "*"), ["tool", "*"]),
    ],
)
def test_a_program_is_given_as_a_list_or_a_text(payload, expected) -> None:
    assert parse_program(payload) == expected


@pytest.mark.parametrize(
    "payload",
    [
        *(None, "", "  ", "'open", 5, [], [""], ["tool", None], ["tool", True], ["tool", ["x"]], ["tool", "a\0b"]),
        *({"argv": ["tool"]}, "tool | other", "tool > file", "tool && other", "tool 2>&1"),
    ],
)
def test_what_is_none_is_refused_at_the_enqueue_and_fails_for_good_in_the_worker(payload) -> None:
    with pytest.raises(InvalidDefinition, match=r"^payload: "):
        Jobs.push("shell", payload)
    assert run(make_claim("shell", payload)).kind == "failed"


def test_a_program_is_where_its_path_or_path_leads(programs) -> None:
    path = str(programs / "real" / "tool")
    assert locate("tool") == path
    assert locate(path) == path
    assert locate(str(programs / "linked" / "tool")) == path
    assert locate(str(programs / "real" / ".." / "real" / "tool")) == path


def test_what_is_no_program_is_nowhere(programs, monkeypatch) -> None:
    monkeypatch.chdir(programs)
    for name in ("plain", "nothing", "real/tool", "./real/tool", "..", "", str(programs / "real"), "/"):
        assert locate(name) is None, name
    monkeypatch.setenv("PATH", "real:.")
    assert locate("tool") is None, "PATH leads to wherever the process happens to be"


def test_nothing_is_allowed_until_it_is_named(programs, settings) -> None:
    assert not is_allowed("tool")
    settings.JOBS_SHELL_ALLOWED = ["tool"]
    assert is_allowed("tool")
    assert is_allowed(str(programs / "linked" / "tool"))
    settings.JOBS_SHELL_ALLOWED = [str(programs / "real" / "tool")]
    assert is_allowed("tool")
    for name in ("other", str(programs / "real" / "other"), "sh", "to", "nothing"):
        assert not is_allowed(name), name
    settings.JOBS_SHELL_ALLOWED = "tool other"
    assert not is_allowed("tool"), "one text is no list"


def test_what_is_not_allowed_does_not_run(programs, settings) -> None:
    settings.JOBS_SHELL_ALLOWED = ["other"]
    outcome = run(make_claim("shell", ["tool"]))
    assert (outcome.kind, outcome.result) == ("failed", "")
    assert outcome.error.message == "the program 'tool' is not allowed. Add it to JOBS_SHELL_ALLOWED."
    settings.JOBS_BUILTINS = []
    assert run(make_claim("shell", ["other"])).kind == "handler_missing"


def test_one_that_is_not_here_may_be_on_another_host(programs, settings) -> None:
    settings.JOBS_SHELL_ALLOWED = ["nothing"]
    outcome = run(make_claim("shell", ["nothing"]))
    assert outcome.kind == "retry"
    assert outcome.error.message == "the program 'nothing' is not there, or is not to be executed."


def test_it_is_called_by_the_path_that_was_found(programs, settings) -> None:
    settings.JOBS_SHELL_ALLOWED = ["other"]
    outcome = run(make_claim("shell", "other"))
    assert outcome.result == f'"{programs / "real" / "other"}\\n"'
