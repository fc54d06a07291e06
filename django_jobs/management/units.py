"""The files that have a service manager keep workers running. Rules without I/O."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from ..exceptions import JobsError


@dataclass(frozen=True, slots=True)
class Service:
    """What the files say. `arguments` are those of `jobs_work`; none is a template of a unit for each queue.

    Times are in seconds. `stop_wait` is more than a worker takes to stop.
    """

    name: str
    folder: str
    user: str
    program: Sequence[str]
    settings_module: str
    arguments: Sequence[str]
    workers: int
    stop_wait: int


def systemd(service: Service) -> str:
    """A unit of systemd: one for each queue, one for each of several workers, or just one."""
    if not service.arguments:
        file, arguments, about = f"{service.name}@.service", ["%i"], f"Jobs: {service.name}, queue %i"
        units = f"{service.name}@default {service.name}@mail"
    else:
        arguments = [_systemd_word(word) for word in service.arguments]
        about = f"Jobs: {service.name}"
        if service.workers > 1:
            file = f"{service.name}@.service"
            units = " ".join(f"{service.name}@{n}" for n in range(1, service.workers + 1))
        else:
            file, units = f"{service.name}.service", service.name
    command = " ".join([*map(_systemd_word, service.program), "jobs_work", *arguments])
    return f"""\
# /etc/systemd/system/{file}
#   systemctl daemon-reload
#   systemctl enable --now {units}
# A new version of the code: systemctl reload {units}

[Unit]
Description={about}
After=network-online.target
Wants=network-online.target
# However often it dies, as while a deployment is under way: it is started again.
StartLimitIntervalSec=0

[Service]
User={service.user}
WorkingDirectory={service.folder.replace("%", "%%")}
Environment={_systemd_word(f"DJANGO_SETTINGS_MODULE={service.settings_module}")}
ExecStart={command}
# It drains, and starts anew in the same process.
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=1
# The worker itself tells its children to stop.
KillMode=mixed
# More than JOBS_SHUTDOWN_TIMEOUT and JOBS_KILL_GRACE together.
TimeoutStopSec={service.stop_wait}
# When memory runs out, one job dies, and not the worker.
OOMPolicy=continue
NoNewPrivileges=yes

[Install]
WantedBy=multi-user.target
"""


def supervisor(service: Service) -> str:
    """A program of supervisor, with as many processes as there are to be workers. Raises `JobsError`."""
    words = [*service.program, "jobs_work", *(service.arguments or ["--all"])]
    command = shlex.join(words).replace("%", "%%")
    for text in (command, service.folder):
        if re.search(r"\s[;#]", text):
            raise JobsError(_("supervisor takes the end of this for a comment: %(text)s") % {"text": text})
    log = f"{service.name}_%(process_num)02d" if service.workers > 1 else service.name  # each moves its own on
    return f"""\
; /etc/supervisor/conf.d/{service.name}.conf
;   supervisorctl update
; A new version of the code: supervisorctl signal HUP {service.name}:*

[program:{service.name}]
command={command}
directory={service.folder.replace("%", "%%")}
user={service.user}
environment=DJANGO_SETTINGS_MODULE="{service.settings_module}"
numprocs={service.workers}
process_name=%(program_name)s_%(process_num)02d
autostart=true
autorestart=true
startsecs=5
startretries=1000000
stopsignal=TERM
; More than JOBS_SHUTDOWN_TIMEOUT and JOBS_KILL_GRACE together.
stopwaitsecs={service.stop_wait}
; The worker itself tells its children to stop.
stopasgroup=false
killasgroup=true
redirect_stderr=true
stdout_logfile=/var/log/{log}.log
"""


def compose(service: Service) -> str:
    """A service of Docker compose."""
    words = ["python", "manage.py", "jobs_work", *(service.arguments or ["--all"])]
    command = json.dumps([word.replace("$", "$$") for word in words])
    return f"""\
# docker-compose.yml
services:
  {service.name}:
    build: .
    command: {command}
    environment:
      DJANGO_SETTINGS_MODULE: {json.dumps(service.settings_module)}
    # Processes that jobs leave behind find a parent.
    init: true
    restart: always
    stop_signal: SIGTERM
    # More than JOBS_SHUTDOWN_TIMEOUT and JOBS_KILL_GRACE together.
    stop_grace_period: {service.stop_wait}s
    deploy:
      replicas: {service.workers}
"""


KINDS: dict[str, Callable[[Service], str]] = {"systemd": systemd, "supervisor": supervisor, "compose": compose}


def _systemd_word(word: str) -> str:
    """A word of a command or an assignment as systemd reads it."""
    word = word.replace("%", "%%").replace("$", "$$")
    if word and not any(c.isspace() or c in "\"'\\;" for c in word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
