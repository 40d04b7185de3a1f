"""Control, a second control and workers on one database, with builds to do: what faults of the build queue are tried on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import sqlite3
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

import victims
from fleetcast.launch import installation, sweeper
from fleetcast.launch.installation import Blueprint
from fleetcast.launch.ports import free_ports
from founding import CONTROL, WORKER
from running import PROGRAM, Run, wait_until
from uploads import open_uploads

SILENCE_S_MAX = 2.0
"""A worker that is paused for longer has lost its build."""
ATTEMPTS_MAX = 50
WORKERS = 3
SERVICE_UNAVAILABLE = 503
PAYLOAD_BYTES = 48 * 1024
RECIPE = """
[build]
command = "cat payload > out; printf %s $FLEETCAST_COMMIT >> out"
output = "out"

[run]
activate = "exec true"
"""
Row = Mapping[str, Any]


@dataclass
class Works:
    """Processes go by their names: ``control``, ``reaper`` (a second control, which nobody asks anything), ``worker-1`` …"""

    directory: Path
    run: Run
    """``fleetcast up`` with all but the reaper."""
    database: str
    """Path of a SQLite file, or libpq's URL of a database."""
    commits: list[str]
    _start_reaper: Callable[[], Run]
    _reaper: Run = field(init=False)

    def __post_init__(self) -> None:
        self._reaper = self._start_reaper()

    # Processes

    def pid(self, name: str) -> int:
        if name == "reaper":
            return self._reaper.process.pid
        told: dict[str, Any] = json.loads((self.directory / "run" / f"{name}.ready").read_text())
        return int(told["pid"])

    def up(self, name: str) -> bool:
        try:
            pid = self.pid(name)
        except FileNotFoundError:
            return False
        return victims.alive(pid) and not victims.stopped(pid)

    def replaced(self, name: str, dead: int) -> None:
        """Another process is in the place of one that was killed."""
        if name == "reaper":
            self._reaper.close()
            self._reaper = self._start_reaper()
            return

        def another() -> bool:
            with contextlib.suppress(FileNotFoundError):
                return self.pid(name) != dead and self.up(name)
            return False

        wait_until(another, f"{name} is started again")

    @property
    def workers(self) -> list[str]:
        return [f"worker-{number}" for number in range(1, WORKERS + 1)]

    def log(self, name: str) -> Path:
        return self.directory / "run" / f"{name}.log"

    # What it has to do

    def order(self, commit: str) -> int:
        """Order a build of it; its id. Whoever answers no more is asked again, as people and pipelines do."""
        body = json.dumps({"service": "web", "commit_sha": commit}).encode()
        ordered: list[int] = []

        def accepted() -> bool:
            try:
                request = urllib.request.Request(f"{self.url}/v1/builds", body, self._headers)
                with urllib.request.urlopen(request, timeout=10) as answer:
                    ordered.append(int(json.load(answer)["id"]))
            except OSError as error:
                if isinstance(error, urllib.error.HTTPError) and error.code != SERVICE_UNAVAILABLE:
                    pytest.fail(f"refused: {error.read()!r}")
            return bool(ordered)

        wait_until(accepted, "a build is ordered")
        return ordered[0]

    @property
    def url(self) -> str:
        told: dict[str, Any] = json.loads((self.directory / "run" / "control.ready").read_text())
        return str(told["api"])

    @property
    def _headers(self) -> dict[str, str]:
        token = (self.directory / "secrets" / "admin.token").read_text().strip()
        return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    # What came of it, read past control

    def rows(self, query: str, **values: object) -> list[Row]:
        """``:name`` is where a value goes."""
        if "://" not in self.database:
            with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)) as file:
                file.row_factory = sqlite3.Row
                return [dict(row) for row in file.execute(query, values)]
        for name in values:
            query = query.replace(f":{name}", f"%({name})s")
        with psycopg.connect(self.database, row_factory=dict_row) as server:
            return list(server.execute(query.encode(), values))

    def writable(self) -> bool:
        """Whether nobody is in the middle of a transaction that keeps others out. One of a server's clients never is."""
        if "://" in self.database:
            return True
        with closing(sqlite3.connect(self.database, timeout=0, isolation_level=None)) as file:
            try:
                file.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            file.execute("ROLLBACK")
        return True

    def job(self, build: int) -> Row:
        return self.rows("SELECT * FROM jobs WHERE id = :build", build=build)[0]

    def ended(self) -> int:
        return int(self.rows("SELECT count(*) AS builds FROM jobs WHERE status IN ('SUCCEEDED', 'FAILED')")[0]["builds"])

    def blob(self, key: str) -> Path:
        return self.directory / "control" / "bucket" / "blobs" / key

    def stored(self, prefix: str) -> list[str]:
        """Keys of all blobs below a prefix, and of uploads that are open."""
        blobs = [str(path.relative_to(self.blob(""))) for path in self.blob(prefix).rglob("*") if path.is_file()]
        return blobs + [key for key, _ in open_uploads(self.directory / "control" / "bucket")]

    def received(self, key: str) -> bool:
        """Whether the store has bytes of this blob, of an upload that is open or complete."""
        if self.blob(key).exists():
            return True
        return any(parts for of, parts in open_uploads(self.directory / "control" / "bucket") if of == key)

    def expected(self, commit: str) -> str:
        """Digest of the content that the commit's build makes."""
        payload = subprocess.run(
            ["git", "show", f"{commit}:payload"], cwd=self.repository, check=True, capture_output=True
        ).stdout
        return hashlib.sha256(payload + commit.encode()).hexdigest()

    @property
    def repository(self) -> Path:
        return self.directory.parent / "web"

    def close(self) -> None:
        for run in (self.run, self._reaper):
            with contextlib.suppress(ProcessLookupError):
                victims.resume(run.process.pid)
        for pid in sweeper.processes_of(self.directory):
            with contextlib.suppress(ProcessLookupError):
                victims.resume(pid)
        self._reaper.close()
        self.run.close()
        sweeper.end_processes(self.directory)
        sweeper.remove(self.directory)


@contextlib.contextmanager
def works(temporary: Path, *, commits: int, database_url: str = "") -> Iterator[Works]:
    """Make one and bring it up. ``database_url``: a PostgreSQL's; without, control's own file."""
    directory = temporary / "works"
    ports = free_ports(2 + Blueprint.ports_needed(0, 0), "127.0.0.1", random.Random())
    control = {**CONTROL, "heartbeat_silence_s_max": SILENCE_S_MAX, "heartbeat_interval_s": 0.4, "reaper_interval_s": 0.3}
    control |= {"build_attempts_max": ATTEMPTS_MAX} | ({"database_url": database_url} if database_url else {})
    file = installation.create(directory, Blueprint(WORKERS, (), 0, ports[:2], control=control, worker=WORKER))
    run = Run("up", str(directory), temporary=temporary)

    def start_reaper() -> Run:
        arguments = ["control", "--settings", str(file), "--set", f"control.port={ports[2]}"]
        reaper = Run(*arguments, "--set", f"control.data_port={ports[3]}", temporary=temporary)
        reaper.wait_for(r"\"listening\"")
        return reaper

    try:
        run.wait_for("^ready")
        made = _make_repository(temporary / "web", commits)
        subprocess.run(
            [*PROGRAM, "service", "add", "web", str(temporary / "web"), "--settings", str(file)],
            check=True,
            capture_output=True,
        )
        database = database_url.replace("+psycopg", "") or str(directory / "control" / "fleetcast.db")
        place = Works(directory, run, database, made, start_reaper)
    except BaseException:
        run.close()
        sweeper.end_processes(directory)
        raise
    try:
        yield place
    finally:
        place.close()


def _make_repository(path: Path, commits: int) -> list[str]:
    """Commits of one branch, each with a payload of its own."""
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    rng = random.Random(commits)
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(path)], check=True, env=environment)
    stream = bytearray()
    for number in range(1, commits + 1):
        files = {"payload": rng.randbytes(PAYLOAD_BYTES), "fleetcast.toml": RECIPE.encode()}
        stream += f"commit refs/heads/main\nmark :{number}\ncommitter a <a@localhost> {1_700_000_000 + number} +0000\n".encode()
        stream += b"data 0\n" + (f"from :{number - 1}\n".encode() if number > 1 else b"")
        for name, content in files.items():
            stream += f"M 100644 inline {name}\ndata {len(content)}\n".encode() + content + b"\n"
    subprocess.run(["git", "fast-import", "--quiet"], cwd=path, input=bytes(stream), check=True, env=environment)
    listed = subprocess.run(["git", "rev-list", "--reverse", "main"], cwd=path, check=True, capture_output=True, text=True)
    return listed.stdout.split()
