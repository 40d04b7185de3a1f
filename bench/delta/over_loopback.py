"""A release, then an edited one, delivered to machines over loopback; what entered each is counted socket by socket."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.delta.asked import Asked
from bench.delta.edits import edits
from bench.delta.figures import Delivery, by_machine, new_bytes, summary
from bench.swarm.place import place
from fleetcast.artifacts.signing import unverified_root
from fleetcast.launch.settings import LOOPBACK
from fleetcast.model.artifact import Root
from lab.company import Company, Release
from lab.host import Host
from lab.payload import Payload
from lab.traffic import Traffic

COPIES = 6
"""Besides two a machine: the worker's output, the main bucket's copy and the region's, of two releases."""
RUN_S_MAX = 900.0
FIRST = "first"
"""The release before, of which machines have nothing."""

Say = Callable[[str], None]


def measure(asked: Asked, say: Say) -> dict[str, Any]:
    """The result as JSON has it. Raises :class:`~lab.errors.LabError`."""
    result: dict[str, Any] = {}
    deliveries: dict[str, list[Delivery]] = {}
    with place(asked.size_bytes * (2 * asked.machines + COPIES), asked.directory) as directory:
        for seed in range(1, asked.runs + 1):
            before = Payload(asked.size_bytes, seed=seed)
            for name, edit in edits(before).items():
                for release, come in _deliver(asked, directory / "company", before, name, edit.payload).items():
                    deliveries.setdefault(release, []).extend(come)
                    say(f"seed {seed}: {release}: {_line(come, asked.size_bytes)}")
                result[name] = {"target": edit.target, "changed_bytes": edit.changed_bytes}
    for name, come in deliveries.items():
        result[name] = {**result.get(name, {}), **summary(come, asked.size_bytes)}
    return result


def _deliver(asked: Asked, directory: Path, before: Payload, name: str, after: Payload) -> dict[str, list[Delivery]]:
    """To the machines of a new company: ``before`` whole, then ``after``, which is called ``name``."""
    hosts = [Host(f"host-{number}", LOOPBACK) for number in range(1, asked.machines + 1)]
    with Company(directory, hub=Host("hub", LOOPBACK), origin=Host("origin", LOOPBACK)) as company:
        first = _publish(company, before)
        company.join(hosts)
        come = {FIRST: _distribute(company, first, None, hosts, before.seed)}
        return {**come, name: _distribute(company, _publish(company, after), first, hosts, before.seed)}


def _publish(company: Company, payload: Payload) -> Release:
    release = company.publish(payload)
    company.drop_main_copy()
    return release


def _distribute(company: Company, release: Release, before: Release | None, hosts: Sequence[Host], seed: int) -> list[Delivery]:
    with Traffic({name: program.pid for name, program in company.programs.items()}) as traffic:
        distribution = company.distribute(release, hosts, RUN_S_MAX)
        company.wait_until_succeeded(distribution.deployment)
    wires = by_machine(
        traffic.entered(),
        {host.name: f"agent-{host.name}" for host in hosts},
        traffic.listening,
        region=_port(company.region_url),
        origin=_port(company.origin_url),
    )
    manifest_bytes = new_bytes(_root(company, release), _root(company, before) if before else None)
    deliveries = []
    for machine, received in distribution.machines.items():
        content_bytes = received.origin_bytes + received.peer_bytes
        deliveries.append(Delivery(seed, machine, wires[machine], content_bytes, manifest_bytes, received.local_bytes))
    return deliveries


def _root(company: Company, release: Release) -> Root:
    [row] = company.rows("SELECT envelope FROM artifacts WHERE digest = ?", release.digest)
    return unverified_root(row["envelope"])


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def _line(deliveries: Sequence[Delivery], size_bytes: int) -> str:
    shares = (f"{delivery.wire.bytes / size_bytes:.5f}" for delivery in deliveries)
    return f"{', '.join(shares)} of the size entered the machines"
