"""`jobs_cronjob_test`: a cron expression, looked at."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command

from tests.support.worker import ROOT


def said(*arguments: str) -> list[str]:
    out = io.StringIO()
    call_command("jobs_cronjob_test", *arguments, stdout=out, no_color=True)
    return out.getvalue().splitlines()


def test_a_valid_one() -> None:
    lines = said("30 2 * * *", "--timezone", "Europe/Berlin", "--after", "2026-03-28T12:00+01:00", "--count", "2")
    assert lines == [
        "30 2 * * * is valid.",
        "At 02:30",
        "Next, in Europe/Berlin:",
        "  2026-03-29 03:00:00 +0200  (the clock jumps over 02:30)",
        "  2026-03-30 02:30:00 +0200",
    ]


def test_five_are_printed_in_the_zone_of_the_schedule(settings) -> None:
    settings.JOBS_SCHEDULE_TIMEZONE = "Asia/Tokyo"
    lines = said("@hourly")
    assert lines[-6] == "Next, in Asia/Tokyo:"
    assert all(line.endswith(":00:00 +0900") for line in lines[-5:])


def test_without_quotes() -> None:
    assert said("0", "0", "1", "1", "*")[0] == "0 0 1 1 * is valid."


def test_seconds_and_both_days() -> None:
    assert said("* * * * * */10", "--seconds")[1] == "Every 10 seconds"
    lines = said("0 0 13 * 5", "--both-days", "--timezone", "UTC", "--after", "2026-01-01T00:00Z", "--count", "1")
    assert lines[1:] == ["Next, in UTC:", "  2026-02-13 00:00:00 +0000"]


@pytest.mark.parametrize("arguments", [["61 * * * *"], ["* * * * *", "--timezone", "Nowhere"], ["0 0 30 2 *"]])
def test_one_that_does_not_hold(arguments: list[str]) -> None:
    with pytest.raises(CommandError) as caught:
        said(*arguments)
    assert caught.value.returncode == 1


def test_a_count_of_none() -> None:
    with pytest.raises(CommandError, match="not a whole number from 1 to "):
        said("* * * * *", "--count", "0")


def test_json() -> None:
    arguments = [
        "*/30 2 * * *",
        "--timezone",
        "Europe/Berlin",
        "--after",
        "2026-10-24T10:00Z",
        "--json",
        "--count",
        "3",
    ]
    data = json.loads("\n".join(said(*arguments)))
    assert data["valid"] is True
    assert (data["expression"], data["words"]) == ("*/30 2 * * *", "Every 30 minutes, between 02:00 and 02:59")
    assert [(tick["at"], tick["local"], tick["edge"]) for tick in data["next"]] == [
        ("2026-10-25T00:00:00+00:00", "2026-10-25T02:00:00+02:00", "first"),
        ("2026-10-25T00:30:00+00:00", "2026-10-25T02:30:00+02:00", "first"),
        ("2026-10-25T01:00:00+00:00", "2026-10-25T02:00:00+01:00", "second"),
    ]


def test_json_of_one_that_does_not_hold() -> None:
    out = io.StringIO()
    with pytest.raises(CommandError, match="has 1 fields"):
        call_command("jobs_cronjob_test", "x", "--json", stdout=out)
    data = json.loads(out.getvalue())
    assert (data["valid"], data["expression"]) == (False, "x")
    assert "has 1 fields" in data["error"]


def test_a_reader_who_has_seen_enough_is_no_error() -> None:
    command = [sys.executable, "manage.py", "jobs_cronjob_test", "* * * * *", "--count", "10000"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "* * * * * is valid.\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 141


def test_what_a_shell_makes_of_an_expression_without_quotes() -> None:
    with pytest.raises(CommandError, match=r"has 8 fields\. .* Put the expression in quotes\.$"):
        said(*["0", "2", "LICENSE", "README.md", "tests", "docs", "tests", "5"])
