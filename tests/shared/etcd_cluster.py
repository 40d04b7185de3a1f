"""An etcd cluster of three members on loopback, any of which a test may kill."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from fleetcast.cli.demo.engines.etcd import EtcdServer, Membership
from fleetcast.launch.ports import free_ports
from running import wait_until

NAMES: Final = ("one", "two", "three")


@contextmanager
def etcd_cluster(directory: Path) -> Iterator[list[EtcdServer]]:
    """Its members, each in a directory below ``directory``."""
    peers = dict(zip(NAMES, free_ports(len(NAMES), "127.0.0.1", random.Random()), strict=True))
    with ExitStack() as stack:
        members = []
        for name in NAMES:
            (directory / name).mkdir()
            members.append(EtcdServer(directory / name, membership=Membership(name, peers)))
            stack.callback(members[-1].close)
        with ThreadPoolExecutor() as threads:  # none of them answers before most are there
            list(threads.map(EtcdServer.start, members))
        yield members


def url(members: list[EtcdServer]) -> str:
    """That names them in this order, which is that in which they are asked."""
    return "etcd://" + ",".join(member.url.removeprefix("etcd://") for member in members)


def leader(members: list[EtcdServer]) -> EtcdServer:
    """Who leads by its own word, once one does."""
    found: list[EtcdServer] = []

    def look() -> bool:
        found[:] = [member for member in members if _leads(member)]
        return len(found) == 1

    wait_until(look, "a member leads")
    return found[0]


def _leads(member: EtcdServer) -> bool:
    status = json.loads(member.ctl("endpoint", "status", "--write-out=json"))[0]["Status"]
    return bool(status["leader"] == status["header"]["member_id"])
