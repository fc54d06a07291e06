"""What a run came to: collected from the stored jobs, and printed as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, field
from datetime import datetime
from typing import NamedTuple

from django_jobs.models import CompletedJob, CompletedState, FailedJob, Job

from .files import BROKEN, BROKEN_FILES

LONGEST = 10
ERROR_WIDTH = 200


@dataclass(slots=True)
class Totals:
    """The sums over the files of one source."""

    files: int = 0
    lines: int = 0
    functions: int = 0
    classes: int = 0

    def add(self, files: int, lines: int, functions: int, classes: int) -> None:
        """Add to the sums."""
        self.files += files
        self.lines += lines
        self.functions += functions
        self.classes += classes


class LongFunction(NamedTuple):
    """One of the longest functions."""

    lines: int
    name: str
    path: str


class Failure(NamedTuple):
    """A job that failed for good."""

    source: str
    path: str
    reason: str
    attempt: int
    max_attempts: int
    error: str


@dataclass(slots=True)
class Report:
    """What a run came to. `seconds` is from the first start of a job to the last completion."""

    totals: dict[str, Totals] = field(default_factory=dict)
    longest: list[LongFunction] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    completed: int = 0
    cancelled: int = 0
    unfinished: int = 0
    seconds: float = 0.0
    run_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Completed jobs per second."""
        return self.completed / self.seconds if self.seconds else 0.0


def collect(run: str) -> Report:
    """The report of a run, from the tables of live, completed and failed jobs."""
    report = Report()
    first: datetime | None = None
    last: datetime | None = None
    for job in CompletedJob.objects.filter(group=run).order_by("finished_at"):
        if job.state != CompletedState.COMPLETED:
            report.cancelled += 1
            continue
        _add(report, job)
        if job.started_at is not None:
            first = min(first or job.started_at, job.started_at)
        last = job.finished_at
    if first is not None and last is not None:
        report.seconds = (last - first).total_seconds()
    report.longest = sorted(report.longest, reverse=True)[:LONGEST]
    report.failures = [_failure(job) for job in FailedJob.objects.filter(group=run).order_by("reason", "reference")]
    report.unfinished = Job.objects.filter(group=run).count()
    return report


def problems(report: Report) -> list[str]:
    """What did not go as it should. Files that don't parse are no problem, nor are those that are broken on purpose."""
    if report.unfinished:
        return [f"{report.unfinished:,} jobs have no outcome yet"]
    found = [f"{report.cancelled:,} jobs were cancelled"] if report.cancelled else []
    came_to = {failure.path: failure.reason for failure in report.failures if failure.source == BROKEN}
    for path, reason in BROKEN_FILES:
        if came_to.get(path) != reason:
            found.append(f"{path} should have failed as {reason}, and came to {came_to.get(path, 'no failure')}")
    return found + [
        f"{failure.path} failed as {failure.reason}: {failure.error}"
        for failure in report.failures
        if failure.source != BROKEN and failure.reason != "failed"
    ]


def render(report: Report) -> Iterator[tuple[str, list[str]]]:
    """The report as sections: a heading and its lines."""
    total = Totals()
    for totals in report.totals.values():
        total.add(*astuple(totals))
    rows = [(name, *astuple(totals)) for name, totals in [*report.totals.items(), ("total", total)]]
    yield "Counted", table(("source", "files", "lines", "functions", "classes"), rows, text=1)
    functions = [(f"{long.lines:,}", long.name, long.path) for long in report.longest]
    yield "Longest functions", table(("lines", "function", "file"), functions, text=3)
    yield f"Failed ({len(report.failures)})", _failure_lines(report.failures)


def speed(report: Report) -> str:
    """How fast the run was, as a sentence."""
    return (
        f"{report.completed:,} jobs completed in {report.seconds:.1f} s, {report.rate:,.0f} jobs per second "
        f"(the handlers took {report.run_seconds:.1f} s in all)."
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[str | int]], *, text: int) -> list[str]:
    """Columns as wide as their content, the first `text` of them flush left and the others flush right."""
    cells = [list(heads), *([f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    lines = []
    for row in cells:
        padded = [f"{c:<{w}}" if i < text else f"{c:>{w}}" for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(padded).rstrip())
    return lines


def _add(report: Report, job: CompletedJob) -> None:
    report.completed += 1
    report.run_seconds += job.run_seconds
    output = job.output
    totals = report.totals.setdefault(job.tags.strip(), Totals())
    totals.add(1, output["lines"], output["functions"], output["classes"])
    if longest := output["longest"]:
        report.longest.append(LongFunction(longest["lines"], longest["name"], f"{job.tags.strip()}: {job.reference}"))


def _failure(job: FailedJob) -> Failure:
    error = job.error_message.strip().partition("\n")[0]
    if job.error_class.rpartition(".")[2] != "NonRetryableJobError":
        error = f"{job.error_class.rpartition('.')[2]}: {error}"
    return Failure(job.tags.strip(), job.reference, job.reason, job.attempt, job.max_attempts, error)


def _failure_lines(failures: Sequence[Failure]) -> list[str]:
    lines = []
    for failure in failures:
        attempts = f"{failure.attempt} of {failure.max_attempts} attempts"
        lines.append(f"{failure.reason:<7} {attempts}  {failure.source}: {failure.path}")
        lines.append(f"    {failure.error[:ERROR_WIDTH]}")
    return lines
