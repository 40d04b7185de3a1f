"""Pieces that this machine's own disk has: those of a fetch that was cut off, and those of releases that are here already."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from fleetcast.artifacts.chunking import manifest_pieces
from fleetcast.artifacts.extents import Extents
from fleetcast.artifacts.manifest import Manifest, decode
from fleetcast.artifacts.tree_files import TreeFiles
from fleetcast.model.errors import Corrupt, Invalid
from fleetcast.model.limits import CHUNK_BYTES_MAX
from fleetcast.swarm.download import LOCAL
from fleetcast.swarm.intake import Intake
from fleetcast.swarm.journal import Source
from fleetcast.swarm.piece_files import MANIFEST_FILE, TREE
from fleetcast.swarm.pieces import PieceMap

log = structlog.get_logger(__name__)

Stopped = Callable[[], bool]


class Donor:
    """A complete release on this machine, and which of the wanted pieces it has, at what offset of its content."""

    def __init__(self, directory: Path, wanted: Mapping[bytes, int]) -> None:
        """``wanted``: BLAKE3 to piece. Raises OSError, :class:`Corrupt`."""
        manifest = decode((directory / MANIFEST_FILE).read_bytes())
        self.offsets = _offsets(manifest, wanted)
        self.files = TreeFiles(Extents(manifest.entries), directory / TREE)


def _offsets(manifest: Manifest, wanted: Mapping[bytes, int]) -> dict[int, int]:
    offsets: dict[int, int] = {}
    for index, offset in enumerate(manifest.chunk_offsets()[:-1]):
        piece = wanted.get(manifest.chunk_digest(index))
        if piece is not None:
            offsets.setdefault(piece, offset)
    return offsets


def open_donors(directories: Sequence[Path], pieces: PieceMap) -> list[Donor]:
    """Those of the releases that can be read; the others are named in the log."""
    wanted = pieces.chunk_numbers() if directories else {}
    donors = []
    for directory in directories:
        try:
            donors.append(Donor(directory, wanted))
        except (OSError, Corrupt) as error:
            log.warning("donor_unusable", directory=str(directory), error=str(error))
    return donors


def clone_manifest(intake: Intake, directories: Sequence[Path]) -> None:
    """Take pieces of the manifest out of manifests that are here already: cut alike, they share what did not change.

    Raises :class:`Refused`: the disk did not take them.
    """
    holding = intake.holding
    pieces = range(holding.files.map.manifest_count)
    wanted = {holding.files.map.blake3(piece): piece for piece in pieces if not holding.download.owns(piece)}
    for directory in directories:
        if not wanted:
            return
        try:
            manifest = (directory / MANIFEST_FILE).read_bytes()
            cut = manifest_pieces(manifest)
        except (OSError, Invalid):
            continue  # named by open_donors
        start = 0
        for length, digest in ((piece.length, bytes.fromhex(piece.blake3)) for piece in cut):
            if digest in wanted:
                intake.offer(wanted.pop(digest), memoryview(manifest)[start : start + length], LOCAL, Source.LOCAL)
            start += length


def rehash(intake: Intake, journalled: Mapping[int, Source], stopped: Stopped) -> None:
    """Take back what an earlier run of this fetch wrote. A piece that is not what it should be is given up."""
    buffer = memoryview(bytearray(CHUNK_BYTES_MAX))
    holding = intake.holding
    for piece, source in journalled.items():
        if stopped():
            return
        if holding.files.intact(piece, buffer):
            intake.found(piece, source)
        else:
            with holding.lock:
                holding.download.give_up(piece, LOCAL)


def clone(intake: Intake, donors: Sequence[Donor], stopped: Stopped) -> None:
    """Copy pieces out of releases that are here already. Each is hashed on the way: a disk is trusted no more than a peer.

    Read, hash and write, rather than ``copy_file_range`` and a second read to hash: one pass over the bytes, and chunks are
    not aligned to blocks, so that no file system could share them anyway.
    """
    buffer = memoryview(bytearray(CHUNK_BYTES_MAX))
    holding = intake.holding
    for donor in donors:
        for piece, offset in donor.offsets.items():
            if stopped():
                return
            with holding.lock:
                if holding.download.owns(piece):
                    continue
            data = buffer[: holding.files.map.length(piece)]
            try:
                donor.files.read_into(offset, data)
            except (OSError, ValueError, Corrupt):
                continue
            # Right or wrong, LOCAL has had its turn; a wrong one may still come from the next donor, or from the swarm.
            intake.offer(piece, data, LOCAL, Source.LOCAL)
