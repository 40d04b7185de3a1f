"""A PostgreSQL server of our own, in a directory of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from fleetcast.cli.demo.engines import programs
from fleetcast.cli.demo.engines.kept import Kept
from fleetcast.launch.settings import LOOPBACK

OWNER: Final = "fleetcast"
"""The role that owns the databases, and may do nothing else."""
PASSWORD: Final = "pw-of-fleetcast"
_SUPERUSER: Final = "postgres"
_STATUS: Final = 7
"""Line of postmaster.pid."""
_QUICK: Final = {"fsync": "off", "full_page_writes": "off"}
"""What is lost with the host's power is lost; a server that is killed recovers all the same."""


class PostgresServer(Kept):
    """Listens on a port of loopback where one is given, else on a socket in its directory."""

    def __init__(
        self,
        directory: Path,
        *,
        durable: bool = False,
        port: int = 0,
        settings: Mapping[str, str] | None = None,
        remains: bool = False,
    ) -> None:
        """Make the cluster; it is started by :meth:`start`. Without a ``port`` ``directory`` is short: a socket's path has
        107 characters.

        ``durable``: a commit is on the disk when it is told. Raises :class:`Unavailable` and :class:`NotFound`.
        """
        super().__init__("PostgreSQL", directory, at_once="QUIT", remains=remains)
        self._port = port
        self._host = LOOPBACK if port else str(directory)
        listening = {
            "listen_addresses": LOOPBACK if port else "",
            "unix_socket_directories": "" if port else str(directory),
        }
        self._settings = {"max_connections": "200", **listening, **({} if durable else _QUICK), **(settings or {})}
        password = directory / "password"
        password.write_text(PASSWORD)
        made = ["--pgdata", str(self._data), "--username", _SUPERUSER, "--pwfile", str(password), "--auth=scram-sha-256"]
        made += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
        initdb = [*programs.postgres("initdb"), *made]
        if os.geteuid() == 0:
            self._prepare(initdb, "where we are root it takes user namespaces: allow them, or be another user")
        else:
            self._prepare(initdb)

    def commands(self) -> Sequence[Sequence[str]]:
        self._pid_file.unlink(missing_ok=True)
        options = [option for name, value in self._settings.items() for option in ("-c", f"{name}={value}")]
        return ([*programs.postgres("postgres"), "-D", str(self._data), *options, "-p", str(self._port or 5432)],)

    def answers(self) -> bool:
        """By what the server says of itself."""
        with contextlib.suppress(OSError, IndexError):
            return self._pid_file.read_text().splitlines()[_STATUS].strip() == "ready"
        return False

    def stop(self) -> None:
        """In order: transactions are rolled back, connections ended."""
        self._end("INT")

    def crash(self) -> None:
        """At once, as if it had died: the next start recovers what was committed."""
        self._end(self._at_once)

    def url(self, database: str, *, password: str = PASSWORD) -> str:
        """For :class:`~fleetcast.stores.database.Database`."""
        if self._port:
            return f"postgresql+psycopg://{OWNER}:{password}@{LOOPBACK}:{self._port}/{database}"
        return f"postgresql+psycopg://{OWNER}:{password}@/{database}?host={self.directory}"

    @contextlib.contextmanager
    def administrator(self, database: str = "postgres") -> Iterator[psycopg.Connection]:
        """A superuser's connection, each statement a transaction."""
        where = f"host={self._host} port={self._port or 5432} user={_SUPERUSER} dbname={database}"
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
