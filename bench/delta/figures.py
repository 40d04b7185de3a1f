"""From what entered to what is told of it (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from fleetcast.model.artifact import Root
from lab.traffic import Entered

DIGITS: Final = 6
"""After the point, of a share of the size: what is said besides the content is a few of its millionths."""


@dataclass(frozen=True)
class Wire:
    """What entered one machine, in bytes, by who sent it."""

    region_bytes: int = 0
    """The region's API."""
    origin_bytes: int = 0
    """The region's data port."""
    peer_bytes: int = 0
    """Other machines: whoever else it is connected to."""
    unknown_bytes: int = 0
    """Connections that were gone before it was seen whose they were: some machine's, so they count as each machine's."""

    @property
    def bytes(self) -> int:
        return self.region_bytes + self.origin_bytes + self.peer_bytes + self.unknown_bytes


@dataclass(frozen=True)
class Delivery:
    """A release that came to a machine. Bytes."""

    seed: int
    machine: str
    wire: Wire
    content_bytes: int
    """Of those on the wire: chunks, each once, as the machine itself counts them."""
    manifest_bytes: int
    """Of those on the wire: the manifest's pieces that no earlier manifest has."""
    local_bytes: int
    """Content that was there already."""

    def told(self) -> dict[str, Any]:
        """As JSON has it. ``protocol_bytes``: what entered besides content and manifest."""
        wire = {"wire_bytes": self.wire.bytes, **asdict(self.wire)}
        protocol = {"protocol_bytes": self.wire.bytes - self.content_bytes - self.manifest_bytes}
        own = {name: value for name, value in asdict(self).items() if name != "wire"}
        return {**own, **wire, **protocol}


def by_machine(
    entered: Sequence[Entered], machines: Mapping[str, str], listening: Mapping[int, str], *, region: int, origin: int
) -> dict[str, Wire]:
    """``machines``: the names of their processes, by theirs. ``listening``: who listens at which port; of these ``region`` and
    ``origin`` are the region's API and data port."""
    doors = {region, origin} | {port for port, name in listening.items() if name in machines.values()}
    unknown = sum(each.bytes for each in entered if not each.process and each.remote_port in doors)
    wires = {}
    for machine, process in machines.items():
        counts = {region: 0, origin: 0}
        peers = 0
        for each in entered:
            if each.process != process:
                continue
            if each.remote_port in counts:
                counts[each.remote_port] += each.bytes
            else:
                peers += each.bytes
        wires[machine] = Wire(counts[region], counts[origin], peers, unknown)
    return wires


def new_bytes(root: Root, before: Root | None) -> int:
    """Of a manifest's pieces, those that another manifest does not have; ``None``: there is no other."""
    known = set() if before is None else {piece.blake3 for piece in before.manifest_pieces}
    return sum(piece.length for piece in root.manifest_pieces if piece.blake3 not in known)


def summary(deliveries: Sequence[Delivery], size_bytes: int) -> dict[str, Any]:
    """The one for which most entered, in all its parts, and the others."""
    worst = max(deliveries, key=lambda delivery: delivery.wire.bytes)
    shares = [round(delivery.wire.bytes / size_bytes, DIGITS) for delivery in deliveries]
    return {
        "wire_over_size": max(shares),
        "spread": {"wire_over_size": [min(shares), max(shares)]},
        "worst": worst.told(),
        "each": [delivery.told() for delivery in deliveries],
    }
