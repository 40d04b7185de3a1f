"""Which leased pieces are read by one request: those that follow one another in their blob.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from fleetcast.swarm.pieces import PieceMap


def runs(pieces: Iterable[int], where: PieceMap, most: int) -> list[tuple[int, ...]]:
    """``pieces`` in their order, in runs of at most ``most``. What a run has of its blob is one range of it.

    A piece is read where it occurs first, so that a repetition of an earlier one parts its neighbours.
    """
    found: list[list[int]] = []
    end = (False, -1)
    for piece in pieces:
        blob, offset = where.is_manifest(piece), where.offset_in_blob(piece)
        if (blob, offset) != end or len(found[-1]) >= most:
            found.append([])
        found[-1].append(piece)
        end = blob, offset + where.length(piece)
    return [tuple(run) for run in found]
