"""Handlers for tests and benchmarks: each does one thing that a job may do."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import random
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from collections import deque
from itertools import repeat
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.utils import timezone

from django_jobs import (
    JobCancelled,
    JobContext,
    JobHandler,
    JobResult,
    NonRetryableJobError,
    RetryableJobError,
    RetryAfter,
    job,
    register,
)


class NoOp(JobHandler):
    """Nothing."""

    def handle(self, ctx: JobContext) -> None:
        return None


class Flaky(JobHandler):
    """Fails until its attempt number `payload["good"]`."""

    max_attempts = 5
    backoff = 0

    def handle(self, ctx: JobContext) -> dict[str, Any]:
        if ctx.attempt < ctx.payload["good"]:
            raise RetryableJobError("not yet", retry_after=ctx.payload.get("after", 0))
        return {"attempt": ctx.attempt}


@register("trial.write")
class Write(JobHandler):
    """Appends a line to the file `payload["path"]`: proof of a run, in a place that no rollback reaches."""

    def handle(self, ctx: JobContext) -> None:
        if pause := ctx.payload.get("seconds"):
            time.sleep(pause)
        append(ctx.payload["path"], f"{ctx.job_id} {ctx.attempt} {ctx.claim_no}")


@register("trial.fail")
class Fail(JobHandler):
    """Raises."""

    def handle(self, ctx: JobContext) -> None:
        raise ValueError("this job fails")


@register("trial.refuse")
class Refuse(JobHandler):
    """Fails for good."""

    max_attempts = 5

    def handle(self, ctx: JobContext) -> None:
        raise NonRetryableJobError("never")


@register("trial.limited")
class Limited(JobHandler):
    """The first one learns that its service wants to be left alone for `payload["seconds"]`."""

    service = "limited"
    max_attempts = 5

    def handle(self, ctx: JobContext) -> None:
        append(ctx.payload["path"], f"{ctx.job_id} {ctx.attempt} {time.time()}")
        if ctx.payload["seconds"] and ctx.attempt == 1:
            raise RetryAfter(ctx.payload["seconds"])


@register("trial.sleep")
class Sleep(JobHandler):
    """Sleeps `payload["seconds"]`; says in the file `payload["path"]` when it starts and ends."""

    def handle(self, ctx: JobContext) -> str:
        path = (ctx.payload or {}).get("path")
        if path:
            append(path, f"start {ctx.job_id} {ctx.attempt} {os.getpid()}")
        time.sleep(ctx.payload["seconds"])
        if path:
            append(path, f"end {ctx.job_id} {ctx.attempt} {os.getpid()}")
        return "rested"


@register("trial.deaf")
class Deaf(JobHandler):
    """Swallows everything that asks it to stop."""

    def handle(self, ctx: JobContext) -> None:
        end = time.monotonic() + ctx.payload["seconds"]
        while time.monotonic() < end:
            with contextlib.suppress(BaseException):
                time.sleep(0.05)


@register("trial.deaf_coroutine")
class DeafCoroutine(JobHandler):
    """Swallows the cancellation, and writes down that it works on."""

    async def handle(self, ctx: JobContext) -> None:
        end = time.monotonic() + ctx.payload["seconds"]
        while time.monotonic() < end:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.02)
            append(ctx.payload["path"], str(os.getpid()))


@register("trial.cancellable_coroutine")
class CancellableCoroutine(JobHandler):
    """Sleeps in an event loop; says in a file what it met."""

    async def handle(self, ctx: JobContext) -> None:
        append(ctx.payload["path"], f"started {ctx.job_id}")
        try:
            await asyncio.sleep(ctx.payload["seconds"])
        except BaseException as error:
            append(ctx.payload["path"], type(error).__name__)
            raise


@register("trial.die")
class Die(JobHandler):
    """Kills its own process, by SIGKILL or the signal `payload["signal"]`."""

    def handle(self, ctx: JobContext) -> None:
        given = ctx.payload or {}
        if path := given.get("path"):
            append(path, f"{ctx.job_id} {ctx.claim_no}")
        os.kill(os.getpid(), given.get("signal", signal.SIGKILL))


@register("trial.exit")
class Exit(JobHandler):
    """Calls sys.exit(), which must not end the child."""

    def handle(self, ctx: JobContext) -> None:
        raise SystemExit(3)


@register("trial.snooze")
class Snooze(JobHandler):
    """Snoozes until the file `payload["path"]` exists."""

    def handle(self, ctx: JobContext) -> JobResult:
        if os.path.exists(ctx.payload["path"]):
            return JobResult.success("awake")
        return JobResult.snooze(0.05)


@register("trial.gate")
class Gate(JobHandler):
    """Runs until the file `payload["gate"]` exists."""

    def handle(self, ctx: JobContext) -> None:
        while not os.path.exists(ctx.payload["gate"]):
            time.sleep(0.01)


@register("trial.cancelled")
class Cancelled(JobHandler):
    """Cancels itself."""

    def handle(self, ctx: JobContext) -> None:
        raise JobCancelled


@register("trial.atomic")
class Atomic(JobHandler):
    """Leaves an entry in a table, which only its completion makes last; then does what `payload["then"]` says."""

    atomic = True
    max_attempts = 2
    backoff = 0

    def handle(self, ctx: JobContext) -> Any:
        payload = ctx.payload or {}
        using = payload.get("using", "default")
        leave_entry(using, ctx)
        match payload.get("then"):
            case "raise":
                raise ValueError("as asked")
            case "die":
                if ctx.claim_no == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
            case "die after the commit":
                transaction.on_commit(lambda: os.kill(os.getpid(), signal.SIGKILL), using=using)
            case "raise after the commit":
                transaction.on_commit(lambda: 1 // 0, using=using)
            case "write after the commit":
                transaction.on_commit(lambda: append(payload["path"], "on_commit"), using=using)
            case "doze":
                time.sleep(random.uniform(0.0, 0.01))
            case "sleep":
                append(payload["path"], f"started {ctx.job_id}")
                time.sleep(payload["seconds"])
            case "snooze":
                if ctx.claim_no == 1:
                    return JobResult.snooze(0.05)
            case "leave a transaction open":
                transaction.atomic(using=using).__enter__()
            case "break the transaction":
                with contextlib.suppress(Exception), connections[using].cursor() as cursor:
                    cursor.execute("SELECT nothing FROM nowhere")
                transaction.set_rollback(True, using=using)
            case "lose the transaction":  # as MySQL and MariaDB do at a deadlock, whose error the handler may ignore
                with connections[using].cursor() as cursor:
                    cursor.execute("ROLLBACK")
            case "let a copy of its process return" | "let a copy of its process raise" as what:
                if (pid := os.fork()) == 0:
                    assert what.endswith("return"), "as asked"
                else:
                    os.waitpid(pid, 0)
        return payload.get("result")

    def on_success(self, ctx: JobContext, result: Any) -> None:
        self.say(ctx, f"on_success {result}")

    def on_retry(self, ctx: JobContext, error: Exception) -> None:
        self.say(ctx, f"on_retry {error}")

    def on_failure(self, ctx: JobContext, error: Exception) -> None:
        self.say(ctx, f"on_failure {error}")

    def on_cancel(self, ctx: JobContext) -> None:
        self.say(ctx, "on_cancel")

    def say(self, ctx: JobContext, line: str) -> None:
        if path := (ctx.payload or {}).get("path"):
            append(path, line)


@register("trial.atomic_coroutine")
class AtomicCoroutine(JobHandler):
    """Leaves an entry, lets others run, and fails where the payload says so."""

    atomic = True

    async def handle(self, ctx: JobContext) -> None:
        await sync_to_async(leave_entry)("default", ctx)
        await asyncio.sleep(0.05)
        if ctx.payload:
            raise ValueError("as asked")


def leave_entry(using: str, ctx: JobContext) -> None:
    """A row of the job's own, in the database `using`."""
    from django_jobs.models import JobEvent

    JobEvent.objects.using(using).create(
        job_id=ctx.job_id, queue=ctx.queue, type="effect", message="", data={}, at=timezone.now()
    )


@register("trial.hooks")
class Hooks(JobHandler):
    """Says in a file which of its hooks ran."""

    max_attempts = 2
    backoff = 0

    def handle(self, ctx: JobContext) -> str:
        if ctx.attempt <= ctx.payload.get("failures", 0):
            raise ValueError("as asked")
        return "done"

    def before_run(self, ctx: JobContext) -> None:
        self.say(ctx, "before_run")

    def after_run(self, ctx: JobContext, result: Any) -> None:
        self.say(ctx, "after_run")
        raise RuntimeError("an error in after_run changes nothing")

    def on_success(self, ctx: JobContext, result: Any) -> None:
        self.say(ctx, f"on_success {result}")
        raise RuntimeError("an error in a hook changes nothing")

    def on_retry(self, ctx: JobContext, error: Exception) -> None:
        self.say(ctx, f"on_retry {error}")

    def on_failure(self, ctx: JobContext, error: Exception) -> None:
        self.say(ctx, f"on_failure {error}")

    def say(self, ctx: JobContext, line: str) -> None:
        append(ctx.payload["path"], line)


@job("trial.add", queue="default", max_attempts=2)
def add(a: int, b: int = 1) -> int:
    """A function job."""
    return a + b


@job("trial.context", takes_context=True)
def tell(ctx: JobContext, word: str) -> str:
    """A function job that sees its context."""
    return f"{word} {ctx.attempt}"


@register("trial.sql")
class Sql(JobHandler):
    """Uses the site's database."""

    def handle(self, ctx: JobContext) -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 41 + 1")
            return int(cursor.fetchone()[0])


def append(path: str, line: str) -> None:
    """Append a line in one write, so that processes do not mix theirs."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(fd, f"{line}\n".encode())
    finally:
        os.close(fd)


@register("trial.grandchild")
class Grandchild(JobHandler):
    """Starts a program, and waits for ever in spite of everything."""

    def handle(self, ctx: JobContext) -> None:
        program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        append(ctx.payload["path"], str(program.pid))
        while True:
            with contextlib.suppress(BaseException):
                program.wait()


@register("trial.nap")
class Nap(JobHandler):
    """Sleeps in an event loop; says in the file `payload["path"]` when it starts and how it ends, and where it runs."""

    async def handle(self, ctx: JobContext) -> None:
        loop = id(asyncio.get_running_loop())
        append(ctx.payload["path"], f"start {ctx.job_id} {os.getpid()} {loop}")
        try:
            await asyncio.sleep(ctx.payload["seconds"])
            async for _ in User.objects.all()[:1]:
                pass
        finally:
            append(ctx.payload["path"], f"end {ctx.job_id} {os.getpid()} {loop}")


@register("trial.block")
class Block(JobHandler):
    """Keeps its event loop from everything else for `payload["seconds"]`."""

    async def handle(self, ctx: JobContext) -> None:
        append(ctx.payload["path"], f"start {ctx.job_id}")
        time.sleep(ctx.payload["seconds"])


@register("trial.open")
class Open(JobHandler):
    """Opens as many files as it is told, or as it can, and closes none of them."""

    def handle(self, ctx: JobContext) -> None:
        with contextlib.suppress(OSError):
            for _ in range(ctx.payload or 10**9):
                os.open(os.devnull, os.O_RDONLY)


@register("trial.hostile")
class Hostile(JobHandler):
    """Does not want to end: `payload["how"]` is what it does instead. Says first in which process, and when."""

    def handle(self, ctx: JobContext) -> None:
        append(ctx.payload["path"], f"{os.getpid()} {time.monotonic()}")
        getattr(self, ctx.payload["how"])(ctx)

    def holds_the_interpreter(self, ctx: JobContext) -> None:
        deque(repeat(None), maxlen=0)  # a loop in C, which looks for no signal

    def matches(self, ctx: JobContext) -> None:
        re.match(r"(a|aa|a*)*$", "a" * 60 + "b")

    def raises_to_a_power(self, ctx: JobContext) -> None:
        pow(7, 10**9)

    def catches(self, ctx: JobContext) -> None:
        while True:
            with contextlib.suppress(BaseException):
                time.sleep(0.05)

    def blocks(self, ctx: JobContext) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            time.sleep(0.05)

    def forks(self, ctx: JobContext) -> None:
        for _ in range(3):
            if os.fork() == 0:
                os.setsid()
                if os.fork():
                    os._exit(0)
                append(ctx.payload["path"], f"{os.getpid()} daemon")
                break
        self.catches(ctx)

    def leaks(self, ctx: JobContext) -> None:
        while True:
            HOARD.append(b"x" * (1 << 20))
            time.sleep(0.01)

    def dies(self, ctx: JobContext) -> None:
        ctypes.string_at(0)


@register("trial.daemon")
class Daemon(JobHandler):
    """Leaves a process in a session of its own; then dies, sleeps, or is deaf, as the payload says."""

    def handle(self, ctx: JobContext) -> None:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                append(ctx.payload["path"], str(os.getpid()))
                time.sleep(60)
            os._exit(0)
        os.wait()
        while not os.path.exists(ctx.payload["path"]):
            time.sleep(0.01)
        if ctx.payload.get("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        end = time.monotonic() + ctx.payload.get("seconds", 0)
        while time.monotonic() < end:
            with contextlib.suppress(BaseException if ctx.payload.get("deaf") else ()):
                time.sleep(0.05)


HOARD: list[bytes] = []


@register("trial.hoard")
class Hoard(JobHandler):
    """Keeps `payload["mb"]` of memory, and says in which process."""

    def handle(self, ctx: JobContext) -> None:
        HOARD.append(b"x" * (ctx.payload["mb"] << 20))
        append(ctx.payload["path"], str(os.getpid()))


@register("trial.leak")
class Leak(JobHandler):
    """Leaves a transaction open in its process."""

    def handle(self, ctx: JobContext) -> None:
        transaction.atomic().__enter__()
        from django_jobs.models import Worker

        Worker.objects.filter(id=ctx.worker_id).update(host="leaked")


@register("trial.pg_sleep")
class SleepInSQL(JobHandler):
    """Is in the middle of a query when its time is up."""

    def handle(self, ctx: JobContext) -> None:
        with connection.cursor() as cursor:
            cursor.execute(LONG_QUERIES[connection.vendor])


LONG_QUERIES = {
    "postgresql": "SELECT pg_sleep(4)",
    "mysql": "SELECT SLEEP(4)",
    "sqlite": """
        WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 2000000000) SELECT count(*) FROM n""",
}


@register("trial.garbage")
class Garbage(JobHandler):
    """Writes a text into every socket that it finds open."""

    def handle(self, ctx: JobContext) -> None:
        for fd in sockets():
            with contextlib.suppress(OSError):
                os.write(fd, (ctx.payload or "garbage").encode())


@register("trial.shut")
class Shut(JobHandler):
    """Shuts every socket that it finds open, for all who have it."""

    def handle(self, ctx: JobContext) -> None:
        for fd in sockets():
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as shared:
                shared.shutdown(socket.SHUT_RDWR)


@register("trial.steal")
class Steal(JobHandler):
    """Takes one message out of the sockets that it finds open."""

    def handle(self, ctx: JobContext) -> None:
        while True:
            ready, _, _ = select.select(sockets(), [], [], 0.1)
            for fd in ready:
                if os.read(fd, 500_000):
                    return


def sockets() -> list[int]:
    """The descriptors of sockets in this process."""
    found = []
    for fd in range(3, 64):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                found.append(fd)
    return found


@register("trial.big")
class Big(JobHandler):
    """Answers as much as fits, and more."""

    def handle(self, ctx: JobContext) -> str:
        return "x" * ctx.payload["bytes"]


@register("trial.mixed")
class Mixed(JobHandler):
    """Quick, but slow or deadly where the payload says so."""

    def handle(self, ctx: JobContext) -> None:
        if "path" in ctx.payload:
            append(ctx.payload["path"], f"{ctx.job_id} {ctx.payload['n']}")
        if ctx.payload["n"] in ctx.payload.get("die", ()):
            os.kill(os.getpid(), signal.SIGKILL)
        if ctx.payload["n"] in ctx.payload.get("slow", ()):
            time.sleep(ctx.payload["seconds"])


@register("trial.cancellable")
class Cancellable(JobHandler):
    """Sleeps `payload["seconds"]`; says in a file what it met, and which hook followed. May swallow what it met."""

    max_attempts = 3

    def handle(self, ctx: JobContext) -> str:
        append(ctx.payload["path"], f"started {ctx.job_id}")
        try:
            time.sleep(ctx.payload["seconds"])
        except BaseException as error:
            append(ctx.payload["path"], f"{type(error).__name__} {ctx.cancelled()}")
            if not ctx.payload.get("swallows"):
                raise
        return "done"

    def on_success(self, ctx: JobContext, result: Any) -> None:
        append(ctx.payload["path"], "on_success")

    def on_cancel(self, ctx: JobContext) -> None:
        append(ctx.payload["path"], "on_cancel")


@register("trial.chatter")
class Chatter(JobHandler):
    """Writes into its timeline without end."""

    def handle(self, ctx: JobContext) -> None:
        ctx.progress(1, "begun", total=2)
        while True:
            ctx.emit("x" * 4000)


@register("trial.loud")
class Loud(JobHandler):
    """Prints its payload."""

    def handle(self, ctx: JobContext) -> None:
        print(ctx.payload, flush=True)


@register("trial.echo")
class Echo(JobHandler):
    """Runs a program that prints where we print."""

    def handle(self, ctx: JobContext) -> None:
        subprocess.run(ctx.payload, check=True)


@register("trial.indiscreet")
class Indiscreet(JobHandler):
    """Says its secret wherever it can, and fails."""

    max_attempts = 2
    backoff = 0

    def handle(self, ctx: JobContext) -> None:
        secret = ctx.payload["password"]
        ctx.emit(f"password={secret}", token=secret, plain="seen")
        logging.getLogger("django_jobs.trial").warning("about to fail")
        raise ValueError(f"could not connect to postgres://joe:{secret}@db/shop")

    def on_failure(self, ctx: JobContext, error: Exception) -> None:
        raise RuntimeError(f"api_key: {ctx.payload['password']}")


@register("trial.moment")
class Moment(JobHandler):
    """Says when it starts, in monotonic nanoseconds."""

    def handle(self, ctx: JobContext) -> None:
        append(ctx.payload["path"], str(time.monotonic_ns()))
