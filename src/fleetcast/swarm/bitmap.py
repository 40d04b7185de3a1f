"""Sets of pieces, in the three forms the swarm needs: flags (a byte a piece, fast to ask), packed bits (small to send) and
half-open ranges ``[first, last)`` (small to send when few).

Pure.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final

from fleetcast.model.errors import Corrupt

Ranges = tuple[tuple[int, int], ...]

_TO_TEXT: Final = bytes([ord("0"), *([ord("1")] * 255)])
_TO_FLAGS: Final = bytes(1 if code == ord("1") else 0 for code in range(256))


def pack(flags: bytes | bytearray) -> bytes:
    """Flags (0 or not 0) to bits: piece ``i`` is bit ``i % 8`` of byte ``i // 8``."""
    if not flags:
        return b""
    return int(flags[::-1].translate(_TO_TEXT), 2).to_bytes((len(flags) + 7) // 8, "little")


def unpack(bits: bytes | memoryview, count: int) -> bytearray:
    """Bits to ``count`` flags of 0 or 1. Raises :class:`Corrupt` when there are too few or too many bits."""
    value = int.from_bytes(bits, "little")
    if len(bits) != (count + 7) // 8 or value.bit_length() > count:
        raise Corrupt("bad_bitmap", f"a bitmap of {len(bits)} bytes does not fit {count} pieces")
    return bytearray(f"{value:0{count}b}".encode()[::-1].translate(_TO_FLAGS)) if count else bytearray()


def ranges_of(pieces: Iterable[int]) -> Ranges:
    """Merged ranges, ascending, of pieces in any order."""
    merged: list[tuple[int, int]] = []
    for piece in sorted(pieces):
        if merged and piece <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], piece + 1))
        else:
            merged.append((piece, piece + 1))
    return tuple(merged)


class HaveLog:
    """Pieces in the order they became ours, so that each neighbour is told only what is new since its cursor."""

    def __init__(self) -> None:
        self._order = array("I")

    def add(self, piece: int) -> None:
        self._order.append(piece)

    @property
    def cursor(self) -> int:
        """Where the next piece will stand."""
        return len(self._order)

    def since(self, cursor: int, count_max: int) -> tuple[int, Ranges]:
        """The oldest ``count_max`` pieces after ``cursor``, and the cursor behind them."""
        end = min(len(self._order), cursor + count_max)
        return end, ranges_of(self._order[cursor:end])
