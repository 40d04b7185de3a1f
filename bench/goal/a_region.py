"""Control and a region, the programs that ship, on one engine; no worker and no machine."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.installed import installed
from fleetcast.http.tokens import load
from fleetcast.launch.installation import Blueprint
from fleetcast.launch.ports import free_ports
from fleetcast.launch.settings import LOOPBACK
from fleetcast.stores.etcd_access import EtcdAccess, etcd_access

REGION: Final = "local"


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
    blueprint = Blueprint(0, (REGION,), 0, ports, control=on["global"], region={**on[REGION], **pace})
    with installed(directory, blueprint, ("control", "region")) as urls:
        etcd = etcd_access(on["global"]["kv_url"]) if etcd_url else None
        token = load(directory / "secrets" / "agent.token")
        yield Region(urls["region"], token, Global(directory / "control" / "kv.db", etcd))
