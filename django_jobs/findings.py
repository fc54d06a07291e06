"""What the system checks can find: each rule's id, what is wrong, and what to do. Ids never change.

The reference of the checks is made from this table.
"""

from __future__ import annotations

from typing import NamedTuple

from django.core import checks


class Rule(NamedTuple):
    """A rule: what is `wrong`, and what to `do`. `when` it is looked for is `always`, `deploy` or `database`."""

    wrong: str
    do: str
    when: str = "always"


RULES = {
    "E001": Rule(
        "`JOBS` is no dict, or one of its keys names nothing that can be a handler.",
        "Mend the entry in JOBS, or the handler it names.",
    ),
    "E002": Rule(
        "`JOBS_QUEUES` can't be read, or an option of a queue does not hold.", "Mend that entry of JOBS_QUEUES."
    ),
    "E003": Rule(
        "`JOBS_DEFAULTS` or `JOBS_BACKOFF` has an option that does not hold.", "Mend JOBS_DEFAULTS or JOBS_BACKOFF."
    ),
    "E004": Rule(
        "`JOBS_BACKENDS` has an entry that makes no backend, or not the one that `JOBS_DEFAULT_BACKEND` names.",
        "Mend JOBS_BACKENDS.",
    ),
    "E005": Rule(
        "A backend keeps its jobs in a database that `DATABASES` does not have.",
        "Set JOBS_DATABASE_ALIAS, or DATABASE in the backend's OPTIONS, to one that it has.",
    ),
    "E006": Rule(
        "A backend keeps its jobs in a kind of database that can't.", "Use PostgreSQL, MariaDB, MySQL or SQLite."
    ),
    "E007": Rule(
        "`JOBS_LEASE_SECONDS` is under three times `JOBS_HEARTBEAT_INTERVAL`.",
        "A late renewal would lose live work. Raise the lease, or renew more often.",
    ),
    "E008": Rule(
        "What a job may carry by the bounds in the settings does not fit a message between the worker's processes.",
        "Lower them: store what is big elsewhere, and pass its id.",
    ),
    "E009": Rule("A setting has a value of a wrong kind.", "Make it what the reference of the settings says."),
    "E010": Rule(
        "A backend that keeps jobs outside of the database has no `JOBS_SIGNING_KEY` of its own.",
        "Set JOBS_SIGNING_KEY to a long random text that every process of the site has.",
        "deploy",
    ),
    "E011": Rule("`JOBS_BUILTINS` names what is no built-in handler.", "Mend its spelling, or take it out."),
    "E012": Rule(
        "A setting names what can't be loaded or called: a middleware, the container, or a function of a backoff.",
        "Mend the dotted path.",
    ),
    "E013": Rule(
        "A handler has a `payload_type` that can't be used, or `msgspec` is not installed.",
        "Install 'django-jobs-queue[typed]', and give a dataclass, an attrs class or a msgspec.Struct.",
    ),
    "E020": Rule(
        "`JOBS_SCHEDULE`, or the `schedule` of an app's `jobs.py`, can't be read, or fails.",
        "Make it a list or a dict of entries, or a function that gets a Scheduler; mend what it raises.",
    ),
    "E021": Rule(
        "A field of an entry of the schedule does not hold, or its jobs could not be dispatched.",
        "Mend that entry. The others run.",
    ),
    "E022": Rule(
        "An entry of the schedule has a bad cron expression or frequency, one that never matches, or none.",
        "Mend it; `manage.py jobs_cronjob_test` looks at an expression.",
    ),
    "E023": Rule(
        "The handler of an entry of the schedule is not registered, or none.",
        "Mend the handler's key, or register it: in JOBS, by JOBS_BUILTINS, or in an app's jobs.py.",
    ),
    "E024": Rule(
        "`JOBS_SCHEDULE_TIMEZONE`, or the time zone of an entry of the schedule, is not one.",
        "Give a name that this host knows, such as 'Europe/Berlin'; the package tzdata has them all.",
    ),
    "E025": Rule("Two entries of the schedule have the same name.", "Give one of them another: named()."),
    "E026": Rule(
        "Entries of the schedule depend on each other in a circle.",
        "Take one of the dependencies out. Until then none of them runs.",
    ),
    "E030": Rule(
        "A handler is atomic, and the backend of its jobs can't complete them in a transaction of theirs.",
        "Use the database backend for it, or make it bear a second run, and take out atomic.",
    ),
    "E040": Rule(
        "A queue is isolated as `spawn`, and the settings are no module that a fresh interpreter could load.",
        "Set DJANGO_SETTINGS_MODULE instead of calling settings.configure(), or isolate it as fork.",
    ),
    "W001": Rule(
        "SQLite's transactions are deferred, so that a worker and a web process can fail with 'database is locked'.",
        'Add "transaction_mode": "IMMEDIATE" to the OPTIONS of the database.',
    ),
    "W002": Rule(
        "SQLite runs without its write-ahead log, so that readers and writers block each other.",
        'Add "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL" to the OPTIONS of the database.',
    ),
    "W003": Rule(
        "MySQL or MariaDB does not run at READ COMMITTED, so that claims deadlock.",
        "Take isolation_level out of the OPTIONS of the database: Django's default is read committed.",
    ),
    "W004": Rule(
        "A setting starts with `JOBS_` and is none of ours: a typing error, more often than not.",
        "Mend its spelling, or take it out.",
    ),
    "W005": Rule(
        "`JOBS_VERIFY_SIGNATURES` is False: whoever can write to the store chooses what the workers run.",
        "Set it to True, and JOBS_SIGNING_KEY to a secret that every process has.",
        "deploy",
    ),
    "W006": Rule(
        "Jobs are signed with a key that can be guessed: a short `JOBS_SIGNING_KEY`, or a `SECRET_KEY` as startproject "
        "makes it.",
        "Set JOBS_SIGNING_KEY to a random text of at least 32 characters that every process of the site has.",
        "deploy",
    ),
    "W007": Rule(
        "`DEBUG` is True: what goes wrong in a job is shown with what it held.",
        "Set DEBUG to False where workers do real work.",
        "deploy",
    ),
    "W008": Rule(
        "A queue's list of handlers is empty, so that no job may be on it.",
        "Name the handlers that may, or leave the option out to allow every one.",
    ),
    "W009": Rule("A queue's list of handlers names one that there is not.", "Mend its spelling, or take it out."),
    "W010": Rule(
        "A built-in handler is let in, and the list of what it may do is empty, so that all of its jobs fail.",
        "Name what it may do, or take it out of JOBS_BUILTINS.",
    ),
    "W011": Rule(
        "The database has no SKIP LOCKED, so that workers wait for each other's claims.",
        "Use MariaDB 10.6, MySQL 8.0.1 or later.",
        "database",
    ),
    "W012": Rule(
        "PostgreSQL runs with synchronous_commit off: jobs that were accepted are lost when it crashes.",
        "Leave synchronous_commit on for the database of the jobs.",
        "database",
    ),
    "W013": Rule(
        "SQLite gives up after less than 5 seconds when somebody else writes.",
        'Set "timeout" in the OPTIONS of the database to 20.',
    ),
    "W014": Rule(
        "A handler has an attribute whose name is almost that of an option or a hook, so that it has no effect.",
        "Mend its spelling, or give it a name of its own.",
    ),
    "W015": Rule(
        "A queue on SQLite has more than 4 workers: where their handlers write, they wait for each other.",
        "Lower max_workers, or move to PostgreSQL or MariaDB.",
    ),
    "W016": Rule(
        "`JOBS_SHELL_ALLOWED` names a program that is not on this host, or is not to be executed.",
        "Mend its path, install it, or take it out. A path starts with a slash; a name is looked up in PATH.",
    ),
    "W020": Rule(
        "An environment of an entry of the schedule is almost `JOBS_ENVIRONMENT`, or almost that of more entries.",
        "Mend its spelling, or leave it where it is meant.",
    ),
    "W021": Rule(
        "An entry of the schedule runs a management command that `JOBS_COMMANDS_ALLOWED` does not name, or a program "
        "that `JOBS_SHELL_ALLOWED` does not: it will fail.",
        "Add it there.",
    ),
    "W022": Rule(
        "An entry of the schedule depends on one that the code does not have, or that has no place in the order.",
        "Mend the name, unless an entry in the database has it. While it is nowhere, the entry does not run.",
    ),
    "W030": Rule(
        "An atomic handler on SQLite has a timeout of more than a third of `JOBS_LEASE_SECONDS`, when it is ended.",
        "Nobody can renew a lease while it has the only write lock: lower its timeout, or write in smaller jobs.",
    ),
    "W040": Rule(
        "An option of a queue has no effect with its isolation, or beside another one.",
        "Take it out, or choose another isolation.",
    ),
    "W041": Rule(
        "A queue is isolated as `inline`: a job that does not end at its timeout ends its worker.",
        "Isolate it as pool where handlers may hold on.",
        "deploy",
    ),
    "W042": Rule(
        "Handlers that are no `async def` may run several at once in a child: one that does not end at its timeout is "
        "killed together with those beside it, which run again.",
        "Give them a queue of their own without concurrency, name the others in the queue's handlers, or have them "
        "return in time by themselves.",
        "deploy",
    ),
}


def finding(rule: str, says: str, do: str = "") -> checks.CheckMessage:
    """The message of a rule: what is wrong here, and what to do (default: what the rule says)."""
    kind = checks.Error if rule.startswith("E") else checks.Warning
    return kind(says, hint=do or RULES[rule].do, id=f"django_jobs.{rule}")
