"""The pages of the documentation, taken apart: blocks of code, headings, links, and the commands that they name."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted(
    str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")) if path.is_file()
)
LANGUAGES = {"python", "pycon", "console", "ini", "json", "text"}
_FENCE = re.compile(r"^```(.*)$")
_SPAN = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block of code. `line` is that of its first line in the page."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str:
        """The file that its first line names in a comment; blank where it names none."""
        found = re.match(r"# ([\w/]+\.py)\b", self.text)
        return found[1] if found else ""


class Page:
    """One page."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = ROOT / name
        self.blocks: list[Block] = []
        prose: list[str] = []
        inside: list[str] | None = None
        for number, line in enumerate(self.path.read_text("utf-8").splitlines(), 1):
            fence = _FENCE.match(line.strip())
            if fence and inside is None:
                language, start, inside = fence[1], number + 1, []
            elif fence and inside is not None:
                self.blocks.append(Block(language, "\n".join(inside) + "\n", start))
                inside = None
            else:
                (prose if inside is None else inside).append(line)
        assert inside is None, f"{name}: a block of code has no end"
        self.prose = "\n".join(prose)

    @property
    def spans(self) -> list[str]:
        """What stands in the prose as code."""
        return [" ".join(span.split()) for span in _SPAN.findall(self.prose)]

    @property
    def links(self) -> list[str]:
        """Where its links go."""
        return _LINK.findall(_SPAN.sub("", self.prose))

    @property
    def anchors(self) -> set[str]:
        """What a link to a part of it may name: its headings, as a forge makes anchors of them."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}

    @property
    def commands(self) -> list[list[str]]:
        """The words of each `manage.py …` and `make …` in its blocks."""
        lines = [
            line
            for block in self.blocks
            if block.language not in ("python", "pycon")
            for line in block.text.replace("\\\n", " ").splitlines()
            if block.language != "console" or line.startswith("$ ")
        ]
        return [words for line in lines for words in command_in(line)]

    @property
    def mentions(self) -> list[list[str]]:
        """The same of its prose, where they need not be whole, and of what is set off there."""
        spans = (f"manage.py {span}" if span.startswith("jobs_") and " " in span else span for span in self.spans)
        set_off = (line for line in self.prose.splitlines() if line.startswith("    "))
        return [words for text in (*spans, *set_off) for words in command_in(text)]


def command_in(line: str) -> list[list[str]]:
    """The command in a line, from `manage.py` or `make` on. A comment ends it, and so do pipes and redirections.
    An instance of systemd's, `%i`, is the name of a queue.
    """
    found = re.search(r"(?:^|(?<=[\s/]))(manage\.py|make) \w.*", line)
    if not found:
        return []
    words = shlex.split(found[0], comments=True)
    end = next((i for i, word in enumerate(words) if word in ("|", ">", "&&", "||", ";")), len(words))
    return [["queue" if word == "%i" else word for word in words[:end]]]
