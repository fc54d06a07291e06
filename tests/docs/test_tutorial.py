"""The tutorial, followed from the first command to the last one, in a site of its own."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import ROOT, Page

DONE_BEFORE = ("mkdir", "cd", "python3", ".", "pip")  # there is a folder, and an environment with everything in it
ONES_OWN = {r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "<id>", r"\d+\.\d+ m?s\b": "<time>"}
DOCTEST = """
import django, doctest, sys
django.setup()
test = doctest.DocTestParser().get_doctest(sys.stdin.read(), {}, "tutorial", None, 0)
sys.exit(doctest.DocTestRunner().run(test).failed)
"""


class Learner:
    """Does in `folder` what the tutorial says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        given = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.env = {**given, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "DJANGO_SETTINGS_MODULE": "mysite.settings"}

    def python(self, *arguments: str, stdin: str = "") -> str:
        """Run Python to its end, and answer what it prints."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.env,
            input=stdin,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}"
        return done.stdout

    def console(self, text: str) -> None:
        """Enter commands, and compare what they print where the tutorial shows it."""
        for entry in text.removeprefix("$ ").split("\n$ "):
            line, _, expected = entry.partition("\n")
            words = shlex.split(line)
            if words[0] == "export":
                name, _, value = words[1].partition("=")
                self.env[name] = value
            elif words[0] not in DONE_BEFORE:
                assert words[0] in ("django-admin", "python"), line
                printed = self.python(*(["-m", "django"] if words[0] == "django-admin" else []), *words[1:])
                if expected.strip():
                    assert plain(printed) == plain(expected), line

    def write(self, text: str, file: str) -> None:
        """Add to a file, or replace a setting by naming it anew."""
        path = self.folder / (file or "mysite/settings.py")
        path.write_text(path.read_text() + "\n\n" + text.replace("INSTALLED_APPS = [", "INSTALLED_APPS += ["))


def plain(text: str) -> str:
    """Without the ids and times that differ from run to run."""
    for pattern, word in ONES_OWN.items():
        text = re.sub(pattern, word, text)
    return text.strip()


def test_the_tutorial_can_be_followed(tmp_path):
    learner = Learner(tmp_path)
    for block in Page("docs/tutorials/first-job.md").blocks:
        if block.language == "console":
            learner.console(block.text)
        elif block.language == "pycon":
            learner.python("-c", DOCTEST, stdin=block.text)
        else:
            if block.file:
                (tmp_path / block.file).touch()
            learner.write(block.text, block.file)
