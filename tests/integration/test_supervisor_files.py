"""`jobs_supervisor`: files that service managers take, with times that fit the settings."""

from __future__ import annotations

import configparser
import io
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from django_jobs.exceptions import JobsError
from django_jobs.management.units import Service, compose, supervisor, systemd


def printed(*arguments: str) -> str:
    out = io.StringIO()
    call_command("jobs_supervisor", *arguments, stdout=out)
    return out.getvalue()


def parsed(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(comment_prefixes=("#", ";"), inline_comment_prefixes=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return parser


def service(**given: object) -> Service:
    fields: dict[str, object] = {"name": "site-jobs", "folder": "/srv/site", "user": "www", "program": ["python"]}
    fields |= {"settings_module": "site.settings", "arguments": [], "workers": 1, "stop_wait": 45}
    return Service(**{**fields, **given})  # type: ignore[arg-type]


def test_a_unit_for_each_queue() -> None:
    unit = parsed(printed("--name", "shop"))
    assert unit["Service"]["ExecStart"] == f"{sys.executable} {Path.cwd()}/manage.py jobs_work %i"
    assert unit["Service"]["KillMode"] == "mixed"
    assert unit["Service"]["Restart"] == "always"
    assert unit["Service"]["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert unit["Service"]["WorkingDirectory"] == str(Path.cwd())
    assert unit["Service"]["Environment"] == "DJANGO_SETTINGS_MODULE=testproject.settings"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"


def test_the_times_fit_the_settings(settings) -> None:
    settings.JOBS_SHUTDOWN_TIMEOUT, settings.JOBS_KILL_GRACE = 100.5, 7
    assert parsed(printed())["Service"]["TimeoutStopSec"] == "118"
    assert parsed(printed("--kind", "supervisor"))["program:" + Path.cwd().name + "-jobs"]["stopwaitsecs"] == "118"
    assert "stop_grace_period: 118s" in printed("--kind", "compose")
    assert parsed(printed("--stop-wait", "200"))["Service"]["TimeoutStopSec"] == "200"
    with pytest.raises(CommandError, match=r"more than .* together: 107.5 seconds") as caught:
        printed("--stop-wait", "107")
    assert caught.value.returncode == 2


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        (("--queue", "mail:3,reports", "--queue", "x.*"), ["mail:3", "reports", "x.*"]),
        (("--all",), ["--all"]),
    ],
)
def test_what_it_is_to_run(arguments: tuple[str, ...], runs: list[str]) -> None:
    unit = parsed(printed(*arguments))
    assert shlex.split(unit["Service"]["ExecStart"])[2:] == ["jobs_work", *runs]
    program = parsed(printed("--name", "a", "--kind", "supervisor", "--workers", "3", *arguments))["program:a"]
    assert shlex.split(program["command"])[2:] == ["jobs_work", *runs]
    assert program["numprocs"] == "3"


@pytest.mark.parametrize("arguments", [("--all", "--queue", "mail"), ("--name", "a b"), ("--queue", "Mail")])
def test_usage(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as caught:
        printed(*arguments)
    assert "Traceback" not in str(caught.value)


def test_what_means_something_to_the_service_manager_is_escaped() -> None:
    odd = service(folder="/srv/100% site", program=["/opt/my venv/python"], arguments=["mail"])
    unit = parsed(systemd(odd))
    assert unit["Service"]["WorkingDirectory"] == "/srv/100%% site"
    assert unit["Service"]["ExecStart"] == '"/opt/my venv/python" jobs_work mail'
    program = parsed(supervisor(odd))["program:site-jobs"]
    assert program["directory"] == "/srv/100%% site"
    assert program["command"] == "'/opt/my venv/python' jobs_work mail"
    assert '"jobs_work", "a$$b"' in compose(service(arguments=["a$b"]))


@pytest.mark.parametrize("odd", [{"folder": "/srv/site #2"}, {"program": ["/opt/my ;venv/python"]}])
def test_what_supervisor_would_take_for_a_comment_is_refused(odd: dict[str, object]) -> None:
    """Its files know no way to write that."""
    with pytest.raises(JobsError, match="supervisor takes"):
        supervisor(service(**odd))


def test_each_process_of_supervisor_has_its_own_log_as_each_moves_it_on() -> None:
    assert parsed(supervisor(service()))["program:site-jobs"]["stdout_logfile"] == "/var/log/site-jobs.log"
    several = parsed(supervisor(service(workers=2)))["program:site-jobs"]
    assert several["stdout_logfile"] == "/var/log/site-jobs_%(process_num)02d.log"


def test_a_folder_whose_name_no_service_can_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "サイト"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert printed("--all").startswith("# /etc/systemd/system/site-jobs.service\n")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
@pytest.mark.parametrize(
    ("arguments", "file", "unit"),
    [
        ((), "shop@.service", "shop@mail.service"),
        (("--all",), "shop.service", "shop.service"),
        (("--queue", "mail.*", "--workers", "3"), "shop@.service", "shop@1.service"),
    ],
)
def test_systemd_takes_it(tmp_path: Path, arguments: tuple[str, ...], file: str, unit: str) -> None:
    text = printed("--name", "shop", *arguments)
    assert text.startswith(f"# /etc/systemd/system/{file}\n")
    (tmp_path / file).write_text(text)
    if unit != file:
        (tmp_path / unit).symlink_to(tmp_path / file)
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit)], capture_output=True, text=True, check=False
    )
    complaints = [line for line in verified.stderr.splitlines() if "shop" in line]
    assert (verified.returncode, complaints) == (0, [])
