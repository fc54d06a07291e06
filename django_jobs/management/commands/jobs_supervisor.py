"""`jobs_supervisor`: print the file that has a service manager keep workers running."""

from __future__ import annotations

import getpass
import math
import os
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ...conf import conf
from ...worker.order import Asked
from ...worker.reload import working_folder
from ..base import JobsCommand, at_least_one, queues_asked
from ..units import KINDS, Service

SPARE_SECONDS = 10
"""What a worker may take to stop beside the time that its jobs have: for its last writes."""


def service_name(text: str) -> str:
    """A name that every service manager takes."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", text):
        raise ArgumentTypeError(
            _("%(name)r is no name of a service: use letters, digits, '_', '.' and '-'") % {"name": text[:80]}
        )
    return text


class Command(JobsCommand):
    """Print a file for a service manager."""

    about = gettext_lazy(
        "Print the file that has systemd, supervisor or Docker compose keep workers running, with times that fit the "
        "settings."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("--kind", choices=KINDS, default="systemd", help=_("For which service manager. Default: systemd."))
        add(
            "--name",
            type=service_name,
            metavar="NAME",
            help=_("The name of the service. Default: the folder's, with -jobs."),
        )
        add(
            *("--queue", "--queues"),
            dest="queues",
            action="extend",
            type=queues_asked,
            metavar="Q",
            help=_("The queues of one worker. Default: a unit of systemd for each queue; elsewhere all of them."),
        )
        add("--all", action="store_true", help=_("Every queue in one service: jobs_work --all."))
        add(
            "--workers",
            type=at_least_one,
            default=1,
            metavar="N",
            help=_("How many workers there are to be. Each has as many children as its queue says. Default: 1."),
        )
        add(
            "--stop-wait",
            type=at_least_one,
            metavar="SECONDS",
            help=_(
                "How long a worker may take to stop before it is killed. Default: JOBS_SHUTDOWN_TIMEOUT and "
                "JOBS_KILL_GRACE, and ten seconds."
            ),
        )

    def run(self, **options: Any) -> None:
        if options["all"] and options["queues"]:
            self.usage_error(_("Name queues, or give --all."))
        takes = conf.shutdown_timeout + conf.kill_grace
        wait = math.ceil(takes) + SPARE_SECONDS if options["stop_wait"] is None else options["stop_wait"]
        if wait <= takes:
            self.usage_error(
                _("--stop-wait must be more than JOBS_SHUTDOWN_TIMEOUT and JOBS_KILL_GRACE together: %(n)g seconds.")
                % {"n": takes}
            )
        folder = Path(working_folder())
        service = Service(
            name=options["name"] or (re.sub(r"[^a-z0-9_-]+", "-", folder.name.lower()).strip("-_") or "site") + "-jobs",
            folder=str(folder),
            user=getpass.getuser(),
            program=[sys.executable, *program(folder)],
            settings_module=os.environ.get("DJANGO_SETTINGS_MODULE", ""),
            arguments=["--all"] if options["all"] else [written(asked) for asked in options["queues"] or ()],
            workers=options["workers"],
            stop_wait=wait,
        )
        self.stdout.write(KINDS[options["kind"]](service), ending="")


def program(folder: Path) -> list[str]:
    """What runs the commands here: `manage.py`, if there is one, else Django itself."""
    manage = folder / "manage.py"
    return [str(manage)] if manage.exists() else ["-m", "django"]


def written(asked: Asked) -> str:
    """As the command line has it."""
    return str(asked) if asked.weight is None else f"{asked}:{asked.weight}"
