"""What is to be fetched, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fleetcast.model.artifact import Root
from fleetcast.model.deployment import ByteCounts
from fleetcast.model.ids import Digest


@dataclass(frozen=True, slots=True)
class FetchProgress:
    bytes: ByteCounts
    """Of the content, so far; at the end they add up to ``bytes_total``."""
    bytes_total: int
    done: bool
    """Every byte is verified, in its final file, durable, and the tree is sealed."""
    error: str
    """Why it ended without being done; empty otherwise. A new fetch into the same directory goes on where it stopped."""
    waiting_for: str


@dataclass(frozen=True, slots=True)
class FetchOrder:
    root: Root
    root_digest: Digest
    directory: Path
    donors: tuple[Path, ...]
