"""Control, a worker and regions, the programs that ship, on one kind of stores."""

from __future__ import annotations

import json
import random
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from fleetcast.cli.demo.engines.swift import SECRET, USER, SwiftServer, swift_server
from fleetcast.launch import installation
from fleetcast.launch.installation import Blueprint
from fleetcast.launch.ports import free_ports
from fleetcast.launch.settings import LOOPBACK
from fleetcast.model.messages.grants import Grant
from fleetcast.stores.data_grants import grant_read
from fleetcast.stores.s3_address import s3_address
from fleetcast.stores.s3_credentials import S3Credentials
from fleetcast.stores.s3_objects import S3Objects
from lab import payload
from lab.commands import run
from lab.errors import LabError
from lab.host import Host
from lab.payload import Payload
from lab.program import LOOK_S, Program, end, pipe, wait_ready

MAIN_STORE_PORT: Final = 6380
"""Of the S3 server that has the main store: connections to it are told from those to the regions' by their port."""
SERVICE: Final = "payload"
REPLICATED_S_MAX: Final = 900.0
KNOWN_S_MAX: Final = 60.0
GRANT_S: Final = 3600
WARM_BYTES: Final = 1 << 20
WARM_SEED: Final = 0
"""Of an artifact that has nothing in common with those that are measured."""
_PROGRAM: Final = str(Path(sys.executable).with_name("fleetcast"))
_LOOPBACK: Final = Host("loopback", LOOPBACK)


@dataclass(frozen=True)
class Artifact:
    """Replicated. Times are the database's clock, UTC seconds."""

    digest: str
    content_bytes: int
    manifest_bytes: int
    content_blob: str
    published_at_s: float
    """From then on regions can know of it."""
    completed_at_s: float
    """When control had seen it in every bucket."""


@dataclass(frozen=True)
class Stores:
    """S3-compatible ones; ``None``: directories."""

    main: SwiftServer | None = None
    regional: SwiftServer | None = None

    def objects(self, region: str = "") -> S3Objects:
        """Of the main store, or of a region's bucket."""
        server = self.regional if region else self.main
        assert server is not None
        return S3Objects(s3_address(server.url(region or "main")), S3Credentials(USER, SECRET))


@contextmanager
def stores(engine: str, regions: Sequence[str], parent: Path | None) -> Iterator[Stores]:
    """Servers that run, with a bucket for each, below ``parent`` (where temporary files go)."""
    if engine == "embedded":
        yield Stores()
        return
    with swift_server(parent=parent, port=MAIN_STORE_PORT) as main, swift_server(parent=parent) as regional:
        main.create_bucket("main")
        for region in regions:
            regional.create_bucket(region)
        yield Stores(main, regional)


@dataclass
class Company:
    directory: Path
    regions: Sequence[str]
    stores: Stores
    programs: dict[str, Program] = field(default_factory=dict)
    """By name: ``control``, ``worker-1``, and the regions."""

    def start(self, noun: str, name: str, lifeline: int) -> None:
        ready = self.directory / "run" / f"{name}.ready"
        argv = [_PROGRAM, noun, *([] if noun == "control" else ["--machine" if noun == "agent" else "--name", name])]
        argv += ["--settings", str(self.settings), "--log-format", "json"]
        argv += ["--ready-file", str(ready), "--lifeline", str(lifeline)]
        self.programs[name] = Program(name, _LOOPBACK, argv, self.directory / "run", pipes=[lifeline])
        wait_ready([(self.programs[name], ready)])

    @property
    def settings(self) -> Path:
        return self.directory / installation.SETTINGS_NAME

    def publish(self, wanted: Payload) -> Artifact:
        """Build it, deploy it to a machine that is not there any more, and wait until every bucket has it."""
        sha = payload.commit(self.directory / "repository", wanted)
        self._fleetcast("deploy", f"{SERVICE}@{sha}", "--no-wait")
        query = "SELECT * FROM artifacts a JOIN releases r USING (digest) WHERE a.commit_sha = ? AND r.deployable"
        row = self._await(lambda: next(iter(self.rows(query, sha)), None), f"{sha} is in every bucket", REPLICATED_S_MAX)
        return Artifact(
            row["digest"],
            row["content_size"],
            row["manifest_size"],
            row["content_blob"],
            row["published_at"] / 1000,
            row["completed_at"] / 1000,
        )

    def register(self) -> None:
        """The service, on the machine that has reported."""
        payload.commit(self.directory / "repository", Payload(WARM_BYTES, seed=WARM_SEED))
        self._await(lambda: self.rows("SELECT id FROM machines"), "the machine reports", KNOWN_S_MAX)
        self._fleetcast("service", "add", SERVICE, str(self.directory / "repository"))

    def main_port(self) -> int:
        """At which bulk data leaves the main store."""
        if self.stores.main is not None:
            return MAIN_STORE_PORT
        port = urlsplit(self._data_url()).port
        assert port is not None
        return port

    def main_grant(self, artifact: Artifact) -> Grant:
        """To read the main store's copy."""
        if self.stores.main is not None:
            return self.stores.objects().read_grant(artifact.content_blob, GRANT_S)
        key = (self.directory / "control" / "data.key").read_text().strip().encode()
        return grant_read(self._data_url(), key, artifact.content_blob, round((time.time() + GRANT_S) * 1000))

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """What control's database says, read from its file."""
        file = self.directory / "control" / "fleetcast.db"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)) as db:
            db.row_factory = sqlite3.Row
            return db.execute(query, values).fetchall()

    def _data_url(self) -> str:
        return str(json.loads((self.directory / "run" / "control.ready").read_text())["data"])

    def _fleetcast(self, *arguments: str) -> None:
        run(_PROGRAM, *arguments, "--settings", str(self.settings))

    def _await(self, look: Callable[[], Any], what: str, s_max: float) -> Any:
        deadline = time.monotonic() + s_max
        while not (found := look()):
            for program in self.programs.values():
                program.must_run()
            if time.monotonic() > deadline:
                raise LabError(f"not within {s_max:g} s: {what}; the logs are in {self.directory / 'run'}")
            time.sleep(LOOK_S)
        return found


@contextmanager
def company(directory: Path, regions: Sequence[str], opened: Stores) -> Iterator[Company]:
    """Running, with empty buckets, and one machine that has reported and is gone: it wants what is deployed."""
    _found(directory, regions, opened)
    founded = Company(directory, regions, opened)
    with ExitStack() as stack:
        lifeline = stack.enter_context(pipe())
        stack.callback(lambda: end(founded.programs.values()))
        founded.start("control", "control", lifeline.reader)
        for region in regions:
            founded.start("region", region, lifeline.reader)
        machine = installation.machine_names(regions, 1)[0][0]
        founded.start("agent", machine, lifeline.reader)
        founded.register()
        end([founded.programs.pop(machine)])
        founded.start("worker", "worker-1", lifeline.reader)
        # Control holds a region's question only once there was an answer: the first of all artifacts would wait for a poll.
        founded.publish(Payload(WARM_BYTES, seed=WARM_SEED))
        yield founded


def _found(directory: Path, regions: Sequence[str], opened: Stores) -> None:
    ports = free_ports(Blueprint.ports_needed(len(regions), 1), LOOPBACK, random.Random())
    # The payload's own script is run by this Python, wherever that is installed: a sandbox shows it only the system's.
    pace = {"replication_check_interval_s": 0.2}
    blueprint = Blueprint(1, regions, 1, ports, control=pace, worker={"sandbox": "off"}, region={"report_interval_s": 1.0})
    file = installation.create(directory, blueprint)
    if opened.main is None or opened.regional is None:
        return
    credentials = f'store_credentials_file = "{opened.main.write_credentials(directory / "secrets" / "s3")}"\n'
    text = file.read_text().replace("[control]\n", f'[control]\nstore_url = "{opened.main.url("main")}"\n{credentials}')
    for region in regions:
        # An agent's table names its region, not itself.
        named = f'[[region]]\nname = "{region}"\n'
        text = text.replace(named, f'{named}store_url = "{opened.regional.url(region)}"\n{credentials}')
    file.write_text(text)
