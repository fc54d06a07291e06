"""What a coordinator sends to the view is bounded, and is never waited for."""

from __future__ import annotations

import io
import math
from typing import Any

from django_jobs.retry import OutcomeKind
from django_jobs.runtime import ErrorRecord, Outcome
from django_jobs.settlement import Settlement, conclude
from django_jobs.worker.channel import Channel, Port
from django_jobs.worker.console import Running, Standing, Started
from django_jobs.worker.lines import Lines
from django_jobs.worker.view.feed import MOST_ENDED, MOST_RUNNING, Feed
from django_jobs.worker.view.news import News, unpacked
from tests.support.jobs import make_claim

STANDING = Standing("running", 1, 30.0, [Running(0, 1, "id", "q", "h" * 5000, 1, 0.0, math.inf)] * 500)


class Doubtful:
    """Stands in for the view: takes news, has no room for them, or is gone."""

    def __init__(self) -> None:
        self.gone = False
        self.dies = False
        self.has_room = True
        self.taken: list[News] = []

    def send(self, message: Any) -> bool:
        self.gone = self.gone or self.dies
        if self.has_room and not self.gone:
            self.taken.append(unpacked(message))
        return self.has_room and not self.gone

    def trim(self) -> None: ...


def failed() -> Settlement:
    error = ErrorRecord("ValueError", "boom " * 1000)
    return conclude(make_claim("mail.send"), Outcome(OutcomeKind.FAILED, error=error))


def feed() -> tuple[Feed, Doubtful, io.StringIO]:
    view, after = Doubtful(), io.StringIO()
    made = Feed(view, Lines(after))  # type: ignore[arg-type]
    made.started(Started("w", "host", 1, ["default"], 3, "pool", 0.0))
    return made, view, after


def test_what_is_sent_is_bounded() -> None:
    made, view, _ = feed()
    made.settled([failed() for _ in range(500)])
    made.show(STANDING)
    (news,) = view.taken
    assert news.counts == {"dead-lettered": 500}
    assert (len(news.ended), len(news.standing.running)) == (MOST_ENDED, MOST_RUNNING)
    assert max(len(end.why) for end in news.ended) < 200
    assert len(news.standing.running[0].handler) < 200


def test_each_end_is_sent_once_and_not_before_there_is_room() -> None:
    made, view, _ = feed()
    view.has_room = False
    made.settled([failed()])
    made.say("hello")
    made.show(STANDING)
    view.has_room = True
    made.show(STANDING)
    made.show(STANDING)
    assert [(len(news.ended), list(news.said)) for news in view.taken] == [(1, ["hello"]), (0, [])]


def test_when_the_view_is_gone_lines_are_printed() -> None:
    made, view, after = feed()
    made.settled([failed()])
    view.dies = True
    made.show(STANDING)
    made.settled([failed()])
    made.stopping()
    made.empty(["default"])
    made.drained()
    made.stopped(2)
    assert [line.split(" - ")[0] for line in after.getvalue().splitlines()] == [
        "[Worker] the view is gone; going on with lines",
        "[dead-lettered] default (attempt 1)",
        "[Worker] stop signal received, finishing current cycle...",
        "[empty] default",
        "[Worker] graceful shutdown complete.",
    ]


def test_a_view_that_reads_nothing_fills_up_and_blocks_nobody() -> None:
    from django_jobs.worker.view.process import View

    channel = Channel()
    view = View.__new__(View)
    view.gone, view._port = False, Port(channel.near)
    sent = 0
    while view.send(("news", "x" * 2000)):
        sent += 1
        assert sent < 100_000
    assert not view.gone
    channel.close()
