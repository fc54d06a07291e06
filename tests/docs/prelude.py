"""What each page takes for granted: the names that its code uses, and the settings of the site that it speaks of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core import mail
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.http import HttpRequest, HttpResponse
from django.urls import path

from django_jobs import JobHandler, Jobs, Scheduler, exceptions, job
from django_jobs.locks import mutex
from django_jobs.retry import backoff


@dataclass(frozen=True)
class Prelude:
    """Names and settings. `apart`: each block is a test of its own, which finds no jobs of the ones before."""

    names: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    apart: bool = False


# -- a site where people sign up ------------------------------------------------------------------------------


class Welcome(JobHandler):
    """Sends one mail to each customer, however often it runs."""

    queue = "mail"

    def handle(self, ctx: Any) -> Any:
        email = ctx.payload["email"]
        _customer, is_new = get_user_model().objects.get_or_create(username=email)
        if is_new:
            mail.send_mail("Welcome", "Good to see you.", None, [email])
        return {"sent": email}


def sign_up(email: str, **options: Any) -> Any:
    """Welcome somebody, later."""
    return Jobs.push("welcome", {"email": email}, **options)


def sign_up_page(request: HttpRequest) -> HttpResponse:
    """Welcomes who has a good address."""
    try:
        validate_email(request.POST["email"])
    except ValidationError:
        return HttpResponse(status=400)
    sign_up(request.POST["email"])
    return HttpResponse()


urlpatterns = [path("sign-up/", sign_up_page)]
SITE = {
    "JOBS": {"welcome": "tests.docs.prelude.Welcome"},
    "JOBS_QUEUES": ["default", "mail"],
    "ROOT_URLCONF": "tests.docs.prelude",
}


class Gateway:
    """Charges, or keeps files, somewhere else."""

    def charge(self, amount: float, idempotency_key: str) -> None:
        """Nothing."""

    def put(self, path: str, data: bytes, token: int) -> None:
        """Nothing."""


class Web:
    """Answers a status."""

    def answers(self, status: int) -> None:
        """From now on."""
        self.status = status

    def get(self, url: str) -> int:
        """That of the page."""
        return self.status


class Plain(JobHandler):
    """Does nothing."""

    def handle(self, ctx: Any) -> None:
        return None


PLAIN = "tests.docs.prelude.Plain"
PRELUDES: dict[str, Prelude] = {
    "README.md": Prelude(settings={"JOBS": {"welcome": "shop.jobs.Welcome"}}),
    "docs/how-to/cancel.md": Prelude(
        names={"gateway": Gateway(), "chunks": [], "report_id": "7"}, settings={"JOBS": {"report": PLAIN}}
    ),
    "docs/how-to/deploy.md": Prelude(),
    "docs/how-to/handlers.md": Prelude(),
    "docs/how-to/isolation.md": Prelude(),
    "docs/how-to/locks.md": Prelude(
        names={"read_everything": lambda: None, "pages": [1, 2], "read": lambda page: None}
    ),
    "docs/how-to/logging.md": Prelude(),
    "docs/how-to/queues.md": Prelude(settings={"JOBS": dict.fromkeys(("welcome", "charge", "refund"), PLAIN)}),
    "docs/how-to/retries.md": Prelude(names={"web": Web()}, settings={"JOBS": {"report": PLAIN}}),
    "docs/how-to/schedule.md": Prelude(
        names={"is_holiday": lambda: False, "tell_operators": lambda: None},
        settings={
            "JOBS": dict.fromkeys(("report", "import", "statistics", "sale", "ping"), PLAIN),
            "JOBS_BUILTINS": ["command", "shell"],
            "JOBS_COMMANDS_ALLOWED": ["clearsessions"],
            "JOBS_SHELL_ALLOWED": ["du"],
        },
    ),
    "docs/how-to/security.md": Prelude(names={"Charge": Plain}),
    "docs/how-to/test-your-jobs.md": Prelude(names={"sign_up": sign_up}, settings=SITE, apart=True),
    "docs/how-to/transactions.md": Prelude(
        names={"Customer": get_user_model(), "Coupon": Group, "gateway": Gateway(), "storage": Gateway()},
        settings={"JOBS": {"welcome": PLAIN}},
    ),
    "docs/reference/exceptions-and-signals.md": Prelude(names={**vars(exceptions), "response": HttpResponse()}),
    "docs/reference/handlers.md": Prelude(
        names={"JobHandler": JobHandler, "job": job}, settings={"JOBS": {"welcome": "page.SendWelcomeEmail"}}
    ),
    "docs/reference/jobs.md": Prelude(
        names={"Jobs": Jobs, "backoff": backoff, "mutex": mutex, "pages": [1, 2], "read": lambda page: None},
        settings={"JOBS": {"welcome": PLAIN}},
    ),
    "docs/reference/schedule.md": Prelude(names={"Scheduler": Scheduler}, settings={"JOBS": {"report": PLAIN}}),
    "docs/reference/settings.md": Prelude(),
    "docs/tutorials/first-job.md": Prelude(),
}
