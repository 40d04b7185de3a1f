"""A whole installation under ``fleetcast up`` whose service a test holds up where it likes, looked at from outside."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import victims
from fleetcast.launch import sweeper
from running import PROGRAM, Run, wait_until
from uploads import open_uploads
from valve import Valve

MIB = 1 << 20
PART_BYTES = 8 * MIB
LOOK_S = 0.05
LAST_LINES = 40
DEPLOYED_S_MAX = 150.0


@dataclass(frozen=True)
class Deploying:
    """A ``fleetcast deploy`` that somebody sits and waits for."""

    sha: str
    process: subprocess.Popen[str]
    began_at: float

    def end(self) -> dict[str, Any]:
        """The deployment, once it has SUCCEEDED."""
        out, error = self.process.communicate(timeout=DEPLOYED_S_MAX)
        assert self.process.returncode == 0, f"{out}\n{error}"
        assert "Traceback" not in error
        told: dict[str, Any] = json.loads(out)
        assert told["state"] == "SUCCEEDED"
        return told


@dataclass
class Company:
    """``web`` runs on every machine. Gates that are closed hold up its builds (``build``) or health checks (``health``)."""

    directory: Path
    regions: Sequence[str]
    machines: dict[str, int]
    """Port of the service by machine."""
    main: Valve
    """In front of the main store."""
    buckets: dict[str, Valve]
    """In front of each region's."""
    content_bytes: int
    run: Run
    deployments: list[Deploying] = field(default_factory=list)

    @property
    def repository(self) -> Path:
        return self.directory.parent / "web"

    @property
    def gates(self) -> Path:
        return self.directory.parent / "gates"

    def shut(self, gate: str) -> None:
        (self.gates / gate).touch()

    def open_all(self) -> None:
        """Gates and valves."""
        for gate in self.gates.iterdir():
            gate.unlink()
        for valve in (self.main, *self.buckets.values()):
            valve.open()

    def commit(self, changed: Iterable[int] = ()) -> str:
        """A commit whose content has nothing in common with any other's; or, with ``changed``, which MiB of the newest commit's
        it has anew."""
        file, now = self.repository / "payload.json", f"{time.time_ns()}"
        payload = {"seed": now, "bytes": self.content_bytes, "changed": {}}
        if changed:
            payload = json.loads(file.read_text())
            payload["changed"] |= {str(number): payload["changed"].get(str(number), 0) + 1 for number in changed}
        file.write_text(json.dumps(payload))
        git(self.repository, "add", "--all")
        git(self.repository, "commit", "--quiet", f"--message={now}")
        return git(self.repository, "rev-parse", "HEAD")

    def fleetcast(self, *arguments: str, timeout_s: float = 90.0) -> subprocess.CompletedProcess[str]:
        argv = [*PROGRAM, *arguments, "--settings", str(self.directory / "settings.toml")]
        return subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)

    def deploy(self, sha: str | None = None) -> Deploying:
        sha = sha or self.commit()
        settings = str(self.directory / "settings.toml")
        argv = [*PROGRAM, "deploy", f"web@{sha}", "--json", "--settings", settings]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.deployments.append(Deploying(sha, process, time.monotonic()))
        return self.deployments[-1]

    def recover(self) -> None:
        """Nothing is held up any more, nobody is stopped, nobody waits: however a test went."""
        self.open_all()
        for pid in (self.run.process.pid, *sweeper.processes_of(self.directory)):
            with contextlib.suppress(ProcessLookupError):
                victims.resume(pid)
        for deploying in self.deployments:
            if deploying.process.poll() is None:
                deploying.process.kill()
                deploying.process.communicate()
        self.deployments.clear()

    def close(self) -> None:
        self.recover()
        self.run.close()
        sweeper.end_processes(self.directory)
        for valve in (self.main, *self.buckets.values()):
            valve.close()
        sweeper.remove(self.directory)

    # Processes

    def told(self, name: str) -> dict[str, Any]:
        """What a process said when it was ready; empty: it is not."""
        try:
            told: dict[str, Any] = json.loads((self.directory / "run" / f"{name}.ready").read_text())
        except FileNotFoundError:
            return {}
        return told

    def names(self) -> list[str]:
        """Of everything that is supervised."""
        return sorted(path.stem for path in (self.directory / "run").glob("*.log"))

    def pid(self, name: str) -> int:
        pid: int = self.told(name)["pid"]
        return pid

    def up(self, name: str) -> bool:
        pid = self.told(name).get("pid")
        return pid is not None and victims.alive(pid) and not victims.stopped(pid)

    def restarted(self, name: str, dead: int) -> None:
        """Wait until the supervisor has put another process into the place of a dead one."""
        wait_until(lambda: self.told(name).get("pid", dead) != dead and self.up(name), f"{name} is started again")

    @contextmanager
    def without_control(self) -> Iterator[None]:
        """Control has ended, nobody starts it again, and everybody else runs on."""
        before, supervisor = self.pid("control"), self.run.process.pid
        victims.stop(supervisor)
        os.kill(before, signal.SIGTERM)
        wait_until(lambda: not victims.alive(before), "control has ended")
        assert all(self.up(name) for name in self.names() if name != "control")
        yield
        victims.resume(supervisor)
        self.restarted("control", before)

    def log_lines(self, name: str, event: str) -> list[dict[str, Any]]:
        """What a process logged under a name."""
        lines = (self.directory / "run" / f"{name}.log").read_text(errors="replace").splitlines()
        found = (json.loads(line) for line in lines if f'"{event}"' in line)
        return [line for line in found if line["event"] == event]

    def last_words(self, name: str) -> str:
        """The end of a process's log."""
        return "\n".join((self.directory / "run" / f"{name}.log").read_text(errors="replace").splitlines()[-LAST_LINES:])

    # What control knows: read from its file, so that a stopped control tells too

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        with closing(
            sqlite3.connect(f"file:{self.directory / 'control' / 'fleetcast.db'}?mode=ro", uri=True, timeout=30)
        ) as db:
            db.row_factory = sqlite3.Row
            return db.execute(query, values).fetchall()

    def state(self, sha: str) -> str:
        """Of the commit's newest deployment; empty: it has none."""
        rows = self.rows("SELECT state FROM deployments WHERE commit_sha = ? ORDER BY sequence DESC", sha)
        return rows[0]["state"] if rows else ""

    def job(self, sha: str) -> sqlite3.Row | None:
        """The commit's build."""
        rows = self.rows("SELECT * FROM jobs WHERE commit_sha = ?", sha)
        assert len(rows) <= 1
        return rows[0] if rows else None

    def commands(self, worker: str) -> list[int]:
        """Processes of the build command that a worker has started, git's not among them."""
        return victims.started_with(f"FLEETCAST_PLACE={self.directory / 'workers' / worker / 'attempts'}/", "FLEETCAST_BUILD=")

    def running(self, sha: str, attempt: int = 1) -> bool:
        """Whether that attempt holds the commit's build."""
        job = self.job(sha)
        return job is not None and (job["status"], job["attempt"]) == ("RUNNING", attempt)

    def artifact(self, sha: str) -> sqlite3.Row:
        rows = self.rows("SELECT * FROM artifacts WHERE commit_sha = ?", sha)
        assert len(rows) == 1
        return rows[0]

    # What is on disks

    @property
    def main_bucket(self) -> Path:
        return self.directory / "control" / "bucket"

    def bucket(self, region: str) -> Path:
        return self.directory / "regions" / region / "bucket"

    def service(self, machine: str) -> Path:
        return self.directory / "machines" / machine / "services" / "production" / "web"

    def share_received(self, bucket: Path, key: str) -> float:
        """How much of a content an open upload holds, by its record: 0 to 1. A blob that is there already: 1."""
        if (bucket / "blobs" / key).exists():
            return 1.0
        received = (sum(parts.values()) for of, parts in open_uploads(bucket) if of == key)
        return next(received, 0) / self.content_bytes

    def share_fetched(self, machine: str, sha: str) -> float:
        """How many of a release's pieces are in a machine's incoming files, by the journal: 0 to 1. Whole: 1."""
        digest = self.artifact(sha)["digest"]
        if (self.service(machine) / "releases" / digest).exists():
            return 1.0
        try:
            records = (self.service(machine) / "incoming" / digest / "journal").stat().st_size // 8
        except FileNotFoundError:
            return 0.0
        # Chunks have 256 KiB on average; a few pieces of the manifest come first.
        return records * 256 * 1024 / self.content_bytes

    def activation(self, machine: str) -> dict[str, Any] | None:
        """The change-over that has begun there."""
        state = json.loads((self.service(machine) / "state.json").read_text())
        found: dict[str, Any] | None = state["activation"]
        return found

    def instance(self, machine: str) -> dict[str, Any]:
        """The process of the service there, as the agent wrote it down."""
        record: dict[str, Any] = json.loads((self.service(machine) / "run" / "process.json").read_text())
        return record

    def answer(self, machine: str) -> str | None:
        """The commit that answers on a machine's port; ``None``: nobody does."""
        return answer(self.machines[machine])

    # The end

    def settle(self, deploying: Deploying, *, attempts: int = 1) -> dict[str, Any]:
        """Wait for the end; it must be what it would have been without any fault."""
        deployment = deploying.end()
        machines = len(self.machines)
        progress = deployment["progress"]
        assert (progress["active"], progress["total"], progress["failed"]) == (machines, machines, 0)
        assert sum(progress["bytes"].values()) == deployment["artifact_bytes"] * machines
        job, artifact = self.job(deploying.sha), self.artifact(deploying.sha)
        assert job is not None
        assert (job["status"], job["attempt"], artifact["attempt"]) == ("SUCCEEDED", attempts, attempts)
        self.check_machines(deploying.sha)
        self.check_copies(deploying.sha)
        self.check_leftovers()
        return deployment

    def check_machines(self, sha: str) -> None:
        built = self.built(sha)
        for machine in self.machines:
            assert files_of((self.service(machine) / "current").resolve()) == built, f"{machine} does not run what {sha} builds"
            assert self.answer(machine) == sha

    def check_copies(self, sha: str) -> None:
        artifact = self.artifact(sha)
        original = hash_of(self.main_bucket / "blobs" / artifact["content_blob"])
        for region in self.regions:
            copy = self.bucket(region) / "blobs" / "artifacts" / artifact["digest"] / "content"
            assert hash_of(copy) == original

    def check_leftovers(self) -> None:
        wait_until(lambda: all(self.up(name) for name in self.names()), "every process runs")
        left: list[str] = []

        def nothing() -> bool:
            left[:] = self.leftovers()
            return not left

        # What the last look found is what counts: another would meet files that are being replaced just then.
        with contextlib.suppress(AssertionError):
            wait_until(nothing, "nothing is left over", 30)
        assert left == [], left

    def leftovers(self) -> list[str]:
        """What should not be there when nothing is under way."""
        places = [*self.directory.glob("workers/*/attempts")]
        places += [self.service(machine) / place for machine in self.machines for place in ("incoming", "discarded")]
        left = [str(path) for place in places if place.exists() for path in place.iterdir()]
        # A file of bytes without a record is nobody's, and goes within a day.
        buckets = [self.main_bucket, *(self.bucket(region) for region in self.regions)]
        left += [str(upload) for bucket in buckets for upload in open_uploads(bucket)]
        left += [str(path) for path in (self.directory / "machines").rglob(".*.next")]
        supervised = {self.pid(name) for name in self.names()}
        services = {pid for machine in self.machines for pid in _with_children(self.instance(machine)["process"]["pid"])}
        strays = set(sweeper.processes_of(self.directory)) - supervised - services
        return left + [f"{pid}: {_command(pid)}" for pid in strays if victims.alive(pid)]

    def built(self, sha: str) -> dict[str, str]:
        """What a commit consists of, built here, by nobody but git and the example's own script."""
        place = self.directory.parent / "built"
        place.mkdir()
        archive = subprocess.run(["git", "archive", sha], cwd=self.repository, check=True, capture_output=True)
        subprocess.run(["tar", "-x"], cwd=place, input=archive.stdout, check=True)
        subprocess.run([sys.executable, "build.py"], cwd=place, check=True, capture_output=True)
        files = files_of(place / "dist")
        shutil.rmtree(place)
        return files

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Ask every machine's service all the time: it may be away only between one release and another."""
        over = threading.Event()
        heard: dict[str, list[str | None]] = {machine: [self.answer(machine)] for machine in self.machines}

        def listen(machine: str) -> None:
            while not over.wait(LOOK_S):
                said = self.answer(machine)
                if said != heard[machine][-1]:
                    heard[machine].append(said)

        threads = [threading.Thread(target=listen, args=(machine,)) for machine in self.machines]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()
        for machine, said in heard.items():
            assert said[0] is not None, f"{machine} had no service before the fault"
            assert said[-1] is not None, f"{machine} has no service at the end"
            for before, now, after in zip(said, said[1:], said[2:], strict=False):
                assert now is not None or before != after, f"{machine} was without its service: {said}"


def answer(port: int) -> str | None:
    """The commit of the example service that answers on a port; ``None``: nobody does."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"GET /version HTTP/1.0\r\n\r\n")
            said = b"".join(iter(lambda: connection.recv(65536), b""))
        commit: str = json.loads(said.partition(b"\r\n\r\n")[2])["commit"]
    except (OSError, ValueError):
        return None
    return commit


def git(where: Path, *arguments: str) -> str:
    who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in (("NAME", "Ada"), ("EMAIL", "a@e"))}
    plain = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(
        ["git", *arguments], cwd=where, env={**os.environ, **plain, **who}, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def files_of(tree: Path) -> dict[str, str]:
    """SHA-256 of every file below ``tree``, by path."""
    return {str(path.relative_to(tree)): hash_of(path) for path in tree.rglob("*") if path.is_file()}


def hash_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _with_children(pid: int) -> list[int]:
    found = [pid]
    with contextlib.suppress(OSError):  # it has ended
        found += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return "gone"
