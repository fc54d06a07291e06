import json
import logging
import threading

import pytest

from django_jobs import JobHandler
from django_jobs.logs import JobFilter, JSONFormatter, get_logger
from django_jobs.runtime import ErrorRecord, Outcome
from django_jobs.settlement import conclude
from django_jobs.worker import journal
from tests.support.jobs import make_claim, run


class Lines(logging.Handler):
    """Keeps what it is given, as JSON lines."""

    def __init__(self):
        super().__init__()
        self.addFilter(JobFilter())
        self.setFormatter(JSONFormatter())
        self.texts = []
        self.plain = []

    def emit(self, record):
        self.texts.append(self.format(record))
        self.plain.append(logging.Formatter("%(levelname)s %(message)s").format(record))

    @property
    def records(self):
        return [json.loads(text) for text in self.texts]


@pytest.fixture
def lines():
    handler = Lines()
    loggers = [logging.getLogger(name) for name in ("django_jobs", "shop")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    yield handler
    for logger in loggers:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET if logger.name == "shop" else logging.WARNING)


def test_what_a_job_logs_says_which_job_it_was(lines, handlers):
    def handle(self, ctx):
        logging.getLogger("shop").info("selling %d", 3, extra={"sku": "x-1"})

    handlers({"unit.sells": type("Sells", (JobHandler,), {"handle": handle})})
    claim = make_claim("unit.sells", attempt=2, max_attempts=3)
    assert run(claim).kind == "completed"
    start, selling = lines.records
    about = {"job_id": claim.id, "queue": "default", "handler": "unit.sells", "attempt": 2}
    assert (
        start.items() >= {"message": f"START unit.sells {claim.id}", "logger": "django_jobs.runtime", **about}.items()
    )
    assert selling.items() >= {"message": "selling 3", "level": "INFO", "logger": "shop", "sku": "x-1", **about}.items()
    logging.getLogger("shop").info("outside")
    assert lines.records[-1]["job_id"] == ""


def test_a_job_within_a_job_gives_the_name_back(lines, handlers):
    inner = make_claim("unit.inner")

    def handle(self, ctx):
        run(inner)
        run(make_claim("no.body"))
        logging.getLogger("shop").info("outer")

    handlers({"unit.outer": type("Outer", (JobHandler,), {"handle": handle}), "unit.inner": JobHandler})
    outer = make_claim("unit.outer")
    run(outer)
    assert lines.records[-1]["job_id"] == outer.id


@pytest.mark.parametrize(
    ("outcome", "level", "verb"),
    [
        (Outcome("completed"), "INFO", "FINISHED"),
        (Outcome("retry", error=ErrorRecord("E", "broken")), "INFO", "REQUEUED"),
        (Outcome("failed", error=ErrorRecord("E", "broken")), "ERROR", "DEAD"),
        (Outcome("timed_out"), "WARNING", "TIMEOUT"),
        (Outcome("snoozed"), "INFO", "SNOOZED"),
        (Outcome("interrupted"), "INFO", "RELEASED"),
        (Outcome("cancelled"), "INFO", "CANCELLED"),
    ],
)
def test_each_outcome_has_its_verb(lines, outcome, level, verb):
    claim = make_claim(max_attempts=2)
    journal.log_settled([conclude(claim, outcome)])
    (line,) = lines.records
    assert (line["level"], line["event"], line["job_id"]) == (level, verb, claim.id)
    assert line["message"].startswith(f"{verb} unit.job {claim.id} on default (attempt 1) after 0.000 s")
    assert ("broken" in line["message"]) is (outcome.error is not None)


def test_a_log_that_takes_no_info_hears_only_of_trouble(lines):
    logging.getLogger("django_jobs").setLevel(logging.WARNING)
    claim = make_claim(max_attempts=2)
    journal.log_settled([conclude(claim, Outcome(kind)) for kind in ("completed", "retry", "failed", "timed_out")])
    assert [line["event"] for line in lines.records] == ["DEAD", "TIMEOUT"]


def test_our_loggers_hide_secrets_and_forged_lines(lines):
    logger = get_logger("worker")
    assert get_logger("worker").filters == logger.filters
    assert len(logger.filters) == 1
    try:
        raise ValueError("password=hunter2 \x1b[31m")
    except ValueError:
        logger.exception("token: %s\nERROR forged\x00", "hunter2")
    assert "hunter2" not in lines.texts[0] + lines.plain[0]
    assert "\x1b" not in lines.plain[0]
    assert "\nERROR" not in lines.plain[0]
    assert "ValueError: password=********" in lines.records[0]["exception"]
    assert "\n" not in lines.texts[0]


def test_a_line_of_json_is_bounded_whatever_it_is_given(lines):
    class Hostile:
        def __str__(self):
            raise RuntimeError

    loop: dict = {}
    loop["self"] = loop
    logger = logging.getLogger("shop")
    logger.info("x" * 10_000_000, extra={"it": Hostile(), "loop": loop, "password": "hunter2", "odd": {1: {2}}})
    logger.info("many", extra={f"extra{n}": "y" * 10_000 for n in range(100)})
    assert [len(text) < 300_000 for text in lines.texts] == [True, True]
    first, second = lines.records
    assert (first["password"], first["it"]) == ("********", "<Hostile, which could not be shown>")
    assert second["message"] == "many"


def test_a_thread_has_no_job(lines):
    seen = []
    thread = threading.Thread(target=lambda: (logging.getLogger("shop").info("threaded"), seen.append(1)))
    thread.start()
    thread.join()
    assert seen == [1]
    assert lines.records[-1]["job_id"] == ""


def test_the_timeline_has_what_the_site_wants(settings):
    claim = make_claim(max_attempts=2)
    crashed = conclude(claim, Outcome("crashed"))
    settled = [conclude(claim, Outcome(kind)) for kind in ("completed", "retry", "rejected", "failed")] + [crashed]
    odd = ["retried", "rejected", "failed", "incomplete_handled"]
    for wanted, types in (("none", []), ("odd", odd), ("all", ["success", *odd])):
        settings.JOBS_EVENTS = wanted
        assert [note[2] for note in journal.notes_of_settled(settled)] == types
        assert [note[2] for note in journal.notes_of_claimed([claim])] == ["fetched"] * (wanted == "all")


def test_no_record_is_read_backwards(lines):
    get_logger("schedule").warning("the entry %s failed", "a\u202eb\u2069")
    assert lines.plain == ["WARNING the entry a�b� failed"]
