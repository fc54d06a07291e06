"""A file that says which process the worker is, and keeps a second one from starting."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from django.utils.translation import gettext as _

from ..exceptions import JobsError

_STAT_STATE, _STAT_STARTED = 0, 19  # of the fields of /proc/<pid>/stat after the name


class PidFileRefused(JobsError):
    """Another worker has the file, or it is not safe to use."""


@dataclass(slots=True)
class PidFile:
    """Held by a lock for as long as the process lives, whatever its end.

    It is a record lock: no child inherits it, so that none that outlives us can keep it, and it outlives a reload.
    Beside the id of the process, its second line has when that process started: an id may be another's by now.
    """

    path: Path
    fd: int = -1

    def take(self, left: int = -1) -> None:
        """Make it ours. `left` is the descriptor that a reload has left to us. Raises `PidFileRefused`."""
        try:
            _check_folder(self.path.parent)
            if left >= 0 and not self._is_at_path(left):
                os.close(left)
                left = -1
            self.fd = left if left >= 0 else self._locked()
            os.ftruncate(self.fd, 0)
            os.pwrite(self.fd, f"{os.getpid()}\n{_started(os.getpid())}\n".encode(), 0)
        except PidFileRefused:
            self._let_go()
            raise
        except OSError as error:
            self._let_go()
            raise PidFileRefused(
                _("The pid file %(path)s can't be used: %(error)s") % {"path": self.path, "error": error.strerror}
            ) from error

    def remove(self) -> None:
        """At the end: take it away, if it is still the one that we made."""
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                if self._is_at_path(self.fd):
                    self.path.unlink()
            self._let_go()

    def _locked(self) -> int:
        while True:
            self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            _check_file(self.path, self.fd)
            try:
                fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                raise self._taken(_read(self.fd)[0]) from None
            if self._is_at_path(self.fd):
                break
            self._let_go()  # its worker took it away while we opened it
        pid, started = _read(self.fd)
        if pid != os.getpid() and _is_alive(pid, started):  # where locks do not work, as on some network disks
            raise self._taken(pid)
        os.fchmod(self.fd, 0o600)
        return self.fd

    def _taken(self, pid: int) -> PidFileRefused:
        return PidFileRefused(
            _("A worker with the pid file %(path)s is running already (process %(pid)s).")
            % {"path": self.path, "pid": pid or "?"}
        )

    def _let_go(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _is_at_path(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), os.lstat(self.path))
        except OSError:
            return False


def _check_folder(folder: Path) -> None:
    mode = os.stat(folder).st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise PidFileRefused(
            _("The folder %(folder)s can be written to by everybody, who could so stop your worker: use another one.")
            % {"folder": folder}
        )


def _check_file(path: Path, fd: int) -> None:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_uid != os.geteuid():
        raise PidFileRefused(_("%(path)s is no plain file of ours: remove it, or use another one.") % {"path": path})


def _read(fd: int) -> tuple[int, str]:
    """The id and the start in the file; 0 and nothing where it has none."""
    pid, _newline, started = os.pread(fd, 200, 0).decode("ascii", "replace").partition("\n")
    return int(pid) if pid.isascii() and pid.isdigit() and len(pid) < 10 else 0, started.strip()


def _is_alive(pid: int, started: str) -> bool:
    """Whether the process that was so called runs still."""
    if pid == 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    if _stat(pid, _STAT_STATE) in ("Z", "X"):  # it has ended, and nobody has waited for it, as in many a container
        return False
    return not started or _started(pid) in (started, "")


def _started(pid: int) -> str:
    """When a process started: in ticks of this boot; empty where the system does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    ticks = _stat(pid, _STAT_STARTED)
    return f"{boot} {ticks}" if ticks else ""


def _stat(pid: int, field: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[field]
    except OSError:
        return ""
