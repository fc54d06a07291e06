"""The admin: what each role sees and may do, that reading changes nothing, and that hostile texts stay texts."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.admin.templatetags.admin_list import result_headers
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings
from django.urls import reverse
from django.utils.html import strip_tags
from django.utils.timezone import now

from django_jobs import Jobs
from django_jobs.admin import base, display
from django_jobs.admin.base import CappedPaginator
from django_jobs.locks import mutex
from django_jobs.models import (
    CompletedJob,
    FailedJob,
    Hold,
    Job,
    JobEvent,
    Lock,
    Queue,
    ScheduleEntry,
    ScheduleTick,
    Worker,
)
from django_jobs.redaction import REDACTED

from .conftest import claim_all, work_off

pytestmark = pytest.mark.django_db

Failed = Callable[..., str]
MODELS = [
    "job",
    "failedjob",
    "completedjob",
    "queue",
    "worker",
    "jobevent",
    "hold",
    "lock",
    "scheduleentry",
    "scheduletick",
]
HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&"


def client_of(*permissions: str, superuser: bool = False) -> Client:
    """A client logged in as staff with just these permissions of ours."""
    user = User.objects.create_user(f"u{uuid.uuid4().hex}", password="x", is_staff=True, is_superuser=superuser)
    for codename in permissions:
        user.user_permissions.add(Permission.objects.get(content_type__app_label="django_jobs", codename=codename))
    client = Client(enforce_csrf_checks=False)
    client.force_login(user)
    return client


@pytest.fixture
def boss() -> Client:
    return client_of(superuser=True)


def url(model: str, page: str = "changelist", *args: object) -> str:
    return reverse(f"admin:django_jobs_{model}_{page}", args=args)


def act(client: Client, model: str, action: str, ids: Iterable[object], **more: str) -> Any:
    data = {"action": action, "_selected_action": [str(pk) for pk in ids], "index": "0", **more}
    return client.post(url(model), data, follow=True)


def said(answer: Any) -> str:
    return " ".join(str(message) for message in answer.context["messages"])


@pytest.fixture
def one_of_each(failed: Failed) -> dict[str, object]:
    """The id of a row of every model."""
    done = Jobs.push("trial.noop", {"user_id": 1})
    work_off(Jobs.backend())
    job = failed()
    live = Jobs.push("trial.noop", {"deep": [1, {"x": None}]}, delay=60)
    Jobs.backend().record_events([(job, "default", "failed", "dead-lettered", {"n": 1})])
    Queue.objects.create(name="default")
    held = Jobs.push("trial.noop", unique={"key": "k", "until": "1h"}, delay=60)
    assert Hold.objects.get().job_id == uuid.UUID(held)
    mutex("im/port", 60).acquire()
    return {
        "job": live,
        "failedjob": job,
        "completedjob": done,
        "queue": "default",
        "worker": Worker.objects.values_list("pk", flat=True)[0],
        "jobevent": JobEvent.objects.get().pk,
        "hold": Hold.objects.get().pk,
        "lock": Lock.objects.get().pk,
        "scheduleentry": ScheduleEntry.objects.create(name="report", definition={"handler": "trial.noop"}).pk,
        "scheduletick": ScheduleTick.objects.create(
            id=uuid.uuid4(), name="report", instant=now(), decided_at=now(), state="failed", job_id=held, notes="no"
        ).pk,
    }


def everything() -> list[Any]:
    """All that is stored."""
    models = (Job, FailedJob, CompletedJob, Queue, Worker, JobEvent, LogEntry)
    return [sorted(model._default_manager.values_list(), key=repr) for model in models]


# -- who sees what --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_pages_by_role(model: str, one_of_each: dict[str, object], boss: Client) -> None:
    pages = [url(model), url(model, "change", one_of_each[model])]
    for page in pages:
        anonymous = Client().get(page)
        assert anonymous.status_code == 302
        assert anonymous["Location"].startswith("/admin/login/")
        assert client_of().get(page).status_code == 403
        assert client_of(f"view_{model}").get(page).status_code == 200
        assert boss.get(page).status_code == 200


@pytest.mark.parametrize("model", MODELS)
def test_reading_changes_nothing(model: str, one_of_each: dict[str, object], boss: Client) -> None:
    before = everything()
    for page in (
        url(model),
        url(model) + "?q=nothing",
        url(model) + f"?q={one_of_each['failedjob']}",
        url(model, "change", one_of_each[model]),
        url(model, "history", one_of_each[model]),
    ):
        assert boss.get(page, follow=True).status_code == 200
    assert everything() == before


@pytest.mark.parametrize("model", [model for model in MODELS if model != "scheduleentry"])  # which has a form
def test_facts_can_not_be_added_or_changed_by_form(model: str, one_of_each: dict[str, object], boss: Client) -> None:
    assert boss.post(url(model, "change", one_of_each[model]), {"queue": "mail"}).status_code == 403
    if model != "queue":
        assert boss.get(url(model, "add")).status_code == 403
    if model not in ("queue", "failedjob", "completedjob", "hold", "lock"):
        assert boss.post(url(model, "delete", one_of_each[model]), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("model", ["hold", "lock"])
def test_a_hold_is_deleted_with_djangos_permission(model: str, one_of_each: dict[str, object]) -> None:
    page = url(model, "delete", one_of_each[model])
    assert client_of(f"view_{model}").post(page, {"post": "yes"}).status_code == 403
    assert client_of(f"view_{model}", f"delete_{model}").post(page, {"post": "yes"}).status_code == 302
    assert not {"hold": Hold, "lock": Lock}[model]._default_manager.exists()


def test_finished_jobs_are_deleted_with_djangos_permission(one_of_each: dict[str, object]) -> None:
    page = url("failedjob", "delete", one_of_each["failedjob"])
    assert client_of("view_failedjob").post(page, {"post": "yes"}).status_code == 403
    assert client_of("view_failedjob", "delete_failedjob").post(page, {"post": "yes"}).status_code == 302
    assert not FailedJob.objects.exists()


@pytest.mark.parametrize("model", MODELS)
def test_an_id_that_is_none_leads_back(model: str, boss: Client) -> None:
    for wrong in ("nonsense", str(uuid.uuid4()), "%00", "1'--"):
        answer = boss.get(url(model, "change", wrong), follow=True)
        assert answer.redirect_chain
        assert answer.status_code == 200


# -- payloads -------------------------------------------------------------------------------------------------------


def test_payloads_and_results_need_their_permission(failed: Failed) -> None:
    done = Jobs.push("trial.add", [40, 2222])
    work_off(Jobs.backend())
    job = failed(payload={"iban": "DE-secret-stuff"})
    viewer = client_of("view_failedjob", "view_completedjob")
    trusted = client_of("view_failedjob", "view_completedjob", "view_payload")
    for page, text in (
        (url("failedjob", "change", job), "DE-secret-stuff"),
        (url("completedjob", "change", done), "2262"),
    ):
        hidden = viewer.get(page).content.decode()
        assert text not in hidden
        assert "hidden: the permission" in hidden
        assert text in trusted.get(page).content.decode()


def test_payloads_are_redacted(failed: Failed, boss: Client) -> None:
    job = failed(payload={"password": "hunter2", "list": [{"api_key": "k-123"}], "token": None, "user": 7})
    page = boss.get(url("failedjob", "change", job)).content.decode()
    assert "hunter2" not in page
    assert "k-123" not in page
    assert REDACTED in page
    assert "&quot;user&quot;: 7" in page
    assert "&quot;token&quot;: null" in page


def test_a_corrupt_envelope_is_shown_as_it_is(failed: Failed, boss: Client) -> None:
    job = failed()
    FailedJob.objects.update(envelope="{not json <b>", history='[1, {"attempt": 2}, null]')
    page = boss.get(url("failedjob", "change", job))
    assert page.status_code == 200
    assert "{not json &lt;b&gt;" in page.content.decode()


def test_hostile_texts_stay_texts(one_of_each: dict[str, object], boss: Client) -> None:
    history = json.dumps([{"attempt": HOSTILE, "outcome": HOSTILE, "error": HOSTILE, "traceback": HOSTILE,
                           "message": HOSTILE, "started_at": HOSTILE, "then": HOSTILE, "worker": HOSTILE}])  # fmt: skip
    short = HOSTILE[:60]
    envelope = json.dumps({"v": 1, "id": "x", "handler": "h", "queue": "q", "payload": {HOSTILE: [HOSTILE]},
                           "timeout": 1, "max_attempts": 1})  # fmt: skip
    shared = {"name": HOSTILE, "reference": HOSTILE, "group": short, "tags": short, "handler": short, "queue": short,
              "history": history, "envelope": envelope, "source": HOSTILE[:20]}  # fmt: skip
    Job.objects.update(**shared)
    CompletedJob.objects.update(**shared, result=json.dumps(HOSTILE))
    FailedJob.objects.update(**shared, error_class=HOSTILE, error_message=HOSTILE, traceback=HOSTILE)
    Worker.objects.update(host=HOSTILE, queues=HOSTILE)
    Lock._default_manager.update(name=HOSTILE)
    one_of_each["lock"] = quote(HOSTILE)
    ScheduleEntry.objects.update(definition={HOSTILE: HOSTILE})
    ScheduleTick.objects.update(name=HOSTILE, reason=HOSTILE, notes=HOSTILE)
    JobEvent.objects.update(message=HOSTILE, type=HOSTILE[:32], data={HOSTILE: HOSTILE})
    for model in MODELS:
        for page in (url(model), url(model, "change", one_of_each[model])):
            text = boss.get(page).content.decode()
            assert "<script>alert" not in text, page
            assert "<img src=x" not in text, page
            if model not in ("queue", "hold") and page != url("scheduleentry"):
                assert "&lt;script&gt;alert" in text, page
    act(boss, "failedjob", "retry_jobs", [one_of_each["failedjob"]])
    confirm = act(boss, "job", "cancel_jobs", [one_of_each["job"]])
    assert "&lt;script&gt;alert" in confirm.content.decode()
    assert "<script>alert" not in confirm.content.decode()


def test_no_page_of_ours_has_a_script_or_style_in_it(one_of_each: dict[str, object], boss: Client) -> None:
    pages = [url("failedjob", "change", one_of_each["failedjob"]), url("failedjob"), url("queue")]
    texts = [boss.get(page).content.decode() for page in pages]
    texts.append(act(boss, "job", "cancel_jobs", [one_of_each["job"]]).content.decode())
    for text in texts:
        for script in re.findall(r"<script\b[^>]*>", text):
            assert "src=" in script
        assert not re.search(r"<[^>]+\s(style|on\w+)=", text)
        assert "<style" not in text


# -- retry ----------------------------------------------------------------------------------------------------------

ROLES = {
    "anonymous": (None, False),
    "staff": ((), False),
    "viewer": (("view_failedjob", "view_job", "view_queue"), False),
    "operator": (
        ("view_failedjob", "retry_job", "view_job", "cancel_job", "delete_job", "view_queue", "pause_queue"),
        True,
    ),
    "superuser": ("superuser", True),
}


def role(name: str) -> tuple[Client, bool]:
    permissions, may = ROLES[name]
    if permissions is None:
        return Client(), may
    if permissions == "superuser":
        return client_of(superuser=True), may
    return client_of(*permissions), may


@pytest.mark.parametrize("name", ROLES)
@pytest.mark.parametrize("way", ["action", "button"])
def test_who_may_retry(name: str, way: str, failed: Failed) -> None:
    job = failed()
    client, may = role(name)
    if way == "action":
        act(client, "failedjob", "retry_jobs", [job])
    else:
        client.post(url("failedjob", "retry", job))
    assert Jobs.get(job).state == ("pending" if may else "failed")
    assert LogEntry.objects.filter(object_id=job).count() == (1 if may else 0)


@pytest.mark.parametrize("name", ROLES)
@pytest.mark.parametrize("way", ["action", "button"])
def test_who_may_cancel(name: str, way: str) -> None:
    job = Jobs.push("trial.noop")
    client, may = role(name)
    if way == "action":
        act(client, "job", "cancel_jobs", [job], confirmed="1")
    else:
        client.post(url("job", "cancel", job), {"confirmed": "1"})
    assert Jobs.get(job).state == ("cancelled" if may else "pending")


@pytest.mark.parametrize("name", ROLES)
@pytest.mark.parametrize("way", ["action", "button"])
def test_who_may_delete_live_jobs(name: str, way: str) -> None:
    job = Jobs.push("trial.noop")
    client, may = role(name)
    if way == "action":
        act(client, "job", "discard_jobs", [job], confirmed="1")
    else:
        client.post(url("job", "discard", job), {"confirmed": "1"})
    assert Job.objects.exists() is not may


@pytest.mark.parametrize("name", ROLES)
@pytest.mark.parametrize("way", ["action", "button"])
def test_who_may_pause_and_resume(name: str, way: str) -> None:
    Queue.objects.create(name="default")
    client, may = role(name)
    for verb, paused in (("pause", True), ("resume", False)):
        Queue.objects.update(paused=not paused)
        if way == "action":
            act(client, "queue", f"{verb}_queues", ["default"])
        else:
            client.post(url("queue", verb, "default"))
        assert Queue.objects.get().paused is (paused if may else not paused)


@pytest.mark.parametrize(
    ("model", "verb"),
    [("failedjob", "retry"), ("job", "cancel"), ("job", "discard"), ("queue", "pause"), ("queue", "resume")],
)
def test_buttons_are_posts_with_a_csrf_token(
    model: str, verb: str, one_of_each: dict[str, object], boss: Client
) -> None:
    before = everything()
    page = url(model, verb, one_of_each[model])
    assert boss.get(page).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = boss.cookies
    assert strict.post(page, {"confirmed": "1"}).status_code == 403
    assert everything() == before


def test_the_button_on_the_page(failed: Failed, boss: Client) -> None:
    job = failed()
    page = boss.get(url("failedjob", "change", job)).content.decode()
    assert f'formaction="{url("failedjob", "retry", job)}"' in page
    assert "Retry" not in client_of("view_failedjob").get(url("failedjob", "change", job)).content.decode()
    answer = boss.post(url("failedjob", "retry", job), follow=True)
    assert said(answer) == "1 job waits again."
    gone = boss.post(url("failedjob", "retry", job), follow=True)
    assert said(gone) == "It is not there any more."


def test_rejected_jobs_are_skipped_and_named(failed: Failed, boss: Client) -> None:
    good, tampered = failed(), Jobs.push("trial.noop")
    Job.objects.update(signature="forged:00")
    work_off(Jobs.backend())
    answer = act(boss, "failedjob", "retry_jobs", [good, tampered])
    assert "1 job waits again." in said(answer)
    assert f"1 job can&#x27;t be retried: job {tampered} was rejected" in answer.content.decode()
    assert Jobs.get(tampered).state == "failed"
    assert "Retry" not in boss.get(url("failedjob", "change", tampered)).content.decode().split("submit-row")[-1]


def test_an_action_takes_a_bounded_number(boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MOST_PER_ACTION", 3)
    Jobs.dispatch_many([Jobs.define("trial.fail") for _ in range(5)])
    work_off(Jobs.backend())
    first = FailedJob.objects.values_list("pk", flat=True)[0]
    answer = act(boss, "failedjob", "retry_jobs", [first], select_across="1")
    assert "Only the first 3 were taken" in said(answer)
    assert FailedJob.objects.count() == 2


def test_the_filter_by_state_takes_the_words_of_the_commands(boss: Client) -> None:
    pending, scheduled = Jobs.push("trial.noop"), Jobs.push("trial.noop", delay=60)
    for word, shown in (("queued", {pending}), ("pending", {pending}), ("scheduled", {scheduled}), ("asleep", set())):
        page = boss.get(url("job", "changelist"), {"state": word})
        assert {str(job.pk) for job in page.context["cl"].result_list} == shown, word


# -- cancel, delete ---------------------------------------------------------------------------------------------------


def test_a_cancel_asks_first(boss: Client) -> None:
    waiting, running = Jobs.push("trial.noop"), Jobs.push("trial.noop")
    Job.objects.filter(pk=waiting).update(state="scheduled")
    claim_all(Jobs.backend(), "default")
    asked = act(boss, "job", "cancel_jobs", [waiting, running])
    assert "Cancel these jobs?" in asked.content.decode()
    assert (Jobs.get(waiting).state, Jobs.get(running).state) == ("scheduled", "running")
    done = act(boss, "job", "cancel_jobs", [waiting, running], confirmed="1")
    assert said(done) == "1 job was cancelled. 1 running job was asked to stop."
    assert (Jobs.get(waiting).state, Jobs.get(running).state) == ("cancelled", "cancel_requested")


def test_running_jobs_are_not_deleted(boss: Client) -> None:
    running = Jobs.push("trial.noop")
    claim_all(Jobs.backend(), "default")
    waiting = Jobs.push("trial.noop")
    assert "Delete these jobs?" in boss.post(url("job", "discard", waiting)).content.decode()
    answer = act(boss, "job", "discard_jobs", [running, waiting], confirmed="1")
    assert said(answer) == "1 job was deleted. 1 job runs and was kept."
    assert [str(pk) for pk in Job.objects.values_list("pk", flat=True)] == [running]


# -- queues -----------------------------------------------------------------------------------------------------------


def test_a_configured_queue_can_be_added_and_paused(boss: Client) -> None:
    page = url("queue", "add")
    assert client_of("view_queue", "add_queue").get(page).status_code == 403
    Queue.objects.create(name="default")
    form = boss.get(page).content.decode()
    assert '<option value="mail">' in form
    assert '<option value="default">' not in form
    assert boss.post(page, {"name": "invented", "paused": "on"}).status_code == 200
    assert boss.post(page, {"name": "mail", "paused": "on"}).status_code == 302
    assert Queue.objects.get(name="mail").paused
    Jobs.push("trial.noop", queue="mail")
    assert claim_all(Jobs.backend(), "mail") == []


# -- lists ------------------------------------------------------------------------------------------------------------


def results(answer: Any) -> list[str]:
    return [str(row.pk) for row in answer.context["cl"].result_list]


def test_search_by_id_reference_and_name(failed: Failed, boss: Client) -> None:
    job, other = failed(name="monthly report", reference="order-7"), failed()
    for term in (job, job.replace("-", ""), "order-7", "report"):
        assert results(boss.get(url("failedjob"), {"q": term})) == [job]
    assert results(boss.get(url("failedjob"))) == [other, job]
    with CaptureQueriesContext(
        connection,
    ) as queries:
        boss.get(url("failedjob"), {"q": "report"})
    for query in queries:
        assert '"traceback" LIKE' not in query["sql"]
        assert '"envelope" LIKE' not in query["sql"]


def test_search_by_group_tag_and_source(failed: Failed, boss: Client) -> None:
    job, other = failed(group="june import", tags=["a", "slow"], source="cli"), failed(tags=["slower"])
    for term in ('group:"june import"', "tag:slow", "source:cli", "tag:a source:cli", f"source:cli {job}"):
        assert results(boss.get(url("failedjob"), {"q": term})) == [job], term
    assert results(boss.get(url("failedjob"), {"q": "source:app"})) == [other]
    assert results(boss.get(url("failedjob"), {"q": "tag:slow group:none"})) == []


def test_filters(failed: Failed, boss: Client) -> None:
    dead, refused, mail = failed(), failed("trial.refuse"), failed(queue="mail")
    assert results(boss.get(url("failedjob"), {"reason__exact": "failed"})) == [refused]
    assert results(boss.get(url("failedjob"), {"queue": "mail"})) == [mail]
    assert results(boss.get(url("failedjob"), {"handler": "trial.refuse"})) == [refused]
    assert results(boss.get(url("failedjob"), {"handler": "gone.handler"})) == []
    assert set(results(boss.get(url("failedjob"), {"queue": "default"}))) == {dead, refused}


def test_live_states_as_people_know_them(boss: Client) -> None:
    retry = Jobs.push("trial.fail", max_attempts=2)
    work_off(Jobs.backend())
    scheduled, pending = Jobs.push("trial.noop", delay=60), Jobs.push("trial.noop")
    found = {state: results(boss.get(url("job"), {"state": state})) for state in ("retry_wait", "scheduled", "pending")}
    assert found == {"retry_wait": [retry], "scheduled": [scheduled], "pending": [pending]}
    assert "waits for a retry" in boss.get(url("job", "change", retry)).content.decode()


def test_lists_cost_few_queries_and_no_long_columns(failed: Failed, boss: Client) -> None:
    for _ in range(5):
        failed()
    boss.get(url("failedjob"))
    with CaptureQueriesContext(connection) as queries:
        boss.get(url("failedjob"))
    ours = [query["sql"] for query in queries if "django_jobs_" in query["sql"]]
    assert len(ours) <= 4
    assert not any("traceback" in sql or '"envelope"' in sql for sql in ours)


def test_counting_ends_at_a_bound(boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MOST_COUNTED", 3)
    Jobs.dispatch_many([Jobs.define("trial.noop") for _ in range(5)])
    pages = CappedPaginator(Job.objects.order_by("-id"), 2)
    assert (pages.count, pages.is_capped) == (3, True)
    assert "There are more than 3 rows" in boss.get(url("job")).content.decode()


def test_the_page_of_a_worker_shows_what_it_holds(boss: Client) -> None:
    job = Jobs.push("trial.noop")
    [claim] = claim_all(Jobs.backend(), "default")
    page = boss.get(url("worker", "change", claim.worker_id)).content.decode()
    assert url("job", "change", job) in page


def test_the_page_of_a_job_tells_its_story(failed: Failed, boss: Client) -> None:
    job = failed()
    Jobs.backend().record_events([(job, "default", "reaped", "it was lost", {"by": "host.test"})])
    page = boss.get(url("failedjob", "change", job)).content.decode()
    assert "ValueError: this job fails" in page
    assert "it was lost" in page
    assert '<details><summary><span class="jobs-message">ValueError this job fails</span></summary>' in page
    event = JobEvent.objects.get()
    assert url("failedjob", "change", job) in boss.get(url("jobevent", "change", event.pk)).content.decode()


def headings(page: Any) -> list[str]:
    """What is written above the columns of a list."""
    return [re.sub(r"<[^>]*>", "", str(header["text"])) for header in result_headers(page.context["cl"])]


@pytest.mark.parametrize("model", ["job", "failedjob", "completedjob"])
def test_the_id_is_called_so(model: str, one_of_each: dict[str, object], boss: Client) -> None:
    assert "id" in headings(boss.get(url(model)))


def test_a_job_says_that_it_is_suspect_only_if_it_is(boss: Client) -> None:
    job = Jobs.push("trial.noop")
    assert "A worker was lost" not in boss.get(url("job", "change", job)).content.decode()
    Job.objects.update(suspect=True)
    assert "A worker was lost" in boss.get(url("job", "change", job)).content.decode()


def test_entries_run_now(boss: Client) -> None:
    from django_jobs.scheduler.desk import make_desk
    from django_jobs.scheduler.launch import execute_plainly
    from django_jobs.scheduler.runner import Runner

    queued = {"handler": "trial.noop", "yearly": True, "queue": "default"}
    schedule = {
        "queued": {**queued, "skip": "tests.integration.test_admin.always", "single_instance": True},
        "inline": {"handler": "trial.noop", "yearly": True},
        "off": queued,
        "elsewhere": {**queued, "environments": "elsewhere"},
    }
    with override_settings(JOBS_SCHEDULE=schedule):
        runner = Runner(make_desk(execute=execute_plainly))
        runner.register()
        ScheduleEntry.objects.create(name="elsewhere")
        before = {row.name: (row.seen_at, row.look_at) for row in ScheduleEntry.objects.all()}
        ScheduleEntry.objects.filter(name="off").update(enabled=False)
        page = url("scheduleentry", "run", "queued")
        assert client_of("view_scheduleentry").post(page).status_code == 403
        assert client_of("run_schedule").post(page).status_code == 403
        assert boss.get(page).status_code == 405
        assert not ScheduleTick.objects.exists()
        operator = client_of("view_scheduleentry", "run_schedule")
        assert "Run this entry now" in operator.get(url("scheduleentry", "change", "queued")).content.decode()
        assert "Run this entry now" not in operator.get(url("scheduleentry", "change", "off")).content.decode()
        assert said(operator.post(page, follow=True)) == "The job of 1 entry is enqueued."
        assert Job.objects.get().name == "queued"
        answer = said(act(operator, "scheduleentry", "run_entries", ["queued", "inline", "off", "elsewhere"]))
        assert "1 entry waits for a scheduler." in answer
        assert "queued was skipped: overlap" in answer
        assert "2 entries were left alone" in answer
        assert [(log.object_id, log.change_message) for log in LogEntry.objects.order_by("pk")] == [
            ("queued", "Run now."),
            ("inline", "Run now."),
        ]
        assert ScheduleTick.objects.get(name="inline").reason == "a scheduler"
        assert [(r.name, r.state) for r in runner.turn().reports] == [("inline", "succeeded")]
        assert {row.name: (row.seen_at, row.look_at) for row in ScheduleEntry.objects.all()} == before
        work_off(Jobs.backend())
        runner.turn()
        states = ScheduleTick.objects.order_by("instant").values_list("name", "state")
        assert sorted(states) == [("inline", "succeeded"), ("queued", "skipped"), ("queued", "succeeded")]


GOOD = {"handler": "trial.noop", "payload": {"month": 6}, "daily_at": "02:00", "queue": "default"}


def filled(definition: Any, **more: str) -> dict[str, str]:
    text = definition if isinstance(definition, str) else json.dumps(definition)
    return {"enabled": "on", "definition": text, **more}


def test_an_entry_is_made_changed_and_deleted_by_form(boss: Client) -> None:
    from django_jobs.scheduler.desk import make_desk
    from django_jobs.scheduler.runner import Runner

    add = url("scheduleentry", "add")
    assert client_of("view_scheduleentry", "change_scheduleentry", "view_payload").get(add).status_code == 403
    assert client_of("add_scheduleentry").post(add, filled(GOOD, name="campaign")).status_code == 302
    row = ScheduleEntry.objects.get()
    assert (row.name, row.definition, row.enabled, row.seen_at) == ("campaign", GOOD, True, None)
    assert Runner(make_desk()).register() == ["campaign"]
    row.refresh_from_db()
    seen_at, look_at = row.seen_at, row.look_at
    assert seen_at is not None

    page, changed = url("scheduleentry", "change", "campaign"), {**GOOD, "daily_at": "03:00"}
    for short in (["change_scheduleentry"], ["view_scheduleentry", "view_payload"]):
        assert client_of(*short).post(page, filled(changed)).status_code == 403
    editor = client_of("change_scheduleentry", "view_payload")
    assert "&quot;month&quot;: 6" in editor.get(page).content.decode()
    assert editor.post(page, filled(changed, name="renamed", seen_at_0="2030-01-01")).status_code == 302
    row.refresh_from_db()
    assert (row.name, row.definition, row.seen_at, row.look_at) == ("campaign", changed, seen_at, look_at)
    messages = [log.get_change_message().lower() for log in LogEntry.objects.order_by("pk")]
    assert messages == ["added.", "changed definition."]

    delete = url("scheduleentry", "delete", "campaign")
    assert editor.post(delete, {"post": "yes"}).status_code == 403
    assert client_of("view_scheduleentry", "delete_scheduleentry").post(delete, {"post": "yes"}).status_code == 302
    assert not ScheduleEntry.objects.exists()


@pytest.mark.parametrize(
    ("name", "definition", "says"),
    [
        ("", GOOD, "This field is required."),
        ("x" * 201, GOOD, "at most 200 characters"),
        ("of the code", GOOD, "There is an entry of this name already."),
        ("in the database", GOOD, "There is an entry of this name already."),
        ("new", "{", "Enter a valid JSON."),
        ("new", "null", "This field is required."),
        ("new", [1], "an entry is a dict, not"),
        ("new", {"handler": "os.system", "daily": True}, "no handler is registered as"),
        ("new", {**GOOD, "before": "os.getcwd"}, "an entry in the database can&#x27;t name code"),
        ("new", {**GOOD, "dayly": True}, "Is &#x27;daily&#x27; meant?"),
        ("new", {**GOOD, "daily_at": "25:00"}, "is not a time of the day"),
        ("new", {"shell": ["ls"], "daily": True}, "One is built in, and off"),
        ("new", '{"payload": ' * 100_000 + "1" + "}" * 100_000, "Enter a valid JSON."),
        ("new", '{"payload": ' * 150 + "1" + "}" * 150, "nested deeper than 100 levels"),
        ("new", '{"payload": ' + "1" * 5000 + "}", "Enter a valid JSON."),
        ("new", '{"payload": "\\ud800"}', "lone surrogate"),
        ("new", '{"payload": "\\u0000"}', "The character NUL can&#x27;t be kept."),
    ],
)
def test_what_the_schedule_could_not_run_is_not_taken(boss: Client, name: str, definition: Any, says: str) -> None:
    ScheduleEntry.objects.create(name="in the database")
    with override_settings(JOBS_SCHEDULE={"of the code": GOOD}):
        answer = boss.post(url("scheduleentry", "add"), filled(definition, name=name))
    assert answer.status_code == 200
    assert says in answer.content.decode()
    assert ScheduleEntry.objects.count() == 1


def test_an_entry_of_the_code_is_enabled_and_disabled_and_nothing_else(boss: Client) -> None:
    ScheduleEntry.objects.create(name="of the code")
    with override_settings(JOBS_SCHEDULE={"of the code": GOOD}):
        assert boss.post(url("scheduleentry", "change", "of the code"), filled(GOOD)).status_code == 403
        assert boss.post(url("scheduleentry", "delete", "of the code"), {"post": "yes"}).status_code == 403
        assert client_of("view_scheduleentry").post(url("scheduleentry", "disable", "of the code")).status_code == 403
        operator = client_of("view_scheduleentry", "change_scheduleentry")
        answer = operator.post(url("scheduleentry", "disable", "of the code"), follow=True)
        assert said(answer) == "1 entry was disabled."
        assert not ScheduleEntry.objects.get().enabled
        assert said(act(operator, "scheduleentry", "disable_entries", ["of the code"])) == "0 entries were disabled."
        assert said(act(operator, "scheduleentry", "enable_entries", ["of the code"])) == "1 entry was enabled."
    assert ScheduleEntry.objects.get().enabled
    assert [log.change_message for log in LogEntry.objects.order_by("pk")] == ["Disabled.", "Enabled."]
    assert "delete_selected" not in boss.get(url("scheduleentry")).content.decode()


def always() -> bool:
    return True


def test_the_schedules_page_says_when_an_entry_runs_and_whether_it_does(boss: Client) -> None:
    schedule = {
        "on": {"handler": "trial.noop", "cron": "7 3 * * *", "queue": "default"},
        "off": {"handler": "trial.noop", "cron": "8 3 * * *", "enabled": False},
        "elsewhere": {"handler": "trial.noop", "daily": True, "environments": ["staging", "test"]},
    }
    made = {"handler": "trial.noop", "cron": "9 3 * * *", "queue": "mail"}
    ScheduleEntry.objects.bulk_create(
        [
            *(ScheduleEntry(name=name) for name in ("on", "off", "elsewhere", "gone")),
            ScheduleEntry(name="stopped", enabled=False, definition=made),
            ScheduleEntry(name="broken", definition={"handler": "none", "cron": "61 * * * *"}),
        ]
    )
    with override_settings(JOBS_SCHEDULE=schedule):
        page = boss.get(url("scheduleentry"))
        details = boss.get(url("scheduleentry", "change", "on")).content.decode()
        changes = page.context["cl"]
        states = {row.name: strip_tags(changes.model_admin.state_badge(row)) for row in changes.result_list}
    text = page.content.decode()
    assert states == {
        "on": "enabled",
        "off": "disabled",
        "elsewhere": "only in staging, test",
        "gone": "not in the schedule",
        "stopped": "disabled",
        "broken": "not in the schedule",
    }
    assert all(expression in text for expression in ("7 3 * * *", "8 3 * * *", "9 3 * * *"))
    assert "7 3 * * *" in details
    assert "trial.noop" in details


# -- the rest ---------------------------------------------------------------------------------------------------------


def test_every_model_is_in_the_admin() -> None:
    from django.contrib import admin

    assert {model for model in admin.site._registry if model._meta.app_label == "django_jobs"} == set(
        apps.get_app_config("django_jobs").get_models()
    )


def test_no_migration_is_missing() -> None:
    call_command("makemigrations", "django_jobs", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0.0004, "0.4 ms"), (0.25, "250.0 ms"), (2, "2 s"), (timedelta(1), "-")],
)
def test_run_times(value: Any, shown: str) -> None:
    assert display.span(value) == shown


@pytest.mark.parametrize("value", [None, "", "not a date", "2030-13-45T00:00:00", "2030-01-02T03:04:05+00:00"])
def test_moments_of_any_text(value: str | None) -> None:
    assert isinstance(display.moment(value), str)


def test_nothing_that_a_list_hides_can_be_asked_for_by_address(failed: Failed, boss: Client) -> None:
    failed(payload={"secret": "hunter2"})
    for lookup in ("envelope__contains", "envelope__startswith", "history__regex", "traceback__contains"):
        assert boss.get(url("failedjob"), {lookup: "hunter2"}).status_code == 400, lookup
    assert boss.get(url("completedjob"), {"result__contains": "x"}).status_code == 400


def test_a_payload_of_any_depth_is_shown(failed: Failed, boss: Client) -> None:
    job = failed()
    FailedJob.objects.update(
        envelope=FailedJob.objects.get().envelope.replace('"payload":null', '"payload":' + "[" * 900 + "]" * 900)
    )
    assert "…" in boss.get(url("failedjob", "change", job)).content.decode()


def test_what_others_wrote_is_redacted_as_it_is_shown(failed: Failed, boss: Client) -> None:
    job = failed()
    FailedJob.objects.update(
        error_message="token=hunter2", traceback="bearer hunter2hunter2", envelope="password=hunter2"
    )
    Jobs.backend().record_events([(job, "default", "note", "secret: hunter2", {"pwd": "hunter2"})])
    FailedJob.objects.update(history=json.dumps([{"message": "token=hunter2", "traceback": "token=hunter2"}]))
    JobEvent.objects.filter(type="note").update(message="secret: hunter2", data={"pwd": "hunter2"})
    pages = [
        url("failedjob", "change", job),
        url("jobevent", "change", JobEvent.objects.get(type="note").pk),
        url("jobevent", "changelist"),
    ]
    for page in pages:
        text = boss.get(page).content.decode()
        assert "hunter2" not in text
        assert REDACTED in text
