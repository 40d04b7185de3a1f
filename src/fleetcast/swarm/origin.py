"""Reading from the origin: pieces that no neighbour has, as many as the region leases to us, one run of them at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

import structlog

from fleetcast.model.errors import FleetcastError, Refused, Unavailable
from fleetcast.model.ids import Digest, MachineId
from fleetcast.model.limits import (
    ORIGIN_LEASE_CHUNKS_MAX,
    ORIGIN_RETRY_S,
    ORIGIN_STALL_S_MAX,
    ORIGIN_WAIT_S_MAX,
)
from fleetcast.model.messages.agents import LeaseReply, LeaseRequest
from fleetcast.stores.rates import pieces_ahead
from fleetcast.stores.transfer import GrantConnection
from fleetcast.swarm.door import RegionDoor
from fleetcast.swarm.download import ORIGIN
from fleetcast.swarm.intake import Intake
from fleetcast.swarm.journal import Source
from fleetcast.swarm.neighbours import Neighbourhood
from fleetcast.swarm.runs import runs

log = structlog.get_logger(__name__)

BACKOFF_S_MAX: Final = 10.0


class Origin:
    """One thread's work."""

    def __init__(
        self,
        door: RegionDoor,
        me: MachineId,
        root: Digest,
        intake: Intake,
        around: Neighbourhood,
        rng: Random,
        stopped: Callable[[], bool],
    ) -> None:
        """``around`` and ``rng`` are guarded by the holding's lock; ``stopped`` is asked under it."""
        self._door = door
        self._me = me
        self._root = root
        self._intake = intake
        self._holding = intake.holding
        self._around = around
        self._rng = rng
        self._stopped = stopped
        self._held: list[int] = []
        self._returned: list[int] = []
        self._failures = 0
        self.trouble = ""
        """Why the origin is of no help just now; empty while it is."""

    def run(self) -> None:
        """Until the fetch stops. Then the region is told once more what came of its leases."""
        with GrantConnection(timeout_s=ORIGIN_STALL_S_MAX, background=self._intake.bandwidth.background) as connection:
            while not self._ended():
                known = self._holding.download.known
                pause_s = self._step(connection)
                if pause_s:
                    self._pause(pause_s, known)
        if self._held or self._returned:
            self._ask((), 0)

    def _pause(self, pause_s: float, known: int) -> None:
        """Until there is nothing more to do or, the manifest being here, more than the ``known`` pieces."""
        with self._holding.turn:
            self._holding.turn.wait_for(lambda: self._stopped() or self._holding.download.known != known, timeout=pause_s)

    def _ended(self) -> bool:
        with self._holding.lock:
            return self._stopped()

    def _step(self, connection: GrantConnection) -> float:
        """Ask, and read what was leased; returns how long to pause, in seconds."""
        with self._holding.turn:
            settled = self._around.settled(time.monotonic())
            missing = self._holding.download.without_holder(self._rng) if settled else ()
            if not missing and not self._held and not self._returned:
                if not self._stopped():
                    # Until a neighbour comes or goes, the region introduces us, or a while is over.
                    self._holding.turn.wait(ORIGIN_RETRY_S)
                return 0.0
        want = pieces_ahead(self._intake.bandwidth.down.bytes_per_s, ORIGIN_LEASE_CHUNKS_MAX)
        reply = self._ask(missing, want if missing else 0)
        if reply is None:
            return self._back_off()
        if not reply.pieces:
            return max(reply.retry_after_s, 0.05)
        with self._holding.lock:
            taken = self._holding.download.take(reply.pieces, ORIGIN, time.monotonic())
        self._returned += set(reply.pieces) - set(taken)
        return 0.0 if self._read(connection, reply, taken) else self._back_off()

    def _ask(self, missing: tuple[tuple[int, int], ...], want: int) -> LeaseReply | None:
        held, returned = tuple(self._held), tuple(self._returned)
        request = LeaseRequest(self._me, self._root, missing, held, returned, want, wait_s=ORIGIN_WAIT_S_MAX if want else 0.0)
        try:
            reply = self._door.lease(self._holding.digest, request)
        except FleetcastError as error:
            self._note("region", error.message)
            return None
        # Only what was told may be forgotten: the call may have failed.
        del self._held[: len(held)], self._returned[: len(returned)]
        return reply

    def _read(self, connection: GrantConnection, reply: LeaseReply, pieces: tuple[int, ...]) -> bool:
        """Read the leased pieces; False: the origin was of no help. What was not read is given back."""
        deadline = time.monotonic() + reply.expires_in_s
        # What is limited is paid for piece by piece, and nothing is on its way meanwhile.
        most = 1 if self._intake.bandwidth.down.bytes_per_s else len(pieces)
        good, held_before = True, len(self._held)
        for run in runs(pieces, self._holding.files.map, most):
            good = good and self._read_run(connection, reply, run, deadline)
        got = set(self._held[held_before:])
        left = [piece for piece in pieces if piece not in got]
        with self._holding.lock:
            for piece in left:
                self._holding.download.give_up(piece, ORIGIN)
        self._returned += left
        return good

    def _read_run(self, connection: GrantConnection, reply: LeaseReply, run: Sequence[int], deadline: float) -> bool:
        """Read pieces that follow one another, in one request, until ``deadline`` or the end. False: it was of no help."""
        pieces = self._holding.files.map
        grant = reply.manifest if pieces.is_manifest(run[0]) else reply.content
        if time.monotonic() >= deadline or self._ended():
            return True
        try:
            if grant is None:
                raise Unavailable("no_grant", "the region leased a piece without a grant to read it")
            size = sum(pieces.length(piece) for piece in run)
            with connection.reading(grant, pieces.offset_in_blob(run[0]), size) as fill:
                for piece in run:
                    if time.monotonic() >= deadline or self._ended():
                        break
                    self._take(piece, fill)
        except Refused:
            return False  # our disk, not the origin: the fetch ends with the intake's error
        except FleetcastError as error:
            self._note("origin", error.message)
            return False
        return True

    def _take(self, piece: int, fill: Callable[[memoryview], None]) -> None:
        length = self._holding.files.map.length(piece)
        with self._intake.buffers.borrow() as buffer:
            data = buffer[:length]
            fill(data)
            if not self._intake.offer(piece, data, ORIGIN, Source.ORIGIN):
                raise Unavailable("wrong_bytes", f"the origin's bytes for piece {piece} are wrong: check the region's bucket")
        self._held.append(piece)
        self._failures, self.trouble = 0, ""
        self._intake.bandwidth.down.pay(self._holding.digest, length, lambda: not self._ended())

    def _note(self, who: str, message: str) -> None:
        if not self.trouble:
            log.warning("origin_of_no_help", digest=self._holding.digest, who=who, error=message)
        self.trouble = message

    def _back_off(self) -> float:
        self._failures += 1
        with self._holding.lock:
            jitter = 0.5 + self._rng.random() / 2
        return min(BACKOFF_S_MAX, ORIGIN_RETRY_S * 2.0 ** min(self._failures, 10)) * jitter
