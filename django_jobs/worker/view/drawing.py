"""From a picture to what a terminal shows, with rich: lines that are neither wider nor more than the terminal is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from django.utils.translation import gettext as _
from rich.console import Group
from rich.text import Text

from ..console import MOST_COUNTED, WORDS
from .board import Count, Picture, Slot, Worker
from .figures import UNICODE, Glyphs, per_second, plain, short, span, sparkline
from .news import Ended

NARROW = 70  # columns below which there is one column
ROOMY = 100  # from here on there is room for ids
VERY_ROOMY = 140  # and from here on for ids beside errors
SIDE = 34  # columns of the numbers beside the slots
MOST_OUTPUT = 5
RECENT_LEAST = 3
LOW = 12  # lines below which the slots leave no room for what is recent
STATES = {
    "running": "green",
    "draining": "yellow",
    "starting": "cyan",
    "no store": "red",
    "silent": "red",
}
STATE_WORDS = {"no store": "the store is away", "silent": "no word from it"}


def draw(picture: Picture, width: int, height: int, glyphs: Glyphs = UNICODE) -> Group:
    """The whole screen: `height` lines of at most `width` cells."""
    return _Sheet(picture, width, height, glyphs).drawn()


@dataclass(frozen=True, slots=True)
class _Sheet:
    picture: Picture
    width: int
    height: int
    glyphs: Glyphs

    @property
    def narrow(self) -> bool:
        return self.width < NARROW

    def drawn(self) -> Group:
        """What matters most keeps its place where the terminal is low: the head, the slots, what just happened."""
        lines = [*self.head(), *self.throughput()]
        foot = self.foot()
        room = self.height - len(lines) - len(foot)
        spare = RECENT_LEAST + 2 if room >= LOW else 0
        middle = self.below(room - spare) if self.narrow else self.beside(room - spare)
        output = self.output()
        if room - len(middle) - len(output) < RECENT_LEAST + 2:
            output = []
        room -= len(middle) + len(output)
        recent = self.recent(room)
        blank = [Text("")] * (room - len(recent))
        return Group(*[*lines, *middle, *recent, *blank, *output, *foot][: self.height])

    def below(self, most: int) -> list[Text]:
        """Slots, and below them the numbers in short."""
        numbers = [Text(""), *self.in_short(), Text("")]
        return [*self.slots(max(most - len(numbers), 2)), *numbers]

    def beside(self, most: int) -> list[Text]:
        """Slots, and beside them the numbers."""
        numbers = self.numbers()
        tall = min(max(len(self.picture.slots) + 1, len(numbers)), max(most, 2))
        lines = []
        for left, right in zip_longest(self.slots(tall), self.cut(numbers, tall)):
            line = Text("") if left is None else left.copy()
            line.no_wrap = True
            line.pad_right(self.width - SIDE - line.cell_len)
            lines.append(line if right is None else line.append_text(right))
        return lines

    # -- the parts ------------------------------------------------------------------------------------------------

    def head(self) -> list[Text]:
        workers = self.picture.workers
        if not workers:
            return [self.state_line("starting", ""), Text("")]
        if len(workers) > 1:
            return [*self.of_several(workers), Text("")]
        (worker,) = workers
        queues = ", ".join(worker.queues)
        up = f"up {span(worker.uptime)}"
        lease = f"lease {span(worker.lease)}"
        between = f" {self.glyphs.between} "
        about = [
            f"{worker.host}",
            f"pid {worker.pid}",
            f"{worker.isolation} of {worker.children}" if worker.children > 1 else worker.isolation,
        ]
        if self.narrow:
            facts = between.join([f"pid {worker.pid}", up, lease])
            return [self.state_line(worker.state, queues), self.dim(f"  {facts}"), Text("")]
        first = self.apart(self.state_line(worker.state, queues), Text().append(up + between + lease, style="dim"))
        told = self.apart(
            self.dim(f"  {between.join(about)}"),
            Text().append(f"{worker.settled:,} settled{between}{worker.in_hand:,} in hand", style="dim"),
        )
        return [first, told, Text("")]

    def of_several(self, workers: Sequence[Worker]) -> list[Text]:
        between = f" {self.glyphs.between} "
        up = max(worker.uptime for worker in workers)
        facts = [f"{len(workers)} workers", f"up {span(up)}", f"{sum(w.settled for w in workers):,} settled"]
        lines = [self.state_line(self.picture.state, between.join(facts))]
        most = max(self.height // 3, 2)
        wide = max(len(", ".join(worker.queues)) for worker in workers)
        for worker in workers[:most]:
            line = Text().append(f"  {self.glyphs.dot} ", style=STATES.get(worker.state, ""))
            line.append(self.fit(", ".join(worker.queues), min(wide, self.width // 3)))
            line.append(f"  {worker.state:<8}")
            parts = [f"pid {worker.pid}", f"{worker.in_hand:,} in hand", f"lease {span(worker.lease)}"]
            line.append("  " + between.join(parts[:1] if self.narrow else parts), style="dim")
            lines.append(self.clipped(line))
        if len(workers) > most:
            lines.append(self.dim(f"    {self.glyphs.more} and {len(workers) - most} more"))
        return lines

    def state_line(self, state: str, text: str) -> Text:
        line = Text().append(f"{self.glyphs.dot} ", style=STATES.get(state, ""))
        line.append(STATE_WORDS.get(state, state), style=f"bold {STATES.get(state, '')}")
        line.append(f"  {text}")
        return self.clipped(line)

    def throughput(self) -> list[Text]:
        rate = f"{per_second(self.picture.rate)} "
        peak = max(self.picture.per_second, default=0.0)
        label = Text("  ")
        label.append(rate, style="bold")
        most = f" peak {per_second(peak)}" if peak and not self.narrow else ""
        room = max(self.width - label.cell_len - len(most) - 1, 0)
        label.append(sparkline(self.picture.per_second, room, self.glyphs.steps), style="cyan")
        label.append(most, style="dim")
        return [self.clipped(label), Text("")]

    def slots(self, most: int) -> list[Text]:
        """A line for each slot. Where they do not all fit, the busy ones come first."""
        room, shown = self.left_width, self.picture.slots
        if len(shown) >= most:
            shown = sorted(shown, key=lambda slot: not slot.handler)
        busy = sum(1 for slot in self.picture.slots if slot.handler)
        title = f"{busy} of {len(self.picture.slots)} busy" if self.picture.slots else ""
        named = len(self.picture.workers) > 1
        return self.cut([self.title(_("Slots"), room, title), *(self.slot(slot, room, named) for slot in shown)], most)

    def slot(self, slot: Slot, room: int, named: bool) -> Text:
        line = Text().append(f"  {slot.number:>2} ", style="dim")
        if named:
            line.append(self.fit(slot.queue, 10) + " ", style="dim")
        if not slot.handler:
            line.append(_("idle"), style="dim")
            return self.clipped(line, room)
        since = span(slot.seconds) if slot.seconds >= 1 else f"{slot.seconds:.1f} s"
        clock = since + (f" / {span(slot.limit)}" if slot.limit is not None else "")
        clock = f"{clock:>15}" if room >= 44 else f"{since:>7}"
        bar = self.bar(slot, 10) if room >= 58 else Text("")
        name = room - line.cell_len - len(clock) - bar.cell_len - 2
        attempt = f" #{slot.attempt}" if slot.attempt > 1 else ""
        line.append(self.fit(plain(slot.handler), max(name - len(attempt), 4)) + attempt + " ")
        late = slot.limit is not None and slot.seconds > slot.limit
        line.append(clock, style="red" if late else "default")
        line.append_text(bar)
        return self.clipped(line, room)

    def bar(self, slot: Slot, cells: int) -> Text:
        if slot.limit is None:
            return Text(" " * (cells + 2))
        share = min(slot.seconds / slot.limit, 1.0) if slot.limit else 1.0
        full = round(share * cells)
        colour = "red" if share >= 1 else "yellow" if share >= 0.75 else "cyan"
        return (
            Text("  ")
            .append(self.glyphs.done * full, style=colour)
            .append(self.glyphs.left * (cells - full), style="dim")
        )

    def numbers(self) -> list[Text]:
        lines = [self.title(_("Outcomes"), SIDE)]
        lines += [self.count(count, SIDE) for count in self.picture.counts] or [self.dim("  " + _("none yet"))]
        if self.picture.waiting:
            lines += [Text(""), self.title(_("Waiting"), SIDE)]
            lines += [self.waits(queue, number) for queue, number in sorted(self.picture.waiting.items())]
        return lines

    def in_short(self) -> list[Text]:
        """Outcomes and what waits, in a few words."""
        told = Text("  ")
        for count in self.picture.counts:
            told.append(f"{count.word} ", style=WORDS.get(count.word, ""))
            told.append(f"{short(count.total)}  ", style="bold")
        if not self.picture.counts:
            told.append(_("nothing settled yet") + "  ", style="dim")
        if self.picture.waiting:
            waiting = self.picture.waiting.values()
            more = "+" if max(waiting) > MOST_COUNTED else ""
            told.append(f"waiting {short(sum(waiting))}{more}", style="dim")
        return self.wrapped(told, 3)

    def count(self, count: Count, room: int) -> Text:
        line = Text("  ").append(self.fit(count.word, 14), style=WORDS.get(count.word, ""))
        rate = per_second(count.rate) if count.rate else ""
        return self.clipped(line.append(f"{count.total:>9,}").append(f"{rate:>8}", style="dim"), room)

    def waits(self, queue: str, number: int) -> Text:
        more = "+" if number > MOST_COUNTED else ""
        return self.clipped(
            Text("  ").append(self.fit(queue, 14)).append(f"{min(number, MOST_COUNTED):>9,}{more}"), SIDE
        )

    def recent(self, most: int) -> list[Text]:
        if most < 2:
            return []
        blank = [] if self.narrow else [Text("")]
        title = [*blank, self.title(_("Recent"), self.width)]
        shown = self.picture.ended[: most - len(title)]
        queue = min(max((len(end.queue) for end in shown), default=0), 10)
        handler = min(max((Text(end.handler).cell_len for end in shown), default=0), 20 if self.width < ROOMY else 26)
        lines = [self.end(end, queue, handler) for end in shown]
        return [*title, *lines] if lines else [*title, self.dim("  " + _("nothing yet"))][:most]

    def end(self, end: Ended, queue: int, handler: int) -> Text:
        line = Text("  ")
        if not self.narrow:
            line.append(time.strftime("%H:%M:%S ", time.localtime(end.at)), style="dim")
        line.append(self.fit(end.word, 13) + " ", style=WORDS.get(end.word, ""))
        took = f"{span(end.seconds):>7}"
        if self.narrow:
            return self.apart(line.append(plain(end.handler)), Text(took, style="dim"))
        line.append(self.fit(end.queue, queue) + " ", style="dim")
        line.append(self.fit(plain(end.handler), handler) + " ")
        line.append(took + "  ", style="dim")
        if self.width >= ROOMY and (not end.why or self.width >= VERY_ROOMY):
            line.append(end.job_id + "  ", style="dim")
        if end.attempt > 1:
            line.append(f"#{end.attempt} ", style="dim")
        return self.clipped(line.append(plain(end.why), style=WORDS.get(end.word, "") if end.why else ""))

    def output(self) -> list[Text]:
        """The last lines that were printed, where there is room for them."""
        if self.narrow or not self.picture.output:
            return []
        lines = [plain(line) for line in self.picture.output if line.strip()][-MOST_OUTPUT:]
        return [
            Text(""),
            self.title(_("Output"), self.width),
            *(self.dim(f"  {line}") for line in lines),
        ]

    def foot(self) -> list[Text]:
        state = self.picture.state
        if state == "draining":
            jobs = sum(worker.in_hand for worker in self.picture.workers)
            short = _("stopping: %(n)s in hand")
            text = short if self.narrow else _("stopping: %(n)s in hand. Ctrl-C again ends them now")
            text = text % {"n": f"{jobs:,}"}
            return [Text(""), self.clipped(Text().append(f"  {text}", style="yellow"))]
        return [
            Text(""),
            self.dim(
                "  "
                + (_("Ctrl-C stops the worker") if self.narrow else _("Ctrl-C stops the worker once its jobs are done"))
            ),
        ]

    # -- lines ----------------------------------------------------------------------------------------------------

    @property
    def left_width(self) -> int:
        return self.width if self.narrow else self.width - SIDE - 3

    def title(self, title: str, room: int, note: str = "") -> Text:
        line = Text("  ").append(title, style="bold").append(" ")
        note = f" {note}" if note else ""
        line.append(self.glyphs.rule * max(room - line.cell_len - len(note) - 1, 0), style="dim")
        return line.append(note, style="dim")

    def cut(self, lines: list[Text], most: int) -> list[Text]:
        if len(lines) <= most:
            return lines
        return [*lines[: most - 1], self.dim(f"    {self.glyphs.more} and {len(lines) - most + 1} more")]

    def wrapped(self, text: Text, most: int) -> list[Text]:
        lines: list[Text] = [Text("  ")]
        for word in text[2:].split("  "):
            if lines[-1].cell_len + word.cell_len + 2 > self.width and len(lines) < most:
                lines.append(Text("  "))
            lines[-1].append_text(word).append("  ")
        return [self.clipped(line) for line in lines]

    def apart(self, left: Text, right: Text) -> Text:
        room = self.width - right.cell_len - 2
        line = self.clipped(left, room)
        line.pad_right(max(room - line.cell_len + 1, 1))
        return line.append_text(right)

    def dim(self, text: str) -> Text:
        return self.clipped(Text().append(text, style="dim"))

    def fit(self, text: str, cells: int) -> str:
        """A text of exactly so many cells."""
        line = Text(text)
        if line.cell_len > cells:
            line.truncate(max(cells - 1, 0))
            line.append(self.glyphs.more)
        line.pad_right(max(cells - line.cell_len, 0))
        return line.plain

    def clipped(self, line: Text, room: int | None = None) -> Text:
        room = self.width - 1 if room is None else room
        if line.cell_len > room:
            line.truncate(max(room - 1, 0))
            line.append(self.glyphs.more, style="dim")
        line.no_wrap = True
        return line
