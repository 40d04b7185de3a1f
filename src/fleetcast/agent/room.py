"""How much room a machine's disk has for releases, by what it has, what is kept free, and what is promised already. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fleetcast.model.artifact import Root
from fleetcast.model.limits import DISK_BLOCK_BYTES, JOURNAL_RECORD_BYTES, KIB, MIB

_BESIDE: Final = 64 * KIB
"""Root, seal and directories."""


@dataclass(frozen=True, slots=True)
class Space:
    """Of the file system that the releases are on."""

    total_bytes: int
    free_bytes: int
    """That this user may still fill."""


@dataclass(frozen=True, slots=True)
class Demand:
    """A release that is to be fetched."""

    needs_bytes: int
    """Of all of it."""
    has_bytes: int = 0
    """What is on the disk of it by now."""

    @property
    def outstanding_bytes(self) -> int:
        return max(0, self.needs_bytes - self.has_bytes)


def needed_bytes(root: Root) -> int:
    """What a release takes up, at most: its last block of each file is as good as full, and what belongs to it is counted."""
    table = root.manifest_size + JOURNAL_RECORD_BYTES * (root.chunks + len(root.manifest_pieces))
    return root.content_size + DISK_BLOCK_BYTES * root.files + table + _BESIDE


def room_bytes(space: Space, free_percent: int, promised: Iterable[Demand]) -> int:
    """For who comes now: what is free, without what is kept free and what others were promised and have not yet used. Below 0:
    so much is missing even so."""
    floor_bytes = space.total_bytes * free_percent // 100
    return space.free_bytes - floor_bytes - sum(demand.outstanding_bytes for demand in promised)


def fits(demand: Demand, room: int) -> bool:
    """Whether it may begin, or go on. What has its place already needs none: it is not stopped by who filled the rest."""
    return demand.outstanding_bytes <= max(0, room)


def shortage_bytes(room: int, waiting: Iterable[Demand]) -> int:
    """How much would have to go for the smallest of those that wait to begin, and for the floor to be kept."""
    least = min((demand.outstanding_bytes for demand in waiting), default=0)
    return max(0, least - room)


def shortage_text(demand: Demand, room: int) -> str:
    """For instance ``needs 1200 MiB, has 300 MiB``."""
    return f"needs {-(-demand.outstanding_bytes // MIB)} MiB, has {max(0, room) // MIB} MiB"
