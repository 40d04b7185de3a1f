"""What runs on this host by its settings: keys, directories, ports."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fleetcast.cli.doctor.checks import Check, fail, is_there, ok, warn
from fleetcast.cli.doctor.listeners import listeners
from fleetcast.cli.output import size
from fleetcast.model.limits import ARTIFACT_CONTENT_BYTES_MAX, MIB

if TYPE_CHECKING:
    from fleetcast.launch.settings import Settings

FREE_BYTES_MIN: Final = 512 * MIB
"""Below this databases and logs have no room either."""


def installation(settings: Settings) -> Iterator[Check]:
    """All there is to say about it; nothing where nothing is configured."""
    yield from _public_keys(settings)
    yield from _directories(settings)
    yield from _ports(settings)


def _public_keys(settings: Settings) -> Iterator[Check]:
    from fleetcast.artifacts.signing import load_public
    from fleetcast.model.errors import Invalid

    paths = set(settings.control.worker_public_keys if settings.control else ())
    paths |= {path for region in settings.regions for path in region.worker_public_keys}
    paths |= {path for agent in settings.agents for path in agent.worker_public_keys}
    wrong = False
    for path in sorted(paths):
        try:
            load_public(path)
        except Invalid as error:
            wrong = True
            yield fail("keys", error.message, "copy the worker's public key from the installation (keys/worker.pub)")
    if paths and not wrong:
        yield ok("keys", f"{len(paths)} public {'keys' if len(paths) > 1 else 'key'} of workers")


def _directories(settings: Settings) -> Iterator[Check]:
    paths = [worker.directory for worker in settings.workers]
    paths += [region.directory for region in settings.regions]
    paths += [agent.directory for agent in settings.agents]
    if settings.control is not None:
        paths.append(settings.control.directory)
    disks: dict[int, list[Path]] = {}
    for path in paths:
        there = _nearest(path)
        if not os.access(there, os.W_OK | os.X_OK):
            yield fail("directories", f"cannot write to {there}", f"give the user that runs Fleetcast the right to, for {path}")
        else:
            disks.setdefault(there.stat().st_dev, []).append(path)
    for members in disks.values():
        free = shutil.disk_usage(_nearest(members[0])).free
        says = f"{len(members)} writable on the disk of {os.path.commonpath(members)}, {size(free)} free"
        if free < FREE_BYTES_MIN:
            yield fail("directories", says, "make room: databases and logs need some too")
        elif free < ARTIFACT_CONTENT_BYTES_MAX:
            yield warn("directories", says, f"make room: one artifact may have {size(ARTIFACT_CONTENT_BYTES_MAX)}")
        else:
            yield ok("directories", says)


def _nearest(path: Path) -> Path:
    """The path, or what of its parents is there."""
    return next((each for each in (path, *path.parents) if is_there(each)), path)


def ports_of(settings: Settings) -> dict[int, str]:
    """The ports that processes of this host listen on, as far as they are fixed, and whose each is."""
    users: dict[int, str] = {}
    if settings.control is not None:
        users[settings.control.port] = "control's API"
        if not settings.control.store_url:
            users[settings.control.data_port] = "control's data port"
    for region in settings.regions:
        users |= {region.port: f"the API of region {region.name}", region.data_port: f"the data port of region {region.name}"}
    users |= {agent.peer_port: f"the peers of machine {agent.machine}" for agent in settings.agents}
    users.pop(0, None)
    return users


def _ports(settings: Settings) -> Iterator[Check]:
    users = ports_of(settings)
    taken = listeners(set(users))
    foreign = {port: listener for port, listener in taken.items() if not listener.ours}
    for port, listener in sorted(foreign.items()):
        if listener.pid is None:
            yield warn("ports", f"{port}, for {users[port]}, is in use by another user's process", "see that it is Fleetcast's")
        else:
            says = f"{port}, for {users[port]}, is in use by process {listener.pid} ({listener.shown[:60]})"
            yield fail("ports", says, "stop that, or choose another port in the settings")
    if users and not foreign:
        yield ok("ports", f"{len(users)}: {len(taken)} ours, {len(users) - len(taken)} free")
