"""The built-in handler `command`: runs a management command."""

from __future__ import annotations

import io
import shlex
from collections.abc import Mapping
from typing import Any

from django.core.management import CommandError, call_command

from ..conf import conf, is_listed
from ..context import JobContext
from ..exceptions import InvalidDefinition, NonRetryableJobError
from .base import JobHandler


class CommandHandler(JobHandler):
    """Runs a management command that `JOBS_COMMANDS_ALLOWED` names; its output is the job's.

    The payload is `{"name": "clearsessions", "args": [], "options": {}}`, or one text that is split as a shell would:
    `"app:report --month=06"` (a `app:` before the name is dropped). A command that exits with anything but 0 fails
    the attempt.
    """

    def handle(self, ctx: JobContext) -> str:
        try:
            name, args, options = parse_command(ctx.payload)
        except InvalidDefinition as error:
            raise NonRetryableJobError(str(error)) from None
        if not is_listed(name, conf.commands_allowed):
            raise NonRetryableJobError(f"the command {name!r} is not allowed. Add it to JOBS_COMMANDS_ALLOWED.")
        output = io.StringIO()
        try:
            call_command(name, *args, stdout=output, stderr=output, **options)
        except SystemExit as stop:
            if stop.code not in (None, 0):
                raise CommandError(f"{name} exited with {stop.code}: {output.getvalue()[-2000:]}") from stop
        return output.getvalue()

    @classmethod
    def clean_payload(cls, payload: Any) -> Any:
        """Raise `InvalidDefinition` unless `payload` names a command in one of the forms."""
        parse_command(payload)
        return payload


def parse_command(payload: Any) -> tuple[str, list[str], dict[str, Any]]:
    """The command's name, arguments and options. Raises `InvalidDefinition`."""
    if isinstance(payload, str):
        try:
            words = shlex.split(payload)
        except ValueError as error:
            raise InvalidDefinition(f"payload: the command can't be split: {error}.") from None
        if words:
            return words[0].rpartition(":")[2], words[1:], {}
    elif isinstance(payload, Mapping) and isinstance(payload.get("name"), str):
        args, options = payload.get("args") or [], payload.get("options") or {}
        unknown = set(payload) - {"name", "args", "options"}
        if isinstance(args, list | tuple) and isinstance(options, Mapping) and not unknown:
            return payload["name"], [str(arg) for arg in args], dict(options)
    raise InvalidDefinition(
        'payload: a command is a text such as "clearsessions", or {"name": ..., "args": [...], "options": {...}}.'
    )
