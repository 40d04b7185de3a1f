"""Sends what the download plans to ask to whomever it is to be asked of: whichever thread finds that there is room, asks."""

from __future__ import annotations

import time
from random import Random

from fleetcast.model.errors import Unavailable
from fleetcast.model.limits import SWARM_IN_FLIGHT_MAX
from fleetcast.stores.rates import pieces_ahead
from fleetcast.swarm import codec
from fleetcast.swarm.bandwidth import Bandwidth
from fleetcast.swarm.holding import Holding
from fleetcast.swarm.wire import Wire


class Asking:
    """For one fetch; callable from any thread."""

    def __init__(self, holding: Holding, rng: Random, bandwidth: Bandwidth) -> None:
        """``rng`` is guarded by the holding's lock."""
        self._holding = holding
        self._rng = rng
        self._bandwidth = bandwidth
        self._wires: dict[str, Wire] = {}

    def join(self, machine: str, wire: Wire, has: tuple[tuple[int, int], ...], *, near: bool) -> None:
        """A neighbour is connected, which has these pieces. Raises :class:`Corrupt` as ``Download.hear``."""
        with self._holding.lock:
            self._holding.download.join(machine, near=near)
            self._wires[machine] = wire
            self._holding.download.hear(machine, has)

    def leave(self, machine: str) -> None:
        """It is gone. Nothing happens when it never joined."""
        with self._holding.lock:
            if self._wires.pop(machine, None) is not None:
                self._holding.download.leave(machine)

    def go_on(self) -> None:
        """Ask for as much as should be on its way."""
        most = pieces_ahead(self._bandwidth.down.bytes_per_s, SWARM_IN_FLIGHT_MAX)
        with self._holding.lock:
            asks = self._holding.download.plan(time.monotonic(), self._rng, most)
            if not asks:
                return
            requests: dict[Wire, list[int]] = {}
            for machine, piece in asks:
                requests.setdefault(self._wires[machine], []).append(piece)
        for wire, pieces in requests.items():
            try:
                wire.send(codec.Request(tuple(pieces)))
            except Unavailable:
                # The thread that receives from it finds it broken too, and makes what it owes MISSING again.
                wire.abort()
