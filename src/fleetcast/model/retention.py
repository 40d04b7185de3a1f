"""How far artifacts are collected: what is old and not needed leaves the regions' buckets first, the main store later."""

from __future__ import annotations

from enum import StrEnum


class Collection(StrEnum):
    """Of an artifact's blobs in the main store, and of a release's copies in the regions."""

    KEPT = "KEPT"
    COLLECTING = "COLLECTING"
    """Decided: from now on nobody relies on it, and it is being deleted."""
    COLLECTED = "COLLECTED"


class Tier(StrEnum):
    """Where artifacts are kept."""

    MAIN = "main"
    """The main store: each artifact once."""
    REGIONS = "regions"
    """The regions' buckets: what was deployed, once in each."""
