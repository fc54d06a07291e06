"""The pid file: one worker at a time, and nobody else's file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_jobs.worker.pidfile import PidFile, PidFileRefused, _started

HOLDER = """
import sys
from pathlib import Path
import django
from django.conf import settings
settings.configure(USE_I18N=False)
from django_jobs.worker.pidfile import PidFile
PidFile(Path(sys.argv[1])).take()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "worker.pid"


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the file."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_it_has_the_process_and_when_it_started_and_is_for_us_alone(path: Path) -> None:
    file = PidFile(path)
    file.take()
    assert path.read_text().splitlines() == [str(os.getpid()), _started(os.getpid())]
    assert path.stat().st_mode & 0o777 == 0o600
    file.remove()
    assert not path.exists()


def test_a_second_worker_is_refused_and_told_by_whom(path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(PidFileRefused, match=rf"running already \(process {holder.pid}\)"):
        PidFile(path).take()
    assert path.read_text().startswith(f"{holder.pid}\n")


def test_the_file_of_a_worker_that_was_killed_is_taken_over(path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    assert path.exists()
    file = PidFile(path)
    file.take()
    assert path.read_text().startswith(f"{os.getpid()}\n")
    file.remove()


def test_a_worker_that_has_ended_and_that_nobody_has_waited_for_is_over(
    path: Path, holder: subprocess.Popen[str]
) -> None:
    """As in a container whose first process waits for none but its own."""
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    file = PidFile(path)
    file.take()
    assert path.read_text().startswith(f"{os.getpid()}\n")
    file.remove()


def test_an_id_that_is_another_process_by_now_keeps_nobody_from_starting(path: Path) -> None:
    path.write_text(f"{os.getppid()}\nanother-boot 12345\n")
    file = PidFile(path)
    file.take()
    file.remove()


def test_a_process_that_runs_is_believed_even_without_a_lock(path: Path) -> None:
    path.write_text(f"{os.getppid()}\n{_started(os.getppid())}\n")
    with pytest.raises(PidFileRefused, match="running already"):
        PidFile(path).take()


@pytest.mark.parametrize("content", ["", "nonsense", "-1\n", "9" * 400, "\0\xff"])
def test_a_file_with_anything_in_it_is_taken_over(path: Path, content: str) -> None:
    path.write_text(content)
    file = PidFile(path)
    file.take()
    assert path.read_text().startswith(f"{os.getpid()}\n")
    file.remove()


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    path.symlink_to(target)
    with pytest.raises(PidFileRefused):
        PidFile(path).take()
    path.unlink()
    os.link(target, path)
    with pytest.raises(PidFileRefused, match="no plain file of ours"):
        PidFile(path).take()
    assert target.read_text() == "precious"


def test_a_folder_that_everybody_may_write_to_is_refused_unless_it_is_sticky(path: Path) -> None:
    path.parent.chmod(0o777)
    with pytest.raises(PidFileRefused, match="written to by everybody"):
        PidFile(path).take()
    assert not path.exists()
    path.parent.chmod(0o1777)
    file = PidFile(path)
    file.take()
    file.remove()


def test_a_folder_that_is_not_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(PidFileRefused, match="No such file"):
        PidFile(tmp_path / "nowhere" / "worker.pid").take()


def test_what_a_reload_has_left_is_kept_and_another_file_at_the_path_is_not(path: Path) -> None:
    first = PidFile(path)
    first.take()
    again = PidFile(path)
    again.take(first.fd)
    assert again.fd == first.fd
    path.unlink()
    path.write_text("")
    third = PidFile(path)
    third.take(again.fd)
    assert path.read_text().startswith(f"{os.getpid()}\n")
    third.remove()
    assert not path.exists()


def test_a_file_that_somebody_has_put_there_since_is_left_alone(path: Path) -> None:
    file = PidFile(path)
    file.take()
    path.unlink()
    path.write_text("theirs")
    file.remove()
    assert path.read_text() == "theirs"
