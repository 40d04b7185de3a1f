"""What an artifact may be."""

from __future__ import annotations

from typing import Final

from fleetcast.model.limits.units import KIB, MIB

# Artifacts
ARTIFACT_CONTENT_BYTES_MAX: Final = 10 * 1000**3
ARTIFACT_ENTRIES_MAX: Final = 1_000_000
PATH_BYTES_MAX: Final = 4095
"""From the top of the artifact on: what Linux takes in one call."""
LINK_TARGET_BYTES_MAX: Final = 4095
LINK_STEPS_MAX: Final = 10 * ARTIFACT_ENTRIES_MAX
"""Parts of the targets of all symlinks of an artifact together."""
MANIFEST_BYTES_MAX: Final = 64 * MIB
MANIFEST_PIECES_MAX: Final = 64
MANIFEST_PIECE_AVERAGE_BYTES: Final = 32 * KIB
ROOT_ENVELOPE_BYTES_MAX: Final = 64 * KIB
CHUNK_AVERAGE_BYTES: Final = 256 * KIB
CHUNK_BYTES_MIN: Final = 64 * KIB
CHUNK_BYTES_MAX: Final = 1 * MIB
