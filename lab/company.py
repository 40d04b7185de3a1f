"""A Fleetcast installation of real processes on hosts of the lab, loopback included: what is deployed, and what came of it.

Control and a worker run on the hub, the region with its bucket on the origin, an agent on each machine; each is the program
that ships, with a settings file that is written here. Everything is in one directory::

    secrets/ keys/       tokens, and the worker's keys
    HOST.toml            what runs on that host
    control/ workers/ regions/ machines/    what each process keeps
    repository/          what the worker builds
    run/                 ready files and output

The clock of a distribution starts when the region's key-value store has the goal (``goal_taken`` in its log): from there on
it is the swarm's. What comes before, control's transaction and its way to the region, is told apart.
"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from fleetcast.agent.layout import MachineLayout, ServiceKey, ServiceLayout
from fleetcast.artifacts.signing import generate_key, unverified_root
from fleetcast.http.tokens import Role, load_or_create
from fleetcast.launch import sweeper
from fleetcast.launch.ports import free_ports
from fleetcast.launch.settings import LOOPBACK
from fleetcast.model.ids import Digest
from lab import payload
from lab.errors import LabError
from lab.host import Host
from lab.payload import Payload
from lab.program import LOOK_S, Program, clean_environment, end, events, pipe, wait_ready

REGION = "lab"
FLEET = "fleet"
"""Label ``role`` of the machines that count."""
SCOUT = "scout"
"""Label ``role``, and id, of one that does not."""
SERVICE = ServiceKey("production", "payload")
PUBLISH_S_MAX = 900.0
COMMAND_S_MAX = 900.0
KNOWN_S_MAX = 120.0
GOAL_S_MAX = 60.0
REPORTED_S_MAX = 60.0
QUIET_S_MAX = 30.0
QUIET_SHARE = 0.1
"""Of one core, all processes together: less is as quiet as an installation gets."""
DELIVERY_LOOK_S = 0.02
_PROGRAM = str(Path(sys.executable).with_name("fleetcast"))

Value = str | int | float | bool | Mapping[str, str]


@dataclass(frozen=True)
class Choices:
    """Settings over the defaults, by key; the lab's own pace is in them where nobody says otherwise."""

    control: Mapping[str, Value] = field(default_factory=dict)
    region: Mapping[str, Value] = field(default_factory=dict)
    agent: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Release:
    """Built, and complete in the region's bucket."""

    commit: str
    digest: Digest
    content_bytes: int
    chunks: int


@dataclass(frozen=True)
class Received:
    """One machine's release. ``at_s``: when it stood whole, verified and durable in its final place; UTC seconds."""

    at_s: float
    origin_bytes: int
    peer_bytes: int
    local_bytes: int


@dataclass(frozen=True)
class Distribution:
    """What one deployment took. CPU seconds (user and system) from the trigger until the last machine had it."""

    deployment: str
    """Its id."""
    goal_at_s: float
    """When the region's key-value store had the goal; UTC seconds."""
    goal_lag_s: float
    """Between control's transaction and that."""
    machines: Mapping[str, Received]
    cpu_s: Mapping[str, float]
    """Of each process, by name: ``control``, ``region``, ``agent-HOST``."""
    peak_rss_bytes: Mapping[str, int]

    @property
    def times_s(self) -> list[float]:
        """From the goal to each machine's release, ascending."""
        return sorted(received.at_s - self.goal_at_s for received in self.machines.values())


def nothing() -> None:
    """Nothing is to be done."""


class Company:
    """Use as a context manager: on leaving it no process and, unless ``keep``, no directory is left."""

    def __init__(self, directory: Path, *, hub: Host, origin: Host, choices: Choices | None = None, keep: bool = False) -> None:
        """``directory``: must not exist."""
        self.directory = directory
        self._hub, self._origin = hub, origin
        self._choices = choices or Choices()
        self._keep = keep
        self._ports = dict(zip(("api", "data", "region", "region_data"), free_ports(4, LOOPBACK, random.Random()), strict=True))
        self._stack = ExitStack()
        self._lifeline = self._stack.enter_context(pipe())
        self.programs: dict[str, Program] = {}
        """By name: ``control``, ``worker``, ``region``, ``agent-HOST``."""

    def __enter__(self) -> Company:
        try:
            self._found()
            for noun, host in (("control", self._hub), ("region", self._origin), ("worker", self._hub)):
                self._start(noun, noun, host)
                self._wait_ready(noun)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End everything and remove the directory."""
        end(reversed(self.programs.values()))
        self.programs.clear()
        self._stack.close()
        if not self._keep:
            sweeper.remove(self.directory)

    # What is built and where it goes

    def publish(self, wanted: Payload) -> Release:
        """Build it with the real worker and wait until it is complete in the region's bucket. No machine has it then.

        Control copies an artifact into regions once a deployment wants it: the first one is for the scout alone, a machine
        that reported and is gone.
        """
        repository = self.directory / "repository"
        sha = payload.commit(repository, wanted)
        if not self._known({SCOUT}):
            self.join([Host(SCOUT, self._hub.address, self._hub.namespace)], role=SCOUT)
            end([self.programs.pop(f"agent-{SCOUT}")])
        self._aim(SCOUT)
        self.fleetcast("deploy", f"{SERVICE.service}@{sha}", "--no-wait")
        query = "SELECT a.digest, a.content_size, a.envelope FROM artifacts a JOIN releases r USING (digest) " + (
            "WHERE a.commit_sha = ? AND r.deployable"
        )
        row = self._await_row(query, sha, what=f"{sha} is a release", s_max=PUBLISH_S_MAX)
        self._aim(FLEET)
        return Release(sha, Digest(row["digest"]), row["content_size"], unverified_root(row["envelope"]).chunks)

    def drop_main_copy(self) -> None:
        """Remove the main bucket's blobs, which only regions that are still copying read."""
        for blob in (self.directory / "control" / "bucket" / "blobs").rglob("*"):
            if blob.is_file():
                blob.unlink()

    def join(self, hosts: Sequence[Host], role: str = FLEET) -> None:
        """Start an agent on each host and wait until control knows all machines."""
        for host in hosts:
            self.start_agent(host, role)
        for host in hosts:
            self._wait_ready(f"agent-{host.name}")
        self._wait(lambda: self._known({host.name for host in hosts}), "all machines report", KNOWN_S_MAX)

    def start_agent(self, host: Host, role: str = FLEET) -> Program:
        """Start the agent of a machine, or start it again after its end."""
        place: dict[str, Value] = {"zone": host.zone, "rack": host.rack, "peer_host": host.address, "labels": {"role": role}}
        agent = {"machine": host.name, "region": REGION, "region_url": self.region_url, **place, **self._choices.agent}
        self._write(f"machine-{host.name}", _table("[[agent]]", agent))
        return self._start(f"agent-{host.name}", "agent", host, f"machine-{host.name}")

    @property
    def region_url(self) -> str:
        """Where machines find their region."""
        return f"http://{self._origin.address}:{self._ports['region']}"

    @property
    def origin_url(self) -> str:
        """Where the region's bucket is read from."""
        return f"http://{self._origin.address}:{self._ports['region_data']}"

    def start_region(self) -> None:
        """Start the region's process again after its end."""
        self._start("region", "region", self._origin)
        self._wait_ready("region")

    def deploy(self, release: Release) -> str:
        """Trigger the deployment and return its id."""
        done = self.fleetcast("deploy", f"{SERVICE.service}@{release.commit}", "--no-wait", "--json")
        return str(json.loads(done)["id"])

    # What came of it

    def distribute(
        self, release: Release, hosts: Sequence[Host], s_max: float, start: Callable[[], None] = nothing
    ) -> Distribution:
        """Deploy and wait until every machine has the release. ``start`` is called right before that, when all is quiet.

        Raises:
            LabError: it takes longer than ``s_max``.
        """
        self.wait_until_quiet()
        start()
        measured = {name: program for name, program in self.programs.items() if name != "worker"}
        before = {name: program.cpu_s() for name, program in measured.items()}
        deployment = self.deploy(release)
        deadline = time.monotonic() + s_max
        left = {host.name for host in hosts}
        while left := {name for name in left if not self.service(name).release(release.digest).exists()}:
            for program in measured.values():
                program.must_run()
            if time.monotonic() > deadline:
                raise LabError(f"not every machine had the release within {s_max:g} s: {', '.join(sorted(left)[:5])} had not")
            time.sleep(DELIVERY_LOOK_S)
        cpu_s = {name: program.cpu_s() - before[name] for name, program in measured.items()}
        goal_at_s, goal_lag_s = self._goal(deployment)
        return Distribution(
            deployment=deployment,
            goal_at_s=goal_at_s,
            goal_lag_s=goal_lag_s,
            machines={host.name: self.received(host) for host in hosts},
            cpu_s=cpu_s,
            peak_rss_bytes={name: program.peak_rss_bytes() for name, program in measured.items()},
        )

    def wait_until_succeeded(self, deployment: str) -> None:
        """Until control has heard that every machine is active. Raises :class:`LabError`."""
        query = "SELECT id FROM deployments WHERE id = ? AND state = 'SUCCEEDED'"
        self._await_row(query, deployment, what=f"deployment {deployment} succeeds", s_max=REPORTED_S_MAX)

    def received(self, host: Host) -> Received:
        """What a machine's own records say of the one release that it has."""
        service = self.service(host.name)
        counts = json.loads(service.state.read_text())["fetched"]["bytes"]
        # Nothing but the rename of the release changes this directory.
        at_s = service.releases.stat().st_mtime_ns / 1e9
        return Received(at_s, counts["origin"], counts["peer"], counts["local"])

    def service(self, host: str) -> ServiceLayout:
        """Where a machine keeps what is deployed."""
        return MachineLayout(self.directory / "machines" / host).service(SERVICE)

    def wait_until_quiet(self) -> None:
        """Until what starting up costs is over; at most ``QUIET_S_MAX``, for a busy machine is the caller's matter."""
        deadline = time.monotonic() + QUIET_S_MAX
        while time.monotonic() < deadline:
            before, began = sum(program.cpu_s() for program in self.programs.values()), time.monotonic()
            time.sleep(1.0)
            used = sum(program.cpu_s() for program in self.programs.values()) - before
            if used < QUIET_SHARE * (time.monotonic() - began):
                return

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """What control's database says, read from its file."""
        file = self.directory / "control" / "fleetcast.db"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)) as db:
            db.row_factory = sqlite3.Row
            return db.execute(query, values).fetchall()

    def fleetcast(self, *arguments: str) -> str:
        """A command of a person who sits at the hub; what it printed. Raises :class:`LabError` when it fails."""
        argv = self._hub.command([_PROGRAM, *arguments, "--settings", str(self._file("hub"))])
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=COMMAND_S_MAX, env=clean_environment(), stdin=subprocess.DEVNULL
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
            raise LabError(f"fleetcast {' '.join(arguments[:2])} failed: {said[-1]}")
        return done.stdout

    # How it is made

    def _aim(self, role: str) -> None:
        self.fleetcast("service", "add", SERVICE.service, str(self.directory / "repository"), "--label", f"role={role}")

    def _known(self, names: Set[str]) -> bool:
        """Whether control has heard of all these machines."""
        return names <= {row["id"] for row in self.rows("SELECT id FROM machines")}

    def _found(self) -> None:
        self.directory.mkdir(parents=True)
        for name in ("secrets", "keys", "run"):
            (self.directory / name).mkdir()
        for role in Role:
            load_or_create(self.directory / "secrets", role)
        generate_key(self.directory / "secrets" / "worker.key", self.directory / "keys" / "worker.pub")
        control: dict[str, Value] = {"host": self._hub.address, "port": self._ports["api"], "data_port": self._ports["data"]}
        pace: dict[str, Value] = {"replication_check_interval_s": 0.5}
        # The payload's own script is run by this Python, wherever that is installed: a sandbox shows it only the system's.
        worker = _table("[[worker]]", {"name": "worker", "sandbox": "off"})
        self._write("hub", _table("[control]", {**control, **pace, **self._choices.control}) + worker)
        region: dict[str, Value] = {
            "name": REGION,
            "host": self._origin.address,
            "port": self._ports["region"],
            "data_port": self._ports["region_data"],
            "control_url": f"http://{self._hub.address}:{self._ports['api']}",
        }
        pace = {"kv_poll_interval_s": 0.5, "report_interval_s": 1.0}
        self._write("origin", _table("[[region]]", {**region, **pace, **self._choices.region}))

    def _start(self, name: str, noun: str, host: Host, settings: str = "") -> Program:
        self._ready_file(name).unlink(missing_ok=True)
        file = self._file(settings or ("origin" if noun == "region" else "hub"))
        ends = ["--ready-file", str(self._ready_file(name)), "--lifeline", str(self._lifeline.reader)]
        argv = [_PROGRAM, noun, "--settings", str(file), "--log-format", "json", *ends]
        self.programs[name] = Program(name, host, argv, self.directory / "run", pipes=[self._lifeline.reader])
        return self.programs[name]

    def _wait_ready(self, name: str) -> None:
        wait_ready([(self.programs[name], self._ready_file(name))])

    def _ready_file(self, name: str) -> Path:
        return self.directory / "run" / f"{name}.ready"

    def _file(self, name: str) -> Path:
        return self.directory / f"{name}.toml"

    def _write(self, name: str, text: str) -> None:
        self._file(name).write_text(text)

    def _goal(self, deployment: str) -> tuple[float, float]:
        """When the region had the goal (UTC seconds), and how long after control's transaction that was."""
        row = self._await_row("SELECT goal_at FROM deployments WHERE id = ? AND goal_at IS NOT NULL", deployment, what="a goal")
        told = [line for line in events(self.programs["region"].log, "goal_taken") if line["deployment"] == deployment]
        taken_at_s = datetime.fromisoformat(str(told[0]["timestamp"])).timestamp()
        return taken_at_s, taken_at_s - row["goal_at"] / 1000

    def _await_row(self, query: str, *values: object, what: str, s_max: float = GOAL_S_MAX) -> Any:
        found: list[sqlite3.Row] = []

        def look() -> bool:
            found[:] = self.rows(query, *values)
            return bool(found)

        self._wait(look, what, s_max)
        return found[0]

    def _wait(self, condition: Callable[[], bool], what: str, s_max: float) -> None:
        deadline = time.monotonic() + s_max
        while not condition():
            for program in self.programs.values():
                program.must_run()
            if time.monotonic() > deadline:
                raise LabError(f"not within {s_max:g} s: {what}; the logs are in {self.directory / 'run'}")
            time.sleep(LOOK_S)


def _table(header: str, values: Mapping[str, Value]) -> str:
    """A table of a settings file, as TOML."""
    return "".join([f"{header}\n", *(f"{key} = {_literal(value)}\n" for key, value in values.items()), "\n"])


def _literal(value: Value) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {json.dumps(text)}" for key, text in value.items()) + " }"
    return json.dumps(value)
