"""What runs on this host by its settings: secrets, directories, ports."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fleetcast.cli.doctor.checks import Check, fail, ok, warn
from fleetcast.cli.doctor.listeners import listeners
from fleetcast.cli.output import size
from fleetcast.http.tokens import Role, token_path
from fleetcast.model.limits import ARTIFACT_CONTENT_BYTES_MAX, MIB

if TYPE_CHECKING:
    from fleetcast.launch.settings import Settings

FREE_BYTES_MIN: Final = 512 * MIB
"""Below this databases and logs have no room either."""


def installation(settings: Settings) -> Iterator[Check]:
    """All there is to say about it; nothing where nothing is configured."""
    yield from _secrets(settings)
    yield from _public_keys(settings)
    yield from _directories(settings)
    yield from _ports(settings)


def _secrets(settings: Settings) -> Iterator[Check]:
    paths = {worker.token_file for worker in settings.workers} | {worker.signing_key for worker in settings.workers}
    paths |= {region.token_file for region in settings.regions} | {region.agent_token_file for region in settings.regions}
    paths |= {agent.token_file for agent in settings.agents}
    if settings.control is not None:
        paths |= {token_path(settings.control.secrets, role) for role in Role}
    bad = [complaint for path in sorted(paths) if (complaint := _secret(path)) is not None]
    yield from bad
    if paths and not bad:
        yield ok("secrets", f"{len(paths)} files, for their owner only")


def _secret(path: Path) -> Check | None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            return fail("secrets", f"others may read {path} (mode {mode:04o})", f"chmod 600 {path}")
        with open(path, "rb") as file:
            empty = not file.read(1)
    except OSError as error:
        advice = (
            "fleetcast up makes it, or copy it from the installation"
            if isinstance(error, FileNotFoundError)
            else "be its owner"
        )
        return fail("secrets", f"cannot read {path}: {error.strerror}", advice)
    return fail("secrets", f"{path} is empty", "delete it to have a new one made, or copy it again") if empty else None


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
    return next((each for each in (path, *path.parents) if each.exists()), path)


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
