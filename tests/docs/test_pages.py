"""The documentation does what it says: its code runs, its commands parse, its links lead somewhere."""

from __future__ import annotations

import re

import pytest
from django.core.management import CommandError, get_commands, load_command_class

from django_jobs.conf import declared
from tests.docs.pages import LANGUAGES, PAGES, ROOT, Page
from tests.docs.prelude import PRELUDES
from tests.docs.reader import Reader

pages = pytest.mark.parametrize("name", PAGES)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
OTHER_NAMES = {"jobs_memory", "jobs_clock"}  # fixtures for pytest
TESTS_OWN = {"JOBS_TEST_POSTGRESQL", "JOBS_TEST_MYSQL", "JOBS_TEST_REDIS"}


def parser_of(name):
    """The parser of a management command."""
    app = get_commands().get(name)
    assert app, f"there is no command {name}"
    command = load_command_class(app, name) if isinstance(app, str) else app
    return command.create_parser("manage.py", name)


def test_no_page_is_left_out():
    assert set(PRELUDES) == {name for name in PAGES if any(b.language == "python" for b in Page(name).blocks)}


def test_the_index_leads_to_every_page():
    index = Page("docs/index.md")
    linked = {(index.path.parent / link).resolve() for link in index.links}
    assert {name for name in PAGES if name.startswith("docs/") and ROOT / name not in linked} == {"docs/index.md"}


def test_the_architecture_names_every_module():
    modules = [*(ROOT / "django_jobs").iterdir(), *(ROOT / "django_jobs" / "worker").glob("*.py")]
    names = {path.stem for path in modules if path.is_dir() or path.suffix == ".py"}
    words = set(re.findall(r"\w+", Page("docs/explanation/architecture.md").path.read_text("utf-8")))
    assert names - {"__init__", "__pycache__", "static", "templates", "migrations"} <= words


@pages
def test_every_block_is_of_a_language_that_is_tried_out(name):
    assert {block.language for block in Page(name).blocks} <= LANGUAGES


@pages
def test_commands_in_blocks_parse(name):
    for _, command, *arguments in (words for words in Page(name).commands if words[0] == "manage.py"):
        try:
            parser_of(command).parse_args(arguments)
        except CommandError as error:
            pytest.fail(f"manage.py {command} {' '.join(arguments)}: {error}")


@pages
def test_commands_in_the_prose_exist_with_their_flags(name):
    for _, command, *arguments in (words for words in Page(name).mentions if words[0] == "manage.py"):
        known = {flag for action in parser_of(command)._actions for flag in action.option_strings}
        assert {word.partition("=")[0] for word in arguments if word.startswith("--")} <= known, command


@pages
def test_targets_of_make_exist(name):
    named = [words for words in (*Page(name).commands, *Page(name).mentions) if words[0] == "make"]
    assert {word for words in named for word in words[1:] if "=" not in word} <= TARGETS


@pages
def test_names_of_settings_and_commands_exist(name):
    ours = {command for command, app in get_commands().items() if app == "django_jobs"}
    known = ours | OTHER_NAMES | TESTS_OWN | {setting.name for setting in declared()}
    page = Page(name)
    texts = [*page.spans, *(block.text for block in page.blocks if block.language != "pycon")]
    words = {word for text in texts for word in re.findall(r"(?<![\w.-])(?:JOBS|jobs)_[a-zA-Z]\w*", text)}
    assert words <= known


@pages
def test_links_lead_somewhere(name):
    page = Page(name)
    for link in page.links:
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        target = (page.path.parent / path).resolve() if path else page.path
        assert target.exists(), link
        if anchor:
            assert anchor in Page(str(target.relative_to(ROOT))).anchors, link


@pytest.mark.django_db
@pytest.mark.parametrize("name", PRELUDES)
def test_the_code_runs(name):
    with Reader(PRELUDES[name]) as reader:
        for block in Page(name).blocks:
            if block.language == "python":
                reader.read(block, name)
        reader.check()
