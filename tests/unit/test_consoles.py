"""What a worker prints: lines for people, JSON for machines."""

from __future__ import annotations

import fcntl
import io
import json
import math
import os
import subprocess
import sys
from typing import Any

import pytest

from django_jobs.retry import Facts, OutcomeKind, decide
from django_jobs.runtime import Claim, ErrorRecord, Outcome
from django_jobs.settlement import Settlement, conclude, give_back
from django_jobs.worker.console import WORDS, Standing, Started, is_coloured
from django_jobs.worker.json_lines import JsonLines
from django_jobs.worker.lines import DETAILED, TRACED, Lines
from django_jobs.worker.shows import console_for
from tests.support.jobs import make_claim
from tests.support.worker import ROOT

ID = "01a210d8-9c9b-7db2-8ba6-cbfa3a97f4a9"
STARTED = Started("w-1", "host", 4711, ["default", "mail"], 3, "pool", 0.0)


def claim(**given: Any) -> Claim:
    return make_claim("mail.send", id=ID)._replace(worker_id="w-1", **given)


def failed(message: str = "boom", kind: OutcomeKind = OutcomeKind.RETRY, class_path: str = "ValueError") -> Settlement:
    return conclude(claim(), Outcome(kind, error=ErrorRecord(class_path, message, "Traceback\n  line")))


def printed(*settlements: Settlement, detail: int = 1, coloured: bool = False) -> str:
    stream = io.StringIO()
    Lines(stream, detail=detail, coloured=coloured).settled(settlements)
    return stream.getvalue()


def test_the_lines_of_a_worker() -> None:
    stream = io.StringIO()
    console = Lines(stream)
    console.started(STARTED)
    console.settled([conclude(claim(), Outcome(OutcomeKind.COMPLETED))])
    console.empty(["default"])
    console.stopping()
    console.drained()
    console.stopped(1)
    assert stream.getvalue().splitlines() == [
        "[Worker] processing queue 'default'",
        "[Worker] processing queue 'mail'",
        "[acked] default (attempt 1)",
        "[empty] default",
        "[Worker] stop signal received, finishing current cycle...",
        "[Worker] graceful shutdown complete.",
    ]


def test_a_wrong_signature_is_told_in_these_words() -> None:
    wrong = failed("the signature does not match", OutcomeKind.REJECTED, "django_jobs.exceptions.BadSignature")
    assert printed(wrong) == "[rejected] default (attempt 0) - invalid signature\n"


def test_more_is_told_with_more_detail() -> None:
    done = conclude(claim(attempt=2), Outcome(OutcomeKind.COMPLETED, seconds=0.0123))
    assert printed(done, detail=0) == ""
    assert printed(failed(), detail=0) == "[dead-lettered] default (attempt 1) - dead: boom\n"
    assert printed(done, detail=DETAILED) == f"[acked] default (attempt 2) mail.send {ID} 12.3 ms\n"
    assert printed(failed(), detail=TRACED).splitlines()[1:] == ["Traceback", "  line"]


def test_one_job_is_one_line_whatever_it_holds() -> None:
    forged = failed("fi\u202erst\nsecond")._replace(claim=claim(handler="a\nb\x1b[2J"))
    line = printed(forged, detail=DETAILED)
    assert line.count("\n") == 1
    assert "\x1b" not in line
    assert "\u202e" not in line


def test_colours_are_for_terminals() -> None:
    assert printed(give_back(claim()), coloured=True) == "[\x1b[35mreleased\x1b[0m] default (attempt 1)\n"
    pipe = io.StringIO()
    assert not is_coloured(pipe, {"TERM": "xterm"})
    assert is_coloured(pipe, {"FORCE_COLOR": "1"})
    assert not is_coloured(pipe, {"FORCE_COLOR": "1", "NO_COLOR": "1"})
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    assert is_coloured(terminal, {"TERM": "xterm"})
    assert not is_coloured(terminal, {"TERM": "dumb"})
    assert not is_coloured(terminal, {"TERM": "xterm", "NO_COLOR": "1"})


@pytest.mark.parametrize("kind", OutcomeKind)
@pytest.mark.parametrize("facts", [Facts(), Facts(max_attempts=3), Facts(suspect=True, crashes=2), Facts(snoozes=9999)])
def test_every_word_is_known(kind: OutcomeKind, facts: Facts) -> None:
    assert decide(facts, kind).word in WORDS


def test_every_word_is_in_the_documentation() -> None:
    page = (ROOT / "docs/how-to/watch-workers.md").read_text("utf-8")
    assert [word for word in WORDS if f"`{word}`" not in page] == []


def test_json_has_a_line_for_each_event() -> None:
    stream = io.StringIO()
    console = JsonLines(stream)
    console.started(STARTED)
    console.settled([failed(), conclude(claim(), Outcome(OutcomeKind.SNOOZED, retry_after=60.0))])
    console.empty(["mail"])
    console.stopping()
    console.say("hello")
    console.stopped(2)
    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {row.pop("worker") for row in rows} == {"w-1"}
    assert all(row.pop("at").endswith("+00:00") for row in rows)
    about = {"queue": "default", "handler": "mail.send", "id": ID, "attempt": 1, "seconds": 0.0}
    assert rows == [
        {
            "event": "started",
            "host": "host",
            "pid": 4711,
            "queues": ["default", "mail"],
            "children": 3,
            "isolation": "pool",
        },
        {
            "event": "settled",
            "outcome": "dead-lettered",
            **about,
            "reason": "dead",
            "error": "ValueError",
            "message": "boom",
        },
        {"event": "settled", "outcome": "snoozed", **about, "delay": 60.0},
        {"event": "empty", "outcome": "empty", "queue": "mail"},
        {"event": "stopping"},
        {"event": "message", "text": "hello"},
        {"event": "stopped", "settled": 2},
    ]


def test_a_reader_that_leaves_is_no_error() -> None:
    """Neither while the work goes on, nor at the exit of Python, which flushes what is left."""
    code = (
        "from django_jobs.worker.json_lines import JsonLines\n"
        "console = JsonLines()\n"
        "for _ in range(10_000): console.say('x' * 100)\n"
        "print('to nobody')"
    )
    near, far = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=far, stderr=subprocess.PIPE, text=True)
    os.close(far)
    assert os.read(near, 10)
    os.close(near)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


STANDING = Standing("running", 0, 0.0, ())


@pytest.mark.parametrize("closes", [False, True])
def test_what_a_reader_does_not_read_is_held_and_more_is_left_out(
    monkeypatch: pytest.MonkeyPatch, closes: bool
) -> None:
    monkeypatch.setattr("django_jobs.worker.output.MOST_HELD", 10_000)
    near, far = os.pipe()
    with open(near, encoding="utf-8") as reader, open(far, "w", encoding="utf-8") as stream:
        fcntl.fcntl(near, fcntl.F_SETPIPE_SZ, 4096)
        console = Lines(stream, patient=True)
        for n in range(1000):
            console.say(f"{n} {'x' * 90}")
        assert console.due_at < math.inf
        if closes:
            reader.close()
            console.show(STANDING)
            assert (console.closed, console.due_at) == (True, math.inf)
            return
        os.set_blocking(near, False)
        read = ""
        while console.due_at < math.inf:
            read += reader.read()
            console.show(STANDING)
        read += reader.read()
        console.say("the end")
        console.stopped(0)
        seen = (read + reader.read()).splitlines()
    told = [int(line.split()[1]) for line in seen[:-2]]
    assert told == list(range(len(told)))
    assert seen[-2:] == [f"[Worker] {1000 - len(told)} lines are left out here", "[Worker] the end"]
    assert 90 < len(told) < 160


def test_a_stream_that_can_not_say_a_character_is_told_the_rest() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Lines(stream).say("naïve")
    Lines(stream).say("more")
    assert stream.buffer.getvalue() == b"[Worker] na\\xefve\n[Worker] more\n"  # type: ignore[attr-defined]


def test_where_no_process_can_be_forked_the_view_is_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise OSError("no more processes")

    monkeypatch.setattr("django_jobs.worker.shows.has_terminal", lambda: True)
    monkeypatch.setattr("os.fork", refuse)
    with console_for("tui") as console:
        assert isinstance(console, Lines)


def test_where_rich_is_missing_the_view_is_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_jobs.worker.shows.has_terminal", lambda: True)
    monkeypatch.setattr("django_jobs.worker.shows.has_rich", lambda: False)
    with console_for("tui") as console:
        assert isinstance(console, Lines)


@pytest.mark.parametrize(
    ("show", "kind"), [("lines", "Lines"), ("json", "JsonLines"), ("quiet", "Console"), ("tui", "Lines")]
)
def test_without_a_terminal_the_view_is_lines(show: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with console_for(show) as console:
        assert type(console).__name__ == kind
