"""Which piece to ask a neighbour for: the rarest of a sample; near the end, one that somebody else is slow with.

Pure.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from random import Random
from typing import Final

from fleetcast.model.limits import ORIGIN_RANGES_MAX, SWARM_END_GAME_AGE_S_MIN, SWARM_END_GAME_COPIES_MAX
from fleetcast.swarm.bitmap import Ranges

MISSING: Final = 0
"""Wanted, and nobody was asked for it."""
PENDING: Final = 1
"""Asked for, or being written."""
OWNED: Final = 2
UNKNOWN: Final = 3
"""Numbered by a manifest that is not here yet."""

END_GAME_LOOK_S: Final = 0.1
"""How often it is worth while to look for pieces to ask for a second time."""
SAMPLE: Final = 24
"""Rarest of so many random candidates: nearly as good as the rarest of all, at a constant price."""


Share = tuple[int, int]
"""Of the pieces those whose number leaves the first as the remainder when it is divided by the second."""
EVERYTHING: Final[Share] = (0, 1)


class Candidates:
    """Pieces that one neighbour has and that were not ours when we heard of it. What has become ours since is swept out
    when it is met, so that a pick costs the same however many pieces there are.
    """

    def __init__(self) -> None:
        self._pieces: list[int] = []

    def add(self, piece: int) -> None:
        self._pieces.append(piece)

    def drop(self, piece: int) -> None:
        """Forget a piece that the neighbour turned out not to have."""
        self._pieces = [other for other in self._pieces if other != piece]

    def pick(
        self,
        states: bytearray,
        holders: array[int],
        rng: Random,
        shunned: array[int] | None = None,
        share: Share = EVERYTHING,
    ) -> int | None:
        """The piece held by fewest neighbours among ``SAMPLE`` MISSING ones; ``None``: none is MISSING.

        ``states``, ``holders`` (a count of neighbours) and ``shunned`` (not 0: not that one) are indexed by piece. With
        ``shunned``, none that is not in ``share``.
        """
        best = self._sample(states, holders, rng, shunned, share)
        if best is None and self._pieces:
            # Rare: at most a few dozen pieces are PENDING at a time, so a long list sampled in vain was mostly OWNED.
            self._pieces = [piece for piece in self._pieces if states[piece] != OWNED]
            open_pieces = [
                piece
                for piece in self._pieces
                if states[piece] == MISSING and (shunned is None or (not shunned[piece] and piece % share[1] == share[0]))
            ]
            rng.shuffle(open_pieces)
            best = min(open_pieces, key=holders.__getitem__, default=None)
        return best

    def _sample(
        self, states: bytearray, holders: array[int], rng: Random, shunned: array[int] | None, share: Share
    ) -> int | None:
        pieces, count, chance = self._pieces, len(self._pieces), rng.random
        best: int | None = None
        for _ in range(SAMPLE):
            if not count:
                break
            at = int(chance() * count)
            piece = pieces[at]
            if states[piece] == OWNED:
                pieces[at] = pieces[-1]
                pieces.pop()
                count -= 1
            elif states[piece] != MISSING or (shunned is not None and (shunned[piece] or piece % share[1] != share[0])):
                continue
            elif best is None or holders[piece] < holders[best]:
                best = piece
        return best


def end_game(asked: Mapping[int, Mapping[str, float]], has: bytearray, asker: str, now: float) -> int | None:
    """A piece to ask ``asker`` for although others were asked already: the one asked longest ago that it has.

    ``asked``: piece -> who was asked -> when, in seconds. Nothing asked less than ``SWARM_END_GAME_AGE_S_MIN`` ago, and no
    piece of more than ``SWARM_END_GAME_COPIES_MAX`` at once: what arrives twice is waste.
    """
    waited: Iterable[tuple[float, int]] = (
        (min(since.values()), piece)
        for piece, since in asked.items()
        if has[piece] and asker not in since and len(since) < SWARM_END_GAME_COPIES_MAX
    )
    since, piece = min(waited, default=(now, -1))
    return piece if piece >= 0 and now - since >= SWARM_END_GAME_AGE_S_MIN else None


def unheld(states: bytearray, holders: array[int], known: int, rng: Random) -> Ranges:
    """MISSING pieces of the ``known`` ones that nobody holds. At most ``ORIGIN_RANGES_MAX`` ranges, from a random place on, so
    that peers ask for different ones.
    """
    start = rng.randrange(known) if known else 0
    ranges: list[tuple[int, int]] = []
    for first, last in ((start, known), (0, start)):
        piece = first
        while piece < last and len(ranges) < ORIGIN_RANGES_MAX:
            piece = states.find(MISSING, piece, last)
            if piece < 0:
                break
            end = piece
            while end < last and states[end] == MISSING and not holders[end]:
                end += 1
            if end > piece:
                ranges.append((piece, end))
            piece = end + 1
    return tuple(sorted(ranges))
