"""An installation in one directory: settings, tokens, the worker's signing key. Making it again changes nothing.

::

    settings.toml    what runs, for ``fleetcast up`` and to be edited
    secrets/         a token for each role and the worker's private key, each of mode 0600
    keys/            the worker's public key, which machines trust
    control/ workers/ regions/ machines/    what each process keeps
    run/             what the supervisor keeps: ready files and the processes' output
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fleetcast.artifacts.signing import generate_key
from fleetcast.http.tokens import Role, load_or_create
from fleetcast.model.errors import Invalid, Refused

SETTINGS_NAME: Final = "settings.toml"
FIRST_PORT: Final = 7401
_PID_BYTES_MAX: Final = 20

Value = str | int | float | Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Blueprint:
    """How large an installation is, and what deviates from the defaults."""

    workers: int
    regions: Sequence[str]
    machines: int
    """In all, dealt out to the regions one after the other."""
    ports: Sequence[int]
    """:meth:`ports_needed` of them."""
    control: Mapping[str, Value] = field(default_factory=dict)
    """Settings of control, and below of each worker and region, by key."""
    worker: Mapping[str, Value] = field(default_factory=dict)
    region: Mapping[str, Value] = field(default_factory=dict)
    of_region: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    """Settings of one region alone, by its name."""

    @staticmethod
    def ports_needed(regions: int, machines: int) -> int:
        """Two for control, two for each region, one for the service on each machine."""
        return 2 + 2 * regions + machines


def consecutive_ports(regions: int, machines: int) -> range:
    """The ports of an installation that has its machine to itself."""
    return range(FIRST_PORT, FIRST_PORT + Blueprint.ports_needed(regions, machines))


def machine_names(regions: Sequence[str], machines: int) -> list[tuple[str, str]]:
    """Name and region of each machine: dealt out evenly, numbered within the region."""
    return [
        (f"{regions[index % len(regions)]}-{index // len(regions) + 1}", regions[index % len(regions)])
        for index in range(machines)
    ]


def settings_in(named: Path) -> Path:
    """An installation's settings file, by its directory or by that file. It need not exist."""
    is_file = named.suffix == ".toml" and not named.is_dir()
    return named.absolute() if is_file else named.absolute() / SETTINGS_NAME


def create(directory: Path, blueprint: Blueprint, settings_name: str = SETTINGS_NAME) -> Path:
    """Make what is missing of the installation in ``directory`` and return its settings file.

    Raises:
        Invalid: the directory cannot be written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, mode in (("secrets", 0o700), ("keys", 0o755), ("run", 0o755)):
            (directory / name).mkdir(mode=mode, exist_ok=True)
        for role in Role:
            load_or_create(directory / "secrets", role)
        if not (directory / "secrets" / "worker.key").exists():
            generate_key(directory / "secrets" / "worker.key", directory / "keys" / "worker.pub")
        settings = directory / settings_name
        if not settings.exists():
            draft = settings.with_suffix(f".{os.getpid()}")
            draft.write_text(settings_text(blueprint), encoding="utf-8")
            draft.replace(settings)
    except OSError as error:
        raise Invalid(
            "no_installation",
            f"cannot make an installation in {directory}: {error.strerror}: make it writable, or choose another directory",
        ) from None
    return settings


@contextlib.contextmanager
def supervised(directory: Path, *, advice: str) -> Iterator[None]:
    """Be the installation's one supervisor. The lock is gone with the process, however that ends.

    Raises:
        Refused: it has one. ``advice``: what to do then, with ``{pid}`` for its process id.
    """
    with open(directory / "run" / "lock", "a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            pid = file.read(_PID_BYTES_MAX).decode("ascii", "replace").strip() or "unknown"
            advice = advice.replace("{pid}", pid)
            raise Refused("already_up", f"fleetcast up runs in {directory} (process {pid}): {advice}") from None
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()
        yield


def settings_text(blueprint: Blueprint) -> str:
    """The settings file of an installation, as TOML."""
    ports = iter(blueprint.ports)
    tables = [_table("[control]", {"port": next(ports), "data_port": next(ports), **blueprint.control})]
    for number in range(1, blueprint.workers + 1):
        tables.append(_table("[[worker]]", {"name": f"worker-{number}", **blueprint.worker}))
    for region in blueprint.regions:
        own = {**blueprint.region, **blueprint.of_region.get(region, {})}
        tables.append(_table("[[region]]", {"name": region, "port": next(ports), "data_port": next(ports), **own}))
    for machine, region in machine_names(blueprint.regions, blueprint.machines):
        # One that is made to try things out leaves nothing outside of its directory.
        own = {"supervisor": "children", "environment": {"PORT": str(next(ports))}}
        tables.append(_table("[[agent]]", {"machine": machine, "region": region, **own}))
    head = "# What runs here: 'fleetcast up' starts all of it. Paths are relative to this file. All else has its default.\n"
    return "\n".join([head, *tables])


def _table(header: str, values: Mapping[str, Value]) -> str:
    return "".join([header + "\n", *(f"{key} = {_literal(value)}\n" for key, value in values.items())])


def _literal(value: Value) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_literal(item)}" for key, item in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)
