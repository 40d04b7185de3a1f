"""Control and a region, the programs that ship, on one engine; no worker and no machine."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleetcast.http.tokens import load
from fleetcast.launch import installation
from fleetcast.launch.installation import Blueprint
from fleetcast.launch.ports import free_ports
from fleetcast.launch.settings import LOOPBACK
from fleetcast.stores.etcd_access import EtcdAccess, etcd_access
from lab.host import Host
from lab.program import Program, end, pipe, wait_ready

REGION: Final = "local"
_PROGRAM: Final = str(Path(sys.executable).with_name("fleetcast"))


@dataclass(frozen=True)
class Global:
    """Where the global key-value store is."""

    file: Path
    etcd: EtcdAccess | None


@dataclass(frozen=True)
class Region:
    url: str
    agent_token: str
    store: Global


@contextmanager
def a_region(directory: Path, etcd_url: str, poll_interval_s: float, *, watch: bool) -> Iterator[Region]:
    """``etcd_url``: of a cluster, with a prefix that nobody else has; empty: the embedded engine."""
    ports = free_ports(Blueprint.ports_needed(1, 0), LOOPBACK, random.Random())
    on = {name: {"kv_url": f"{etcd_url}/{name}"} if etcd_url else {} for name in ("global", REGION)}
    pace = {"kv_poll_interval_s": poll_interval_s, "kv_watch": watch}
    file = installation.create(
        directory, Blueprint(0, (REGION,), 0, ports, control=on["global"], region={**on[REGION], **pace})
    )
    secrets = directory / "secrets"
    programs: list[Program] = []
    with pipe() as lifeline:
        try:
            for noun in ("control", "region"):
                ready = directory / f"{noun}.ready"
                argv = [_PROGRAM, noun, "--settings", str(file), "--log-format", "json"]
                argv += ["--ready-file", str(ready), "--lifeline", str(lifeline.reader)]
                programs.append(Program(noun, Host("loopback", LOOPBACK), argv, directory, pipes=[lifeline.reader]))
                wait_ready([(programs[-1], ready)])
            url = str(json.loads((directory / "region.ready").read_text())["api"])
            etcd = etcd_access(on["global"]["kv_url"]) if etcd_url else None
            yield Region(url, load(secrets / "agent.token"), Global(directory / "control" / "kv.db", etcd))
        finally:
            end(programs)
