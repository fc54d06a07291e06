"""`mutex`: one holder at a time, wherever locks are kept."""

from __future__ import annotations

import logging
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from django_jobs.backends.database import DatabaseBackend
from django_jobs.exceptions import InvalidDefinition, LockLost, LockTaken
from django_jobs.locks import FileLocks, Locks, cache_locks, mutex
from django_jobs.locks.database import DatabaseLocks
from django_jobs.maintenance.cleanup import expire
from django_jobs.models import Lock
from tests.support.clock import advance_database
from tests.support.services import Services, missing
from tests.support.site import site_env
from tests.support.threads import run_together
from tests.support.waiting import wait_until
from tests.support.worker import ROOT

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
SHORT = 0.05
"""So soon a lock is over, where no clock can be moved. Caches but Redis round it up to a second."""
DRIVERS = ["sqlite", "postgresql", "mysql", "locmem", "redis", "file"]


class Kept:
    """Locks of one kind, and how to let their time pass."""

    def __init__(self, locks: Locks, advance: Callable[[], None] | None = None) -> None:
        self.locks = locks
        self.advance = advance

    def mutex(self, name: str = "import", ttl: float = 60, **given: Any) -> Any:
        return mutex(name, ttl, driver=self.locks, **given)

    def lose(self, lock: Any, name: str = "import") -> None:
        """Let the time of a lock that was taken for `SHORT` pass."""
        if self.advance:
            self.advance()
        wait_until(lambda: not lock.is_held(), "the lock to be over")


@pytest.fixture(params=DRIVERS)
def kept(request: Any, settings: Any, tmp_path: Path, services: Services) -> Iterator[Kept]:
    kind = request.param
    if kind in ("sqlite", "postgresql", "mysql"):
        if kind != "sqlite" and getattr(services, kind) is None:
            missing(kind, services.reasons[kind])
        request.getfixturevalue("django_db_setup")
        with request.getfixturevalue("django_db_blocker").unblock():
            alias = "default" if kind == "sqlite" else kind
            settings.JOBS_DATABASE_ALIAS = alias
            store = DatabaseBackend("default", {"DATABASE": alias})
            Lock._default_manager.using(alias).all().delete()
            yield Kept(DatabaseLocks(), lambda: advance_database(store, 60))
            Lock._default_manager.using(alias).all().delete()
    elif kind == "file":
        yield Kept(FileLocks(tmp_path))
    else:
        place = {"BACKEND": LOCMEM}
        if kind == "redis":
            if services.redis is None:
                missing(kind, services.reasons[kind])
            place = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"{services.redis.url}/9"}
        place |= {"KEY_PREFIX": uuid.uuid4().hex}
        settings.CACHES = {"default": place}
        yield Kept(cache_locks())


def test_one_has_it_and_the_next_when_it_is_free(kept: Kept) -> None:
    with kept.mutex() as lock:
        assert lock.is_held()
        with pytest.raises(LockTaken, match="the lock 'import' is taken"):
            kept.mutex().acquire()
        with pytest.raises(LockTaken):
            lock.acquire()  # nor by the same holder
        assert lock.is_held()
        with kept.mutex("another"), kept.mutex("Import"):
            assert lock.is_held()
    assert not lock.is_held()
    with kept.mutex():
        assert not lock.is_held()
        assert not lock.release()


def test_it_is_freed_by_an_error_too(kept: Kept) -> None:
    with pytest.raises(ZeroDivisionError), kept.mutex():
        raise ZeroDivisionError
    kept.mutex().acquire()


def test_when_its_time_is_over_another_may_have_it_and_keeps_it(kept: Kept, caplog: Any) -> None:
    first, second = kept.mutex(ttl=SHORT), kept.mutex()
    with first:
        kept.lose(first)
        second.acquire()
        with pytest.raises(LockLost):
            first.renew()
    assert second.is_held()
    assert not first.release()
    assert second.is_held()
    assert caplog.records == [], "who has heard of it need not be told"


def test_who_does_not_ask_finds_it_in_the_log(kept: Kept, caplog: Any) -> None:
    with kept.mutex(ttl=SHORT) as lock:
        kept.lose(lock)
        kept.mutex().acquire()
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "django_jobs.locks")
    assert record.getMessage() == "the time of the lock import (0.05 s) was over before its release"


def test_one_that_is_over_can_not_be_renewed_though_nobody_has_it(kept: Kept) -> None:
    lock = kept.mutex(ttl=SHORT)
    lock.acquire()
    kept.lose(lock)
    with pytest.raises(LockLost):
        lock.renew()


def test_it_lasts_from_its_renewal_on(kept: Kept) -> None:
    lock = kept.mutex()
    lock.acquire()
    lock.renew(SHORT)
    kept.lose(lock)
    lock = kept.mutex(ttl=SHORT)
    lock.acquire()
    lock.renew("2h")
    if kept.advance:
        kept.advance()
    assert lock.is_held()


def test_it_is_waited_for(kept: Kept) -> None:
    lock = kept.mutex()
    lock.acquire()
    assert run_together(lambda: lock.release(), lambda: kept.mutex(wait=30).acquire()) == [True, None]
    with pytest.raises(LockTaken):
        kept.mutex(wait=0.01).acquire()


def test_of_many_threads_one_is_in_it(kept: Kept) -> None:
    inside: list[int] = []
    most: list[int] = []

    def enter(n: int) -> None:
        for _ in range(5):
            with kept.mutex(wait=60):
                inside.append(n)
                most.append(len(inside))
                inside.remove(n)

    run_together(*(lambda n=n: enter(n) for n in range(4)))
    assert most == [1] * 20


def test_of_many_who_come_at_once_one_has_it(kept: Kept) -> None:
    def take(n: int) -> bool:
        try:
            kept.mutex(f"round {n}").acquire()
        except LockTaken:
            return False
        return True

    for n in range(5):
        assert sum(run_together(*[lambda n=n: take(n)] * 4)) == 1


def test_of_many_who_find_it_over_one_has_it(kept: Kept) -> None:
    lock = kept.mutex(ttl=SHORT)
    lock.acquire()
    kept.lose(lock)
    others = [kept.mutex() for _ in range(4)]

    def take(other: Any) -> None:
        with suppress(LockTaken):
            other.acquire()

    run_together(*(lambda other=other: take(other) for other in others))
    assert [other.is_held() for other in others].count(True) == 1


PROGRAM = """
import sys
import django
django.setup()
from pathlib import Path
from django_jobs.locks import FileLocks, mutex
number, folder = Path(sys.argv[1]), sys.argv[2]
for _ in range(30):
    with mutex("number", 60, wait=60, driver=FileLocks(folder) if folder else "database"):
        number.write_text(str(int(number.read_text()) + 1))
"""


def count_in_processes(number: Path, folder: str, env: dict[str, str]) -> None:
    number.write_text("0")
    command = [sys.executable, "-c", PROGRAM, str(number), folder]
    env = {**env, "DJANGO_SETTINGS_MODULE": "testproject.settings"}
    processes = [subprocess.Popen(command, cwd=ROOT, env=env) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert number.read_text() == "60"


def test_processes_keep_out_of_each_others_way(jobs_on: DatabaseBackend, tmp_path: Path) -> None:
    count_in_processes(tmp_path / "number", "", site_env(jobs_on.database))


def test_processes_of_one_host_do_with_files_too(tmp_path: Path, django_db_setup: None) -> None:
    count_in_processes(tmp_path / "number", str(tmp_path), site_env("default"))


# -- of the database --------------------------------------------------------------------------------------------------


def test_in_a_transaction_it_is_held_until_the_commit(jobs_on: DatabaseBackend) -> None:
    if jobs_on.sql.connection.vendor == "sqlite":
        pytest.skip("a transaction has the only write lock anyway")
    order: list[str] = []

    def first() -> None:
        with transaction.atomic(using=jobs_on.database):
            with mutex("import", 60):
                order.append("first")
            wait_until(lambda: "second tries" in order, "the second to come")
            order.append("commit")

    def second() -> None:
        wait_until(lambda: "first" in order, "the first to have it")
        order.append("second tries")
        with mutex("import", 60, wait=60):
            order.append("second")

    run_together(first, second)
    assert order == ["first", "second tries", "commit", "second"]


def test_one_that_is_taken_does_not_break_the_callers_transaction(jobs_on: DatabaseBackend) -> None:
    mutex("import", 60).acquire()
    with transaction.atomic(using=jobs_on.database):
        with pytest.raises(LockTaken):
            mutex("import", 60).acquire()
        mutex("another", 60).acquire()
    assert Lock._default_manager.using(jobs_on.database).count() == 2


def test_what_is_over_is_cleaned_up(jobs_on: DatabaseBackend) -> None:
    mutex("old", 30).acquire()
    held = mutex("held", 90)
    held.acquire()
    advance_database(jobs_on, 60)
    expire(jobs_on)
    assert [lock.name for lock in Lock._default_manager.using(jobs_on.database).all()] == ["held"]
    assert held.is_held()


def test_a_release_that_fails_is_logged_and_hides_no_error(jobs_on: DatabaseBackend, caplog: Any) -> None:
    def fail(lock: Any) -> None:
        lock.locks = None
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), mutex("import", 60) as lock:
        fail(lock)
    assert caplog.messages == ["the lock import could not be released; its time will be over"]


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("", {}, "^name: "),
        ("x" * 201, {}, "^name: "),
        ("a\nb", {}, "^name: "),
        (None, {}, "^name: "),
        ("a", {"ttl": 0}, "^ttl: give a time above 0"),
        ("a", {"ttl": -1}, "^ttl: "),
        ("a", {"ttl": None}, "^ttl: "),
        ("a", {"wait": -1}, "^wait: "),
        ("a", {"driver": "magic"}, "^driver: 'magic' is not one of database, cache"),
    ],
)
def test_what_is_no_lock(name: Any, given: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidDefinition, match=says):
        mutex(name, **{"ttl": 60, **given})


@pytest.mark.parametrize("kind", ["dummy.DummyCache", "filebased.FileBasedCache"])
def test_caches_that_keep_nobody_out_are_refused(kind: str, settings: Any, tmp_path: Path) -> None:
    place = {"BACKEND": f"django.core.cache.backends.{kind}", "LOCATION": str(tmp_path)}
    settings.CACHES = {"default": place, "good": {"BACKEND": LOCMEM}}
    with pytest.raises(ImproperlyConfigured, match="which can't keep locks"):
        mutex("a", 60, driver="cache")
    with mutex("a", 60, driver=cache_locks("good")) as lock:
        assert lock.is_held()
        assert caches["good"]._cache


def test_a_file_that_was_left_half_written_is_no_lock(tmp_path: Path) -> None:
    mutex("a", 60, driver=FileLocks(tmp_path)).acquire()
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text()[:20])
    with mutex("a", 60, driver=FileLocks(tmp_path)) as lock:
        assert lock.is_held()
