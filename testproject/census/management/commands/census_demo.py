"""`manage.py census_demo`: count real source code, one job per file, and say what came of it."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.core.management.color import no_style

from testproject.census import files, progress, report, run, site
from testproject.census.worker import WorkerProcess


class Command(BaseCommand):
    help = "Counts the source code of the standard library and of Django, one job per file, and prints what it found."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--limit", type=int, metavar="N", help="count only N files, evenly spread")
        parser.add_argument("--workers", type=int, metavar="N", help="how many child processes run jobs")
        parser.add_argument("--resume", metavar="RUN", help="finish an earlier run instead of starting one")

    def handle(self, *args: Any, **options: Any) -> None:
        if os.environ.get("NO_COLOR"):
            self.style = no_style()
        for option in ("limit", "workers"):
            if options[option] is not None and options[option] < 1:
                raise CommandError(f"--{option} must be at least 1.")
        self.prepare()
        name = options["resume"] or self.enqueue(options["limit"])
        total = run.size(name)
        if not total:
            raise CommandError(f"there are no jobs of a run {name!r}.")
        problem = self.work(name, total, options["workers"])
        self.conclude(name, problem)

    def prepare(self) -> None:
        site.migrate()
        self.stdout.write(f"Database: {settings.DATABASES['default']['NAME']}")
        if site.add_user():
            self.stdout.write(f"Created the superuser {site.USER!r} with the password {site.USER!r}.")
        else:
            self.stdout.write(f"The superuser {site.USER!r} is there already.")

    def enqueue(self, limit: int | None) -> str:
        try:
            real = files.real_files(limit)
        except FileNotFoundError as error:
            raise CommandError(str(error)) from error
        broken = files.broken_files()
        name = run.new_name()
        total = run.enqueue(name, [*broken, *real])
        self.stdout.write(f"Enqueued {total:,} jobs as {name}; {len(broken)} of them are of files broken on purpose.")
        return name

    def work(self, name: str, total: int, workers: int | None) -> str:
        """Run a worker until the queue is empty, and show how far it is. Answers what went wrong with it, if anything.

        Ctrl-C stops the worker, which finishes what it has begun, and ends the command.
        """
        line = progress.ProgressLine(self.stdout, total)
        try:
            with WorkerProcess(settings.VAR / "census-worker.log", workers) as worker:
                line.show(run.tally(name))
                while not worker.has_ended_within(line.interval):
                    line.show(run.tally(name))
        except KeyboardInterrupt:
            line.end()
            self.stdout.write(f"Stopped: {run.tally(name).done:,} of {total:,} jobs are done, and the others wait.")
            self.stdout.write(f"To continue: {site.command(f'census_demo --resume {name}')}")
            raise SystemExit(130) from None
        line.show(run.tally(name))
        line.end()
        return worker.problem()

    def conclude(self, name: str, problem: str) -> None:
        result = report.collect(name)
        for heading, lines in report.render(result):
            self.stdout.write("")
            self.stdout.write(self.style.MIGRATE_HEADING(heading))
            for line in lines:
                self.stdout.write(f"  {line}")
        self.stdout.write(f"\n{report.speed(result)}")
        self.stdout.write("\nThe jobs are in the admin:")
        self.stdout.write(f"  {site.command('runserver', TESTPROJECT_DEBUG='1')}")
        self.stdout.write(f"  then http://127.0.0.1:8000/admin/, as {site.USER!r} with the password {site.USER!r}")
        found = [*([problem] if problem else []), *report.problems(result)]
        if result.unfinished:
            found.append(f"to finish the run: {site.command(f'census_demo --resume {name}')}")
        if found:
            raise CommandError("\n".join(["this did not go as it should:", *(f"- {line}" for line in found)]))
        expected = len(files.BROKEN_FILES)
        others = len(result.failures) - expected
        more = f"; {others} more files do not parse" if others else ""
        self.stdout.write(
            self.style.SUCCESS(f"\nAll went as it should: the {expected} broken files failed as expected{more}.")
        )
