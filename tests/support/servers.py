"""Private servers that a test may start, kill and restart, and what a server is to the tests."""

from __future__ import annotations

import atexit
import getpass
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import IO, ClassVar, Self
from urllib.parse import quote, unquote, urlsplit

from testproject.mysql_driver import install_mysql_driver

LOCALHOST = "127.0.0.1"
START_SECONDS = 60
STOP_SECONDS = 30
CONNECT_SECONDS = 5


class ServiceError(Exception):
    """A server can't be had; the message says why."""


class Unreachable(ServiceError):
    """It does not answer, or is not fit for tests; another try or another server may be."""


@dataclass(frozen=True)
class Service:
    """Where a server listens; `started` is true for one that this process runs."""

    kind: str
    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    started: bool = False

    @classmethod
    def from_url(cls, kind: str, url: str) -> Self:
        parts = urlsplit(url)
        if parts.scheme != kind or not parts.hostname:
            raise ServiceError(f"not of the form {kind}://user:password@host:port")
        return cls(
            kind=kind,
            host=parts.hostname,
            port=parts.port or KINDS[kind].standard_port,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
        )

    @property
    def url(self) -> str:
        password = f":{quote(self.password, safe='')}" if self.password else ""
        login = f"{quote(self.user, safe='')}{password}@" if self.user or password else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind}://{login}{host}:{self.port}"

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def probe(self) -> None:
        """Connect as a client would; Unreachable unless the server answers and is fit for use."""
        KINDS[self.kind].probe(self)


class ServerProcess(ABC):
    """A private server on a free port, its data in a temporary folder that `close` removes.

    Extra `options` go to the program's command line. The port and the data outlive `stop`, `kill`
    and `restart`. As a context manager it starts and, at the end, closes.

        with PostgreSQLServer() as server:
            connect(server.service.port)
            server.kill()
            server.start()
    """

    kind: ClassVar[str]
    standard_port: ClassVar[int]
    account: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, *options: str) -> None:
        self._options = options
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._was_killed = False
        self._owner = os.getpid()
        self._service = Service(self.kind, LOCALHOST, 0, self.superuser(), started=True)

    @classmethod
    def standard_users(cls) -> Sequence[str]:
        """Who may try to log in to a server that runs already."""
        return [cls.superuser()]

    @classmethod
    @abstractmethod
    def superuser(cls) -> str: ...

    @staticmethod
    @abstractmethod
    def probe(service: Service) -> None: ...

    @abstractmethod
    def _initialise(self, folder: Path) -> None:
        """Lay out the data of a new server in the folder."""

    @abstractmethod
    def _command(self, folder: Path) -> list[str | Path]: ...

    @property
    def service(self) -> Service:
        return self._service

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> Service:
        """Start the server and wait until it answers."""
        if self._process is not None:
            return self._service
        folder = self._folder or self._prepare()
        deadline = time.monotonic() + START_SECONDS
        self._process = self._launch(folder)
        while (problem := self._problem()) is not None:
            if time.monotonic() > deadline:
                self.kill()
                raise ServiceError(f"{self.kind} stays silent for {START_SECONDS} s: {problem}")
            if not self._has_exited(within=0.05):
                continue
            if not self._was_killed:
                self._process = None
                raise ServiceError(f"{self.kind} did not start: {self._last_words(folder)}")
            # Orphans of a killed PostgreSQL hold on to its memory for a moment.
            time.sleep(0.1)
            self._process = self._launch(folder)
        self._was_killed = False
        return self._service

    def stop(self) -> None:
        """Shut down in good order."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End it as a crash would: nothing is flushed, no client is told."""
        self._was_killed = True
        self._end(signal.SIGKILL)

    def restart(self) -> Service:
        self.stop()
        return self.start()

    def close(self) -> None:
        """Stop, and remove the data."""
        # A forked child inherits this object and its exit hook, but not the server.
        if os.getpid() != self._owner:
            return
        self.stop()
        atexit.unregister(self.close)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prepare(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix=f"jobs-{self.kind}-"))
        self._folder = folder
        atexit.register(self.close)
        owner = self._identity()
        if owner is not None:
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        try:
            self._initialise(folder)
        except ServiceError:
            self.close()
            raise
        self._service = replace(self._service, port=_free_port())
        return folder

    def _launch(self, folder: Path) -> subprocess.Popen[bytes]:
        with (folder / "server.log").open("ab") as log:
            return self._popen([*self._command(folder), *self._options], log)

    def _run(self, folder: Path, *command: str | Path) -> None:
        with (folder / "server.log").open("ab") as log:
            process = self._popen(command, log)
        if process.wait() != 0:
            raise ServiceError(f"{command[0]} failed: {self._last_words(folder)}")

    def _popen(self, command: Sequence[str | Path], log: IO[bytes]) -> subprocess.Popen[bytes]:
        owner = self._identity()
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd="/",
            # Ctrl-C is for the tests, which still need their servers while they finish.
            start_new_session=True,
            user=owner.pw_uid if owner else None,
            group=owner.pw_gid if owner else None,
            extra_groups=[] if owner else None,
        )

    def _identity(self) -> pwd.struct_passwd | None:
        """PostgreSQL and MariaDB refuse to run as root."""
        if os.geteuid() != 0:
            return None
        for name in (self.account, "nobody"):
            try:
                return pwd.getpwnam(name)
            except KeyError:
                continue
        raise ServiceError(f"{self.kind} needs an account other than root, such as `nobody`")

    def _problem(self) -> Unreachable | None:
        try:
            self.probe(self._service)
        except Unreachable as error:
            return error
        return None

    def _has_exited(self, within: float) -> bool:
        assert self._process is not None
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _end(self, with_signal: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(with_signal)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._was_killed = True
            process.kill()
            process.wait()

    @staticmethod
    def _last_words(folder: Path) -> str:
        lines = (folder / "server.log").read_text(errors="replace").splitlines()
        return " / ".join(lines[-5:]) or "it said nothing"


class PostgreSQLServer(ServerProcess):
    kind = "postgresql"
    standard_port = 5432
    account = "postgres"
    stop_signal = signal.SIGINT  # "fast": does not wait until the clients leave

    @classmethod
    def superuser(cls) -> str:
        return "postgres"

    @classmethod
    def standard_users(cls) -> Sequence[str]:
        return list(dict.fromkeys([cls.superuser(), getpass.getuser()]))

    @staticmethod
    def probe(service: Service) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise ServiceError(f"psycopg is not installed: {error}") from error
        try:
            with psycopg.connect(
                host=service.host,
                port=service.port,
                user=service.user or None,
                password=service.password or None,
                dbname="postgres",
                connect_timeout=CONNECT_SECONDS,
            ) as connection:
                may_create = connection.execute(
                    "SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user"
                ).fetchone()
        except psycopg.Error as error:
            raise Unreachable(f"{service.address}: {error}") from error
        if may_create != (True,):
            raise Unreachable(f"{service.user} may not create databases")

    def _initialise(self, folder: Path) -> None:
        self._run(
            folder,
            _postgresql_program("initdb"),
            f"--pgdata={folder / 'data'}",
            f"--username={self.superuser()}",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        )

    def _command(self, folder: Path) -> list[str | Path]:
        settings = {
            "listen_addresses": LOCALHOST,
            "port": self.service.port,
            "unix_socket_directories": "",
            # Survives a killed process, only not a power cut, and is much faster.
            "fsync": "off",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [_postgresql_program("postgres"), "-D", folder / "data", *options]


class PgBouncer(ServerProcess):
    """A pooler in transaction mode before a PostgreSQL server: of a session nothing is kept from one transaction to the
    next.
    """

    kind = "pgbouncer"
    standard_port = 6432
    account = "postgres"

    def __init__(self, target: Service) -> None:
        super().__init__()
        self._target = target
        self._service = replace(self._service, user=target.user)

    @classmethod
    def superuser(cls) -> str:
        return PostgreSQLServer.superuser()

    @staticmethod
    def probe(service: Service) -> None:
        PostgreSQLServer.probe(service)

    def _initialise(self, folder: Path) -> None:
        _require_program("pgbouncer")

    def _command(self, folder: Path) -> list[str | Path]:
        target = self._target
        password = f" password={target.password}" if target.password else ""
        settings = folder / "pgbouncer.ini"
        settings.write_text(
            f"""
            [databases]
            * = host={target.host} port={target.port} user={target.user}{password}
            [pgbouncer]
            listen_addr = {LOCALHOST}
            listen_port = {self.service.port}
            unix_socket_dir =
            auth_type = any
            pool_mode = transaction
            default_pool_size = 8
            """
        )
        return [_require_program("pgbouncer"), settings]


class MySQLServer(ServerProcess):
    kind = "mysql"
    standard_port = 3306
    account = "mysql"

    @classmethod
    def superuser(cls) -> str:
        return "root"

    @staticmethod
    def probe(service: Service) -> None:
        try:
            install_mysql_driver()
            import MySQLdb
        except ImportError as error:
            raise ServiceError(f"neither mysqlclient nor PyMySQL is installed: {error}") from error
        try:
            MySQLdb.connect(
                host=service.host,
                port=service.port,
                user=service.user,
                password=service.password,
                connect_timeout=CONNECT_SECONDS,
            ).close()
        except MySQLdb.Error as error:
            raise Unreachable(f"{service.address}: {error}") from error

    def _initialise(self, folder: Path) -> None:
        data = f"--datadir={folder / 'data'}"
        if mariadb_install := _find_program("mariadb-install-db", "mysql_install_db"):
            self._run(
                folder,
                mariadb_install,
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                data,
            )
        else:
            self._run(folder, self._program(), "--no-defaults", "--initialize-insecure", data)

    def _command(self, folder: Path) -> list[str | Path]:
        return [
            self._program(),
            "--no-defaults",
            f"--datadir={folder / 'data'}",
            f"--bind-address={LOCALHOST}",
            f"--port={self.service.port}",
            f"--socket={folder / 'mysql.sock'}",
            f"--pid-file={folder / 'mysql.pid'}",
            # Survives a killed process, only not a power cut, and is much faster.
            "--innodb-flush-log-at-trx-commit=2",
        ]

    @staticmethod
    def _program() -> Path:
        return _require_program("mariadbd", "mysqld")


class RedisServer(ServerProcess):
    """Keeps nothing over a restart, unless started with `--appendonly yes`."""

    kind = "redis"
    standard_port = 6379
    account = "redis"

    @classmethod
    def superuser(cls) -> str:
        return ""

    @staticmethod
    def probe(service: Service) -> None:
        login = [word for word in (service.user, service.password) if word]
        commands = [["AUTH", *login]] if service.password else []
        try:
            answers = _ask_redis((service.host, service.port), *commands, ["PING"])
        except OSError as error:
            raise Unreachable(f"{service.address}: {error}") from error
        if answers[-1] != "+PONG":
            raise Unreachable(f"{service.address}: {answers[-1]}")

    def _initialise(self, folder: Path) -> None:
        _require_program("redis-server")

    def _command(self, folder: Path) -> list[str | Path]:
        return [
            _require_program("redis-server"),
            *("--bind", LOCALHOST),
            *("--port", str(self.service.port)),
            *("--dir", folder),
            *("--save", ""),
            *("--appendonly", "no"),
        ]


KINDS: dict[str, type[ServerProcess]] = {server.kind: server for server in (PostgreSQLServer, MySQLServer, RedisServer)}


def _ask_redis(address: tuple[str, int], *commands: Sequence[str]) -> list[str]:
    with socket.create_connection(address, CONNECT_SECONDS) as connection:
        stream = connection.makefile("rwb")
        with stream:
            answers = []
            for command in commands:
                words = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in command)
                stream.write(f"*{len(command)}\r\n{words}".encode())
                stream.flush()
                answers.append(stream.readline().decode().strip())
            return answers


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((LOCALHOST, 0))
        port: int = listener.getsockname()[1]
        return port


def _find_program(*names: str) -> Path | None:
    # Servers often lie where only root's PATH looks.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/sbin"])
    for name in names:
        if found := shutil.which(name, path=path):
            return Path(found)
    return None


def _require_program(*names: str) -> Path:
    program = _find_program(*names)
    if program is None:
        raise ServiceError(f"no server answers and {' or '.join(names)} is not installed")
    return program


@cache
def _postgresql_folder() -> Path | None:
    return next((f for f in _postgresql_folders() if (f / "initdb").exists()), None)


def _postgresql_program(name: str) -> Path:
    folder = _postgresql_folder()
    if folder is None:
        raise ServiceError("no server answers and PostgreSQL is not installed")
    return folder / name


def _postgresql_folders() -> Iterator[Path]:
    if pg_config := _find_program("pg_config"):
        result = subprocess.run([pg_config, "--bindir"], stdout=subprocess.PIPE, check=False)
        yield Path(os.fsdecode(result.stdout.strip()))
    # Debian keeps each version in a folder of its own, off the PATH.
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(versions, key=lambda folder: float(folder.parent.name), reverse=True)
    if initdb := _find_program("initdb"):
        yield initdb.resolve().parent
