"""Key-value stores that are etcd clusters: whether each server answers, of which version and with which clock, and whether
the cluster lets us in and takes writes.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from fleetcast.cli.doctor.checks import Check, answering, fail, owners, warn
from fleetcast.cli.doctor.clocks import behind_date_s, clock
from fleetcast.model.errors import FleetcastError

if TYPE_CHECKING:
    from fleetcast.launch.settings import ControlSettings, RegionSettings, Settings
    from fleetcast.stores.etcd_access import EtcdAccess

VERSION_MIN: Final = (3, 5, 3)
"""Of etcd: the first of 3.5 that keeps what it promised to keep."""


@dataclass(frozen=True, slots=True)
class _Server:
    """One of the cluster's, as it was found."""

    place: str
    version: str = ""
    behind_s: float | None = None
    """How far this host's clock is behind its; ``None``: it does not tell."""
    error: str = ""
    """Why it does not answer; empty: it does."""


def key_values(settings: Settings) -> Iterator[Check]:
    """All there is to say about them; nothing about embedded ones, which are files (``installation.py``)."""
    for name, owner in owners(settings, "global kv", "kv {}"):
        yield from _store(name, owner)


def _store(name: str, settings: ControlSettings | RegionSettings) -> Iterator[Check]:
    from fleetcast.launch.key_values import etcd_of

    try:
        access = etcd_of(settings)
        if access is None:
            return
        servers, write_s = asyncio.run(_look(access))
    except FleetcastError as error:
        yield fail(name, error.message, "fleetcast settings shows what holds, docs/operations.md how to set one up")
        return
    yield _cluster(name, access, servers, write_s)
    for server in servers:
        if server.error:
            yield warn(name, server.error, "start it again: the cluster goes on while most of its servers do")
    told = [server.behind_s for server in servers if server.behind_s is not None]
    if told:
        yield clock(f"clock of {name}", "its servers'", max(told, key=abs))


async def _look(access: EtcdAccess) -> tuple[Sequence[_Server], float]:
    """Its servers, and how long the cluster takes to agree on a write that does not happen. Seconds."""
    from fleetcast.stores.etcd_kv import EtcdKv

    opened = await EtcdKv.open(access)
    try:
        began = time.monotonic()
        await opened.check_writable()
        write_s = time.monotonic() - began
    finally:
        await opened.close()
    return await asyncio.gather(*(_server(replace(access, servers=(server,))) for server in access.servers)), write_s


async def _server(access: EtcdAccess) -> _Server:
    from fleetcast.stores.etcd_gateway import EtcdGateway

    gateway = EtcdGateway(access)
    try:
        before = time.time()
        version, date = await gateway.version()
        return _Server(access.place, version.etcdserver, behind_date_s(date, before, time.time()))
    except FleetcastError as error:
        return _Server(access.place, error=error.message)
    finally:
        await gateway.aclose()


def _cluster(name: str, access: EtcdAccess, servers: Sequence[_Server], write_s: float) -> Check:
    versions = sorted({server.version for server in servers if server.version}, key=_numbers)
    says = f"etcd {' and '.join(versions) or 'of no known version'}, {access.place}, keys below {access.prefix}"
    if versions and _numbers(versions[0]) < VERSION_MIN:
        least = ".".join(str(number) for number in VERSION_MIN)
        return warn(
            name, says, f"use etcd {least} or newer: older ones may lose what they have taken, or are not kept any more"
        )
    if len(versions) > 1:
        return warn(name, says, "upgrade the older ones: a cluster of two versions is meant for a short while")
    return answering(name, says if access.encrypted else f"{says}, without TLS", write_s)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("-")[0]))
