"""The origin's lease book of one artifact: who may read which piece from the region's bucket, so that together a region's
machines read each piece about once.

A piece is *leased* to one machine at a time. It is *held* once a machine says that it has what it was leased, and as long as
some such holder is alive. While held, a piece travels between peers: a second grant is given only after
``ORIGIN_REGRANT_S_MIN``, and further ones at a bounded rate, counted apart. A lease that runs out, is given back, or whose
piece has lost all its holders, frees the piece at once. A machine that misses what it was itself granted gets it again at
once, once.

No more pieces are on lease at a time than the origin brings in a fraction of a second: the first of them must be there to be
passed on long before the last one is, and who asks later knows better what is missing. Machines that have had their turn
let others go first, so that what is fresh begins in many places. Of an origin that is quick a lease is worth a fraction of a
second too, and pieces of one lease follow one another: they are read by few requests.

Pure. The price of a request does not grow with the swarm.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from fleetcast.model.ids import MachineId
from fleetcast.model.limits import (
    ORIGIN_EXTRA_PIECES_PER_S,
    ORIGIN_GRANTS_PER_CHUNK,
    ORIGIN_IN_FLIGHT_MAX,
    ORIGIN_IN_FLIGHT_MIN,
    ORIGIN_IN_FLIGHT_S,
    ORIGIN_LEASE_CHUNKS_MAX,
    ORIGIN_LEASE_READ_S,
    ORIGIN_LEASE_S,
    ORIGIN_REGRANT_S_MIN,
    ORIGIN_RETRY_S,
    ORIGIN_SCAN_PIECES_MAX,
    ORIGIN_SLOW_S,
    ORIGIN_WAITING_MAX,
)
from fleetcast.model.messages.agents import LeaseRequest
from fleetcast.swarm.bitmap import Ranges
from fleetcast.swarm.window import Window

_LESSEES: Final = 8
"""Among so many machines what may be on lease is divided."""
_LEASE_CHUNKS_MIN: Final = 2

Alive = Callable[[MachineId], bool]


@dataclass(frozen=True, slots=True)
class LeaseDecision:
    pieces: tuple[int, ...]
    """Leased to the asker from now on, ascending."""
    expires_in_s: float
    retry_after_s: float
    """When to ask again, if nothing was leased."""
    extra: int
    """How many of ``pieces`` went beyond ``ORIGIN_GRANTS_PER_CHUNK``."""
    full: bool = False
    """The asker wants pieces, and has to wait until others are done with theirs."""


@dataclass(slots=True)
class _Piece:
    holders: dict[MachineId, float] = field(default_factory=dict)
    """Who was granted it and has it, since when."""
    lessee: MachineId | None = None
    lease_ends: float = 0.0
    grants: int = 0
    """Since it last had no holder alive."""


class LeaseBook:
    """All times are seconds of one monotonic clock."""

    def __init__(self, count: int, grants_from: float) -> None:
        """``count``: the artifact has no more pieces than that (its root's manifest pieces and chunks).

        ``grants_from``: nothing is granted before. A process that just started knows no leases and no holders of the one
        before it, so it waits one announce interval after its start.
        """
        self._count = count
        self._grants_from = grants_from
        self._pieces: dict[int, _Piece] = {}
        self._window = Window(ORIGIN_IN_FLIGHT_MIN, ORIGIN_IN_FLIGHT_MAX, ORIGIN_IN_FLIGHT_S)
        self._recent: deque[tuple[float, int]] = deque()
        """Grants of the last ``ORIGIN_SLOW_S``: when, and of which piece."""
        self._waiting: OrderedDict[MachineId, float] = OrderedDict()
        """Who was told to wait lately, and when last."""
        self._extra_allowance = float(ORIGIN_EXTRA_PIECES_PER_S)
        self._extra_at = grants_from
        self.granted = 0
        """Grants in all, extra ones included."""
        self.extra = 0

    def lease(self, request: LeaseRequest, now: float, alive: Alive, rng: Random, *, behind: bool = False) -> LeaseDecision:
        """Note what the asker has got or gives up, then lease it up to ``want`` of the pieces it misses.

        ``alive`` says of a machine whether it announced itself lately. ``behind``: others have been waiting, so the asker
        gets nothing yet, and is told so as if too much were on lease.
        """
        self._note(request, now)
        if now < self._grants_from:
            return LeaseDecision((), 0.0, self._grants_from - now, 0)
        want = 0 if behind else self._room(request, now)
        first, again, extra = self._sort(request, want, now, alive, rng)
        pieces = (first + again)[:want]
        spare = self._spend_extra(min(len(extra), want - len(pieces)), now)
        pieces += extra[:spare]
        for piece in pieces:
            self._grant(piece, request.machine, now)
        self.granted += len(pieces)
        self.extra += spare
        if request.want and not pieces:
            self._waiting[request.machine] = now
            self._waiting.move_to_end(request.machine)
        # Where many wait each waits longer, so that the region has no more to answer.
        retry_after_s = ORIGIN_RETRY_S * (0.5 + rng.random()) * max(1.0, len(self._waiting) / ORIGIN_WAITING_MAX)
        full = request.want > 0 and not want
        return LeaseDecision(tuple(sorted(pieces)), float(ORIGIN_LEASE_S), retry_after_s, spare, full)

    def _room(self, request: LeaseRequest, now: float) -> int:
        """How many pieces the asker may be leased now."""
        while self._recent and now - self._recent[0][0] > ORIGIN_SLOW_S:
            self._recent.popleft()
        while self._waiting and now - next(iter(self._waiting.values())) > 2 * ORIGIN_RETRY_S:
            self._waiting.popitem(last=False)
        turn = self._waiting.pop(request.machine, None) is not None
        if not turn and len(self._waiting) >= ORIGIN_IN_FLIGHT_MIN:
            return 0
        under_way = sum(self._pieces[number].lessee is not None for _, number in self._recent)
        worth = max(_LEASE_CHUNKS_MIN, min(ORIGIN_LEASE_CHUNKS_MAX, int(self._window.per_s * ORIGIN_LEASE_READ_S)))
        room = self._window.pieces - under_way
        # Rather nothing than crumbs of what others are about to be done with.
        if room < min(request.want, worth):
            return 0
        return min(request.want, ORIGIN_LEASE_CHUNKS_MAX, max(worth, self._window.share(_LESSEES)), room)

    def _note(self, request: LeaseRequest, now: float) -> None:
        for number in request.returned:
            piece = self._pieces.get(number)
            if piece is not None and piece.lessee == request.machine:
                piece.lessee = None
                # Nothing came of that grant.
                piece.grants = max(0, piece.grants - 1)
        for number in request.held:
            if not 0 <= number < self._count:
                continue
            piece = self._pieces.setdefault(number, _Piece())
            if piece.lessee == request.machine:
                piece.lessee = None
            piece.holders[request.machine] = now
            piece.grants = max(piece.grants, 1)
        if request.held:
            self._window.arrived(now, len(request.held))

    def _sort(
        self, request: LeaseRequest, want: int, now: float, alive: Alive, rng: Random
    ) -> tuple[list[int], list[int], list[int]]:
        """Pieces to grant for the first time, for another time, and beyond the limit; at most ``want`` of the first sort."""
        first: list[int] = []
        again: list[int] = []
        extra: list[int] = []
        for number in _from_anywhere(request.missing, self._count, rng):
            if len(first) >= want:
                break
            piece = self._pieces.get(number)
            if piece is None:
                first.append(number)
                continue
            if _was_granted(piece, request.machine) and piece.grants < ORIGIN_GRANTS_PER_CHUNK:
                again.append(number)
                continue
            if piece.lessee is not None and now < piece.lease_ends:
                continue
            held_since = _held_since(piece, alive)
            if held_since is None:
                first.append(number)
            elif now - held_since >= ORIGIN_REGRANT_S_MIN:
                (again if piece.grants < ORIGIN_GRANTS_PER_CHUNK else extra).append(number)
        return first, again, extra

    def _grant(self, number: int, machine: MachineId, now: float) -> None:
        piece = self._pieces.setdefault(number, _Piece())
        piece.lessee = machine
        piece.lease_ends = now + ORIGIN_LEASE_S
        piece.grants += 1
        self._recent.append((now, number))

    def _spend_extra(self, wanted: int, now: float) -> int:
        """How many extra grants the rate allows now, at most ``wanted``; they are spent."""
        earned = (now - self._extra_at) * ORIGIN_EXTRA_PIECES_PER_S
        self._extra_allowance = min(float(ORIGIN_EXTRA_PIECES_PER_S), self._extra_allowance + earned)
        self._extra_at = now
        spent = min(wanted, int(self._extra_allowance))
        self._extra_allowance -= spent
        return spent


def _was_granted(piece: _Piece, asker: MachineId) -> bool:
    """The asker misses what it was granted: it was started anew, or its copy decayed. It need not wait for itself, once."""
    return piece.lessee == asker or asker in piece.holders


def _held_since(piece: _Piece, alive: Alive) -> float | None:
    """Since when the piece's newest living holder has it; ``None``, with grants counted anew: no holder lives."""
    for machine in [machine for machine in piece.holders if not alive(machine)]:
        del piece.holders[machine]
    if piece.holders:
        return max(piece.holders.values())
    piece.grants = 0
    return None


def _from_anywhere(ranges: Ranges, count: int, rng: Random) -> list[int]:
    """At most ``ORIGIN_SCAN_PIECES_MAX`` pieces of ``ranges``, one after another from a random place on, around the end.

    The place is a multiple of the longest lease: from anywhere else, leases would leave ever smaller gaps between them.
    """
    ranges = tuple((first, min(last, count)) for first, last in ranges if 0 <= first < min(last, count))
    skip = rng.randrange(sum(last - first for first, last in ranges)) if ranges else 0
    pieces: list[int] = []
    before: list[int] = []
    for first, last in ranges:
        length = last - first
        if skip >= length:
            before.extend(range(first, last)[: ORIGIN_SCAN_PIECES_MAX - len(before)])
        else:
            skip -= min(skip, (first + skip) % ORIGIN_LEASE_CHUNKS_MAX)
            before.extend(range(first, first + skip)[: ORIGIN_SCAN_PIECES_MAX - len(before)])
            pieces.extend(range(first + skip, last)[: ORIGIN_SCAN_PIECES_MAX - len(pieces)])
        skip = max(0, skip - length)
    return (pieces + before)[:ORIGIN_SCAN_PIECES_MAX]
