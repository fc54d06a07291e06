"""The job of the census: count one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django_jobs import JobContext, JobHandler, NonRetryableJobError

from .counting import count


class CountFile(JobHandler):
    """Counts the file `payload["path"]` below the folder `payload["root"]`.

    A file with a syntax error fails at once, as the same text will not parse a second time. Anything else, such
    as a file that is missing or half written, is tried three times.
    """

    queue = "census"
    max_attempts = 3
    backoff = 0.5
    timeout = 30

    def handle(self, ctx: JobContext) -> dict[str, Any]:
        source = Path(ctx.payload["root"], ctx.payload["path"]).read_bytes()
        try:
            found = count(source)
        except SyntaxError as error:
            raise NonRetryableJobError(f"{type(error).__name__}: {error.msg} (line {error.lineno})") from error
        longest = found.longest._asdict() if found.longest else None
        return {**found._asdict(), "longest": longest}
