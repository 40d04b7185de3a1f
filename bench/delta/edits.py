"""What a release is changed by before it is sent again (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from lab.payload import Payload

SCATTERED_SHARE: Final = 0.01
SCATTERED_PLACES: Final = 20
INSERTED_BYTES: Final = 1 << 20
SIZE_BYTES_MIN: Final = 1 << 20


@dataclass(frozen=True)
class Edit:
    target: float
    """Most that may enter a machine for it, over the size."""
    changed_bytes: int
    """That no earlier release has."""
    payload: Payload


def edits(before: Payload) -> Mapping[str, Edit]:
    """What may come after ``before``, by name. Its seed says where and with which bytes."""
    ranges = scattered(before.size_bytes, before.seed)
    return {
        "scattered": Edit(0.025, sum(length for _, length in ranges), replace(before, overwritten=ranges)),
        "inserted": Edit(0.005, INSERTED_BYTES, replace(before, inserted_bytes=INSERTED_BYTES)),
    }


def scattered(size_bytes: int, seed: int) -> tuple[tuple[int, int], ...]:
    """Offset and length of ``SCATTERED_PLACES`` ranges, apart from one another, of ``SCATTERED_SHARE`` of the bytes together.

    Lengths and gaps are random alike: nothing is aligned to anything.
    """
    rng = Random(f"places {seed}")
    changed = round(size_bytes * SCATTERED_SHARE)
    lengths = _cut(rng, changed, SCATTERED_PLACES)
    gaps = _cut(rng, size_bytes - changed, SCATTERED_PLACES + 1)
    ranges, at = [], 0
    for gap, length in zip(gaps, lengths, strict=False):
        at += gap
        ranges.append((at, length))
        at += length
    return tuple(ranges)


def _cut(rng: Random, total: int, count: int) -> list[int]:
    """``count`` numbers from 1 that make ``total``; every way to cut it is as likely as any other."""
    cuts = sorted(rng.sample(range(1, total), count - 1))
    return [after - before for before, after in zip([0, *cuts], [*cuts, total], strict=True)]
