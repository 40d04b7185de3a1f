"""The side of a peer that serves: accepts connections, checks tickets, gives each admitted one a thread."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fleetcast.model import protocol
from fleetcast.model.errors import Corrupt, FleetcastError, Forbidden, Incompatible, Unavailable
from fleetcast.model.ids import Digest
from fleetcast.model.limits import SWARM_CLOSE_S_MAX, SWARM_CONNECT_S_MAX, SWARM_STALL_S_MAX, SWARM_UPLOADS_MAX
from fleetcast.model.machine import Machine
from fleetcast.model.messages.agents import PeerAddress
from fleetcast.model.protocol import PROTOCOL
from fleetcast.stores.marking import mark_background
from fleetcast.stores.obstacles import address_refused
from fleetcast.swarm import codec, tickets
from fleetcast.swarm.bandwidth import Bandwidth
from fleetcast.swarm.holding import Holding
from fleetcast.swarm.slots import Slots
from fleetcast.swarm.teller import Teller
from fleetcast.swarm.upload import Upload
from fleetcast.swarm.wire import Wire

log = structlog.get_logger(__name__)

CONNECTIONS_MAX: Final = 2 * SWARM_UPLOADS_MAX
"""Those that have not shown a ticket yet included."""

_GIVE_WAY_S_MAX: Final = 1.0


@dataclass(slots=True)
class _Connection:
    wire: Wire
    host: str
    thread: threading.Thread | None = None
    holding: Holding | None = None


class Server:
    """``find`` looks up what is held under a digest; ``met`` is told of every peer that came with a good ticket."""

    def __init__(
        self,
        machine: Machine,
        find: Callable[[Digest], Holding | None],
        met: Callable[[Digest, PeerAddress], None],
        clock: Callable[[], float],
        bandwidth: Bandwidth,
    ) -> None:
        self._clock = clock
        self._machine = machine
        self._me = machine.id
        self._teller = Teller()
        self._bandwidth = bandwidth
        self._find = find
        self._met = met
        self._key: Ed25519PublicKey | None = None
        self._lock = threading.Lock()
        self._slots = Slots()
        self._numbers = itertools.count()
        self._connections: dict[int, _Connection] = {}
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    def start(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises :class:`Refused` when the address is taken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._listener = socket.create_server((host, port), family=family, backlog=512)
        except OSError as error:
            raise address_refused(host, port, error, f"peer_port of [[agent]] {self._me}") from error
        if self._bandwidth.background:
            mark_background(self._listener)
        self._thread = threading.Thread(target=self._accept, args=(self._listener,), name="swarm-accept", daemon=True)
        self._thread.start()
        self._teller.start()
        return int(self._listener.getsockname()[1])

    def trust(self, key: Ed25519PublicKey) -> None:
        """From now on tickets must be signed with this key's other half."""
        self._key = key

    def drop(self, holding: Holding) -> None:
        """Cut the connections that are served from ``holding``."""
        with self._lock:
            served = [connection for connection in self._connections.values() if connection.holding is holding]
        for connection in served:
            connection.wire.abort()

    def close(self) -> None:
        """Stop listening, cut every connection, wait for the threads."""
        with self._lock:
            self._closing.set()
            connections = list(self._connections.values())
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        for connection in connections:
            connection.wire.abort()
        for thread in (self._thread, *(connection.thread for connection in connections)):
            if thread is not None:
                thread.join(SWARM_CLOSE_S_MAX)
        self._teller.close()

    def _accept(self, listener: socket.socket) -> None:
        while not self._closing.is_set():
            try:
                sock, address = listener.accept()
            except OSError as error:
                if self._closing.is_set():
                    return
                # Out of descriptors, or the peer is gone already: those we have go on. Not in a tight loop.
                log.warning("swarm_accept_failed", error=str(error))
                self._closing.wait(0.1)
                continue
            self._admit(sock, str(address[0]))

    def _make_room(self) -> None:
        """When all places are taken, the stranger that has shown no ticket for longest gives way: whoever has one shows it at
        once, so nobody can keep machines of the swarm out by merely connecting.
        """
        with self._lock:
            full = len(self._connections) >= CONNECTIONS_MAX
            oldest = next((each for each in self._connections.values() if each.holding is None), None) if full else None
        if oldest is not None:
            oldest.wire.abort()
            if oldest.thread is not None:
                oldest.thread.join(_GIVE_WAY_S_MAX)

    def _admit(self, sock: socket.socket, host: str) -> None:
        self._make_room()
        number = next(self._numbers)
        connection = _Connection(Wire(sock), host)
        connection.thread = threading.Thread(
            target=self._serve, args=(number, connection), name=f"swarm-upload-{number}", daemon=True
        )
        with self._lock:
            admitted = not self._closing.is_set() and len(self._connections) < CONNECTIONS_MAX
            if admitted:
                self._connections[number] = connection
                try:
                    # Under the lock: whoever finds the connection in the table may join its thread.
                    connection.thread.start()
                except RuntimeError as error:
                    log.warning("swarm_out_of_threads", error=str(error))  # those we have go on, and so does the listening
                    del self._connections[number]
                    admitted = False
        if not admitted:
            connection.wire.close()

    def _serve(self, number: int, connection: _Connection) -> None:
        try:
            connection.wire.patience(SWARM_CONNECT_S_MAX)
            hello = connection.wire.receive(time.monotonic() + SWARM_CONNECT_S_MAX)
            if not isinstance(hello, codec.Hello):
                raise Corrupt("bad_frame", "the other side did not begin with a hello")
            self._welcome(number, connection, hello)
        except FleetcastError as error:
            log.debug("upload_ended", host=connection.host, code=error.code)
        except (OSError, ValueError) as error:
            log.debug("upload_ended", host=connection.host, code=str(error))
        except Exception:
            log.exception("upload_failed", host=connection.host)
        finally:
            with self._lock:
                del self._connections[number]
            connection.wire.close()

    def _welcome(self, number: int, connection: _Connection, hello: codec.Hello) -> None:
        machine = hello.machine
        try:
            protocol.check(hello.protocol, machine, self._me)
            self._check_ticket(hello)
            holding = self._find(hello.digest)
            if holding is None:
                raise Unavailable("not_shared", f"{self._me} does not have this artifact")
            with self._lock:
                admission = self._slots.admit(number, machine, hello.digest)
                older = self._connections.get(admission.replaces) if admission.replaces is not None else None
            if not admission.admitted:
                raise Unavailable("busy", f"{self._me} serves {SWARM_UPLOADS_MAX} peers already")
        except FleetcastError as error:
            spoken = PROTOCOL if isinstance(error, Incompatible) else 0
            connection.wire.send(codec.Refused(error.code, protocol=spoken))
            raise
        try:
            if older is not None:
                older.wire.abort()
            connection.holding = holding
            if hello.port:
                self._met(hello.digest, PeerAddress(machine, connection.host, hello.port, hello.zone, hello.rack))
            connection.wire.patience(SWARM_STALL_S_MAX)
            near = bool(hello.coming and hello.rack) and (hello.zone, hello.rack) == (self._machine.zone, self._machine.rack)
            upload = Upload(connection.wire, holding, machine, self._teller, self._bandwidth.up, near=near)
            upload.run(codec.Hello(hello.digest, self._me, waits=1))
        finally:
            with self._lock:
                self._slots.leave(number, machine, hello.digest)

    def _check_ticket(self, hello: codec.Hello) -> None:
        if self._key is None:
            raise Unavailable("no_ticket_key", f"{self._me} does not know its region's ticket key yet")
        ticket = tickets.check(self._key, hello.ticket, hello.digest, self._clock())
        if ticket.machine != hello.machine:
            raise Forbidden("bad_ticket", "the ticket is another machine's")
