"""The live view without a terminal: what it knows from news, and what it draws of it."""

from __future__ import annotations

import io
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from django_jobs.worker.console import Running, Standing, Started
from django_jobs.worker.view.board import Board, Picture
from django_jobs.worker.view.drawing import draw
from django_jobs.worker.view.figures import ASCII, UNICODE, Glyphs, plain, short, span, sparkline
from django_jobs.worker.view.news import Ended, News, packed, unpacked

RECORDED = Path(__file__).parent / "recorded"
ID = "01a210d8-9c9b-7db2-8ba6-cbfa3a97f4a9"
NOON = 1_767_268_800.0


def job(slot: int = 0, started: float = 90.0, deadline: float = 390.0, **given: Any) -> Running:
    return Running(slot, 500 + slot, ID, "default", "reports.monthly", 1, started, deadline)._replace(**given)


def news(
    at: float = 100.0,
    counts: dict[str, int] | None = None,
    *,
    pid: int = 4711,
    queues: Sequence[str] = ("default", "mail"),
    state: str = "running",
    running: Sequence[Running] = (),
    ended: Sequence[Ended] = (),
    said: Sequence[str] = (),
    waiting: dict[str, int] | None = None,
    isolation: str = "pool",
) -> News:
    worker = Started("w", "host.example", pid, queues, 3, isolation, 40.0)
    standing = Standing(state, 5, at + 27, running)
    return News(at, worker, standing, counts or {}, waiting or {}, ended, said)


# -- what it knows ------------------------------------------------------------------------------------------------


def test_before_any_news_it_starts() -> None:
    picture = Board().picture(5.0)
    assert (picture.state, picture.workers, picture.rate) == ("starting", [], 0.0)


def test_news_survive_the_socket() -> None:
    told = news(
        counts={"acked": 3}, running=[job()], ended=[Ended(1.0, "acked", "q", "h", ID, 1, 0.1, "")], said=["so"]
    )
    assert packed(unpacked(packed(told))) == packed(told)
    assert unpacked(packed(told)).standing.running == [job()]


def test_a_worker_is_drawn_as_it_stands_now() -> None:
    board = Board()
    board.take(news(100.0, {"acked": 3, "requeued": 1}))
    (worker,) = board.picture(102.0).workers
    assert (worker.uptime, worker.lease, worker.settled, worker.in_hand) == (62.0, 25.0, 4, 5)
    assert worker.state == "running"


def test_a_worker_that_says_nothing_is_silent_unless_its_job_keeps_it_from_it() -> None:
    for isolation, state in [("pool", "silent"), ("inline", "running")]:
        board = Board()
        board.take(news(100.0, isolation=isolation))
        assert board.picture(104.0).state == "running"
        assert board.picture(106.0).state == state


def test_slots_hold_what_runs_and_for_how_long() -> None:
    board = Board()
    board.take(news(100.0, running=[job(1, started=98.0), job(2, deadline=math.inf)]))
    first, second, third = board.picture(101.0).slots
    assert (first.number, first.handler) == (1, "")
    assert (second.number, second.handler, second.seconds, second.limit) == (2, "reports.monthly", 3.0, 292.0)
    assert (third.seconds, third.limit) == (11.0, None)


def test_a_child_that_runs_several_jobs_has_a_line_for_each() -> None:
    board = Board()
    board.take(news(100.0, running=[job(0), job(0, handler="other")]))
    assert [(s.number, s.handler) for s in board.picture(100.0).slots] == [
        (1, "reports.monthly"),
        (1, "other"),
        (2, ""),
        (3, ""),
    ]


def test_rates_are_of_the_last_whole_seconds() -> None:
    board = Board()
    for second in range(20):
        board.take(news(100.0 + second, {"acked": 10 * (second + 1), "requeued": second // 2}))
    picture = board.picture(120.0)
    acked, requeued = picture.counts
    assert (acked.word, acked.total, acked.rate) == ("acked", 200, 10.0)
    assert (requeued.total, requeued.rate) == (9, 0.5)
    assert picture.rate == 10.5
    assert picture.per_second[-3:] == [10, 11, 10]


def test_news_that_were_lost_lose_no_counts_and_make_no_peak() -> None:
    board = Board()
    board.take(news(100.0, {"acked": 0}))
    board.take(news(110.0, {"acked": 100}))  # a stuck view has missed ten seconds
    assert board.picture(111.0).per_second[-10:] == [10.0] * 10


def test_a_worker_that_registers_anew_is_one_worker() -> None:
    board = Board()
    board.take(news(100.0, {"acked": 5}))
    board.take(
        news(101.0, {"acked": 6})._replace(worker=Started("w2", "host.example", 4711, ["default"], 3, "pool", 40.0))
    )
    picture = board.picture(102.0)
    assert [worker.settled for worker in picture.workers] == [6]
    assert sum(picture.per_second) == 6


def test_several_workers_are_one_picture() -> None:
    board = Board()
    board.take(news(100.0, {"acked": 5}, pid=1, queues=["default"], waiting={"default": 2}))
    board.take(news(100.5, {"acked": 7}, pid=2, queues=["mail"], waiting={"mail": 3}, state="draining"))
    picture = board.picture(101.0)
    assert [worker.pid for worker in picture.workers] == [1, 2]
    assert picture.counts[0].total == 12
    assert picture.waiting == {"default": 2, "mail": 3}
    assert picture.state == "draining"


def test_a_worker_that_was_started_again_takes_the_place_of_the_one_before() -> None:
    """As a supervisor does it: a new process, for the same queues."""
    board = Board()
    board.take(news(100.0, {"acked": 5}, pid=1, queues=["mail"]))
    board.take(news(101.0, {"acked": 1}, pid=3, queues=["default"]))
    again = Started("w2", "host.example", 2, ["mail"], 3, "pool", 102.0)
    board.take(news(103.0, {"acked": 2}, pid=2)._replace(worker=again))
    picture = board.picture(104.0)
    assert sorted(worker.pid for worker in picture.workers) == [2, 3]
    assert picture.counts[0].total == 8, "what it had done stays counted"


def test_a_worker_that_has_stopped_is_drawn_no_more_and_stays_counted() -> None:
    board = Board()
    board.take(news(100.0, {"acked": 5}, pid=1, queues=["mail"]))
    board.take(news(101.0, {"acked": 1}, pid=2, queues=["default"], state="stopped"))
    picture = board.picture(102.0)
    assert [worker.pid for worker in picture.workers] == [1]
    assert (len(picture.slots), picture.counts[0].total) == (3, 6)


def test_what_is_given_back_is_no_throughput() -> None:
    board = Board()
    board.take(news(100.0, {}))
    board.take(news(101.0, {"acked": 10, "released": 90}))
    picture = board.picture(102.0)
    assert (picture.rate, max(picture.per_second), picture.workers[0].settled) == (5.0, 10, 10)
    assert [(count.word, count.total) for count in picture.counts] == [("acked", 10), ("released", 90)]


def test_what_ended_is_kept_in_its_order_and_within_bounds() -> None:
    board = Board()
    for n in range(30):
        board.take(news(100.0 + n, ended=[Ended(n + m / 10, "acked", "q", "h", ID, 1, 0.1, "") for m in range(10)]))
    ended = board.picture(131.0).ended
    assert len(ended) == 100
    assert [end.at for end in ended[:2]] == [29.9, 29.8]


# -- how it is drawn ----------------------------------------------------------------------------------------------


def drawn(picture: Picture, width: int, height: int, glyphs: Glyphs = UNICODE, *, coloured: bool = False) -> str:
    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        height=height,
        force_terminal=coloured,
        no_color=not coloured,
        highlight=False,
        _environ={},
    )
    console.print(draw(picture, width, height, glyphs), end="")
    return file.getvalue()


def busy() -> Picture:
    board = Board(output=["WARNING django_jobs.worker: REQUEUED mail.send", "\x1b[31mred\x1b[0m and\tmore"])
    for second in range(61):
        counts = {"acked": second * (second % 7) * 40, "requeued": second // 5, "dead-lettered": second // 20}
        board.take(news(100.0 + second, {"acked": 0} if second == 0 else counts))
    ended = [
        Ended(NOON, "acked", "default", "reports.monthly", ID, 1, 12.5, ""),
        Ended(NOON + 1, "requeued", "mail", "mail.send", ID, 2, 0.034, "SMTP says: try again later"),
        Ended(
            NOON + 2, "timed-out", "default", "a.handler.with.a.name.that.goes.on.and.on", ID, 1, 301.0, "time is up"
        ),
        Ended(NOON + 3, "dead-lettered", "default", "日本語.handler", ID, 3, 0.5, "dead: \x1b[2Jboom\nand more"),
    ]
    running = [job(0, started=160.9), job(1, started=150.0, deadline=162.0, attempt=2, handler="mail.send")]
    board.take(
        news(161.0, {"acked": 9600, "requeued": 12, "dead-lettered": 3}, running=running, ended=ended)._replace(
            waiting={"default": 10_001, "mail": 12}
        )
    )
    return board.picture(161.4)


def several() -> Picture:
    board = Board()
    for n, (queue, state) in enumerate([("default", "running"), ("mail", "draining"), ("reports.nightly", "no store")]):
        board.take(news(100.0, {"acked": n}, pid=n + 1, queues=[queue], state=state, running=[job(0, queue=queue)]))
    return board.picture(101.0)


PICTURES = {"busy": busy, "several": several, "first": lambda: Board().picture(1.0)}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("width", [120, 80, 60, 40])
@pytest.mark.parametrize("name", PICTURES)
def test_it_draws_what_was_recorded(name: str, width: int) -> None:
    """After a change that is meant, run it with JOBS_RECORD=1, and look at the difference."""
    text = "\n".join(line.rstrip() for line in drawn(PICTURES[name](), width, 28).splitlines()) + "\n"
    file = RECORDED / f"view-{name}-{width}.txt"
    if os.environ.get("JOBS_RECORD"):
        file.write_text(text, "utf-8")
    assert text == file.read_text("utf-8")


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("height", [6, 8, 12, 24, 60])
@pytest.mark.parametrize("width", [20, 40, 69, 70, 99, 100, 200])
def test_it_never_leaves_the_screen(name: str, width: int, height: int) -> None:
    lines = drawn(PICTURES[name](), width, height).removesuffix("\n").split("\n")
    assert len(lines) <= height
    measure = Console(width=500, _environ={})
    assert max(measure.measure(line).maximum for line in lines) <= width


@pytest.mark.parametrize("width", [50, 80])
def test_a_low_terminal_shows_the_slots_that_are_busy(width: int) -> None:
    board = Board()
    worker = Started("w", "host.example", 1, ["default"], 12, "pool", 40.0)
    board.take(News(100.0, worker, Standing("running", 1, 127.0, [job(slot=11)]), {}, {}, (), ()))
    text = drawn(board.picture(101.0), width, 16)
    assert "more" in text
    assert "12 reports.monthly" in text


def test_nothing_of_a_job_moves_the_cursor() -> None:
    text = drawn(busy(), 120, 40)
    assert "\x1b" not in text
    assert plain("a\u202eb\u2066c") == "abc"
    assert plain("a\x1b[2Jb\x1b]0;title\x07c\rd\n\x9b1m") == "ab0;titlecd1m"


def test_a_terminal_without_unicode_gets_none() -> None:
    board = Board()
    board.take(news(100.0, {"acked": 5}, running=[job()]))
    assert drawn(board.picture(102.0), 80, 24, ASCII).isascii()


def test_colours_say_what_words_say() -> None:
    assert "\x1b[31mdead-lettered" in drawn(busy(), 120, 40, coloured=True)


def test_what_is_dim_dims_nothing_beside_it() -> None:
    line = next(line for line in drawn(busy(), 120, 40, coloured=True).splitlines() if "reports.monthly" in line)
    assert "\x1b[2m   1 \x1b[0mreports.monthly" in line
    assert "\x1b[32macked" in line


def test_a_sparkline_is_as_wide_as_it_is_told() -> None:
    assert sparkline([], 4) == "    "
    assert sparkline([0, 1, 8], 5) == "   ▂█"
    assert sparkline(range(100), 3) == "███"
    assert sparkline([1], 0) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "12 ms"),
        (4.25, "4.2 s"),
        (12.9, "12 s"),
        (192, "3m12s"),
        (7500, "2h05m"),
        (90_000, "1d01h"),
    ],
)
def test_times_are_short(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_numbers_are_short() -> None:
    assert [short(n) for n in (0, 9999, 10_000, 123_456, 12_345_678)] == ["0", "9,999", "10k", "123k", "12M"]
