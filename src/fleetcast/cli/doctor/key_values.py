"""Key-value stores that are etcd clusters: whether they let us in, take writes, and are of a version to rely on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from fleetcast.cli.doctor.checks import Check, fail, ok, owners, warn
from fleetcast.model.errors import FleetcastError

if TYPE_CHECKING:
    from fleetcast.launch.settings import ControlSettings, RegionSettings, Settings
    from fleetcast.stores.etcd_access import EtcdAccess

VERSION_MIN: Final = (3, 5, 3)
"""Of etcd: the first of 3.5 that keeps what it promised to keep."""


def key_values(settings: Settings) -> Iterator[Check]:
    """All there is to say about them; nothing about embedded ones, which are files (``installation.py``)."""
    for name, owner in owners(settings, "global kv", "kv {}"):
        yield from _store(name, owner)


def _store(name: str, settings: ControlSettings | RegionSettings) -> Iterator[Check]:
    from fleetcast.launch.key_values import etcd_of

    try:
        access = etcd_of(settings)
        if access is not None:
            yield asyncio.run(_look(name, access))
    except FleetcastError as error:
        yield fail(name, error.message, "fleetcast settings shows what holds, docs/operations.md how to set one up")


async def _look(name: str, access: EtcdAccess) -> Check:
    from fleetcast.stores.etcd_kv import EtcdKv

    opened = await EtcdKv.open(access)
    try:
        await opened.check_writable()
        version = await opened.version()
    finally:
        await opened.close()
    says = f"etcd {version}, {access.place}, keys below {access.prefix}"
    if _numbers(version) < VERSION_MIN:
        newest = ".".join(str(number) for number in VERSION_MIN)
        return warn(
            name, says, f"use etcd {newest} or newer: older ones may lose what they have taken, or are not kept any more"
        )
    if not access.encrypted:
        return ok(name, f"{says}, without TLS")
    return ok(name, says)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("-")[0]))
