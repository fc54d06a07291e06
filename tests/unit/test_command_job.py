import pytest
from django.core.management import BaseCommand, CommandError

from django_jobs import Jobs
from django_jobs.exceptions import InvalidDefinition
from django_jobs.handlers.command import parse_command
from tests.support.jobs import make_claim, run


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("clearsessions", ("clearsessions", [], {})),
        ("app:report --month=06 'two words'", ("report", ["--month=06", "two words"], {})),
        ({"name": "x"}, ("x", [], {})),
        ({"name": "x", "args": None, "options": None}, ("x", [], {})),
        ({"name": "x", "args": ["a", 1], "options": {"force": True}}, ("x", ["a", "1"], {"force": True})),
    ],
)
def test_a_command_is_given_as_a_text_or_a_mapping(payload, expected):
    assert parse_command(payload) == expected


@pytest.mark.parametrize(
    "payload",
    [
        *(None, "", "   ", "'open", 5, [], ["clearsessions"], {}, {"args": []}, {"name": 5}),
        *({"name": "x", "args": "a"}, {"name": "x", "options": [1]}, {"name": "x", "shell": True}),
    ],
)
def test_what_is_no_command_is_refused_at_the_enqueue_and_fails_for_good_in_the_worker(payload, settings):
    with pytest.raises(InvalidDefinition, match=r"^payload: "):
        Jobs.push("command", payload)
    assert run(make_claim("command", payload)).kind == "failed"


class Say(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("word")
        parser.add_argument("--code", type=int, default=0)

    def handle(self, *args, word, code, **options):
        self.stdout.write(word)
        if word == "error":
            raise CommandError("as asked")
        raise SystemExit(code)


@pytest.fixture
def say(monkeypatch, settings):
    from django.core import management

    settings.JOBS_COMMANDS_ALLOWED = ["say"]
    real = management.get_commands()
    monkeypatch.setattr(management, "get_commands", lambda: {**real, "say": Say()})


@pytest.mark.parametrize(
    ("payload", "kind", "text"),
    [
        ("say hello", "completed", "hello"),
        ({"name": "say", "args": ["hi"], "options": {"code": 0}}, "completed", "hi"),
        ("say bad --code=3", "retry", "say exited with 3: bad"),
        ("say error", "retry", "as asked"),
        ("say", "retry", "word"),
    ],
)
def test_an_allowed_command_runs_and_its_output_is_the_result(say, payload, kind, text):
    outcome = run(make_claim("command", payload))
    assert outcome.kind == kind
    assert text in (outcome.result or outcome.error.message)


def test_a_command_that_is_not_allowed_does_not_run(settings):
    settings.JOBS_COMMANDS_ALLOWED = ["clearsessions"]
    outcome = run(make_claim("command", "flush --no-input"))
    assert (outcome.kind, outcome.result) == ("failed", "")
    assert "JOBS_COMMANDS_ALLOWED" in outcome.error.message
