"""One peer of a swarm as a program, which speaks the protocol it is told to: ``python swarm_process.py``, an :class:`Order` as
pickle on its input. It says what came of it as JSON, and ends with its input.
"""

from __future__ import annotations

import json
import pickle
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from fleetcast.model import protocol
from fleetcast.model.artifact import Root
from fleetcast.model.ids import Digest


@dataclass(frozen=True)
class Order:
    """Share ``directory``; or, with a ``ticket``, fetch into it from the peer ``holder`` at ``port``."""

    protocol: int
    root: Root
    directory: Path
    ticket_key: str
    ticket: str = ""
    port: int = 0


def run(order: Order) -> None:
    protocol.PROTOCOL = order.protocol  # type: ignore[misc]  # before anybody reads it, as in a program of that version
    from fleetcast.model.ids import MachineId, RegionName
    from fleetcast.model.machine import Machine
    from fleetcast.model.messages.agents import AnnounceReply, AnnounceRequest, LeaseReply, LeaseRequest, PeerAddress
    from fleetcast.swarm.peer import SwarmPeer

    class Region:
        """It knows the holder, and has an origin that gives nothing."""

        def announce(self, digest: Digest, request: AnnounceRequest) -> AnnounceReply:
            peers = (PeerAddress(MachineId("holder"), "127.0.0.1", order.port),) if order.ticket else ()
            return AnnounceReply(peers, order.ticket, 1.0)

        def lease(self, digest: Digest, request: LeaseRequest) -> LeaseReply:
            return LeaseReply((), 1.0, None, None, 0.1)

    machine = Machine(MachineId("dialler" if order.ticket else "holder"), RegionName("r1"))
    peer = SwarmPeer(machine, "127.0.0.1", 0, Region())
    peer.start()
    peer.trust(order.ticket_key)
    if order.ticket:
        fetch = peer.fetch(order.root, Digest("f" * 64), order.directory, ())
        end = time.monotonic() + 30
        while not fetch.wait(0.02) and not peer.alarms() and time.monotonic() < end:
            pass
        print(json.dumps({"done": fetch.done, "alarms": peer.alarms()}), file=sys.__stdout__, flush=True)
    else:
        peer.share(order.root, Digest("f" * 64), order.directory)
        print(json.dumps({"port": peer.port}), file=sys.__stdout__, flush=True)
    sys.stdin.buffer.read()
    peer.close()


if __name__ == "__main__":
    sys.stdout = sys.stderr  # what is logged
    # Pickled as of the module, by whoever imported it as such.
    sys.modules["swarm_process"] = sys.modules["__main__"]
    run(pickle.load(sys.stdin.buffer))
