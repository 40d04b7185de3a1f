"""The swarm's face to the agent: one per machine, for all of its artifacts."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import structlog

from fleetcast.model.artifact import Root
from fleetcast.model.errors import FleetcastError, Refused
from fleetcast.model.ids import Digest
from fleetcast.model.limits import SWARM_ALARMS_KEPT
from fleetcast.model.machine import Machine
from fleetcast.model.messages.agents import AnnounceReply, AnnounceRequest, PeerAddress
from fleetcast.swarm import tickets
from fleetcast.swarm.announcer import Announcer
from fleetcast.swarm.bandwidth import Bandwidth
from fleetcast.swarm.buffers import Buffers
from fleetcast.swarm.door import RegionDoor
from fleetcast.swarm.download import Download
from fleetcast.swarm.fetch import Fetch, Surroundings
from fleetcast.swarm.holding import Holding
from fleetcast.swarm.order import FetchOrder, FetchProgress
from fleetcast.swarm.piece_files import PieceFiles
from fleetcast.swarm.pieces import PieceMap
from fleetcast.swarm.server import Server

__all__ = ["Fetch", "FetchProgress", "SwarmPeer"]

log = structlog.get_logger(__name__)


def _nobody() -> None:
    """Nobody wants to know."""


class _Share:
    """A complete release that is served. Its files are opened when the first peer asks for them."""

    def __init__(self, root: Root, root_digest: Digest, directory: Path, me: PeerAddress, holding: Holding | None) -> None:
        self.digest = root.digest
        self.directory = directory
        self._root = root
        self._root_digest = root_digest
        self._me = me
        self._lock = threading.Lock()
        self._holding = holding
        self._closed = False

    def announcement(self) -> AnnounceRequest:
        return AnnounceRequest(self._me, self._root_digest, complete=True, want=0)

    def announced(self, reply: AnnounceReply) -> None:
        """Whoever has everything needs neither ticket nor peers."""

    def open(self) -> Holding | None:
        """``None``: it cannot be read, which is in the log."""
        with self._lock:
            if self._holding is None and not self._closed:
                try:
                    self._holding = self._read()
                except (OSError, FleetcastError) as error:
                    log.error("share_unusable", directory=str(self.directory), error=str(error))
            return self._holding

    def _read(self) -> Holding:
        files = PieceFiles(self._root, self.directory, writable=False)
        try:
            manifest = files.read_manifest()
            files.open_tree(manifest, PieceMap(self._root, manifest))
        except BaseException:
            files.close()
            raise
        return Holding(self.digest, Download.complete(files.map.count), files)

    def close(self) -> Holding | None:
        """Closed for good; returns what was open, closed too."""
        with self._lock:
            self._closed = True
            holding, self._holding = self._holding, None
        if holding is not None:
            holding.close()
        return holding


class SwarmPeer:
    """Every method may be called from any thread; only :meth:`close` and :meth:`Fetch.cancel` block for long."""

    def __init__(
        self,
        machine: Machine,
        host: str,
        port: int,
        region: RegionDoor,
        clock: Callable[[], float] = time.time,
        bandwidth: Bandwidth | None = None,
    ) -> None:
        """Serves at ``host``, where other peers must reach it; port 0 picks one. ``clock``: the time by which the region
        dates tickets, UTC seconds; asked in any thread. ``bandwidth``: all there is where nothing is said."""
        self._machine = machine
        self._address = (host, port)
        self._region = region
        # Which pieces and peers chance picks need not be repeatable in a running machine, only in the decisions' tests.
        self._rng = Random()
        self._lock = threading.Lock()
        self._shares: dict[Digest, dict[Path, _Share]] = {}
        self._fetches: dict[Digest, Fetch] = {}
        self._retired: list[Fetch] = []
        """Done and shared; a thread of theirs may still be telling the region so."""
        self._alarms: deque[str] = deque(maxlen=SWARM_ALARMS_KEPT)
        self._bandwidth = bandwidth or Bandwidth()
        self._buffers = Buffers()
        self._server = Server(machine, self._find, self._met, clock, self._bandwidth)
        self._announcer = Announcer(region, Random(self._rng.random()))
        self._me: PeerAddress | None = None
        self._closed = False

    def start(self) -> None:
        """Listen. Raises :class:`Refused` when the address is taken."""
        host, port = self._address
        port = self._server.start(host, port)
        self._me = PeerAddress(self._machine.id, host, port, self._machine.zone, self._machine.rack)
        self._announcer.start()
        log.info("swarm_peer_started", host=host, port=port)

    @property
    def port(self) -> int:
        """Where it listens; once started."""
        return self._here().port

    def trust(self, ticket_key_hex: str) -> None:
        """The region's ticket key, as it came with the goals. Raises :class:`Invalid`."""
        self._server.trust(tickets.public_key(ticket_key_hex))

    def alarms(self) -> tuple[str, ...]:
        """What a person should know, oldest first: peers that lied. At most ``SWARM_ALARMS_KEPT``."""
        return tuple(self._alarms)

    def fetch(
        self,
        root: Root,
        root_digest: Digest,
        directory: Path,
        donors: Sequence[Path],
        on_end: Callable[[], None] = _nobody,
    ) -> Fetch:
        """Begin, or go on, to fetch a release into ``directory``; what is there is served while it arrives.

        ``donors`` are complete release directories of this machine. ``on_end`` is called once, from some thread, when the
        fetch is done or has failed.

        Raises:
            Refused: the same artifact is being fetched already, or the peer is closed.
        """
        around = Surroundings(
            self._here(), self._region, self._announcer, self._bandwidth, self._buffers, self._alarm, self._fetch_ended
        )
        with self._lock:
            if self._closed or root.digest in self._fetches:
                raise Refused("fetch_running", f"{root.artifact} is being fetched already: wait for it, then ask again")
            shared = self._shares.get(root.digest, {})
            order = FetchOrder(root, root_digest, directory, (*shared, *(donor for donor in donors if donor not in shared)))
            fetch = Fetch(order, around, Random(self._rng.random()), on_end)
            self._fetches[root.digest] = fetch
        fetch.start()
        return fetch

    def share(self, root: Root, root_digest: Digest, directory: Path) -> None:
        """Serve a complete release from now on, and announce it. It takes the place of the fetch that brought it, whose
        directory may have been renamed; peers that are being served do not notice.
        """
        with self._lock:
            if self._closed:
                return
            fetch = self._fetches.pop(root.digest, None) if self._is_done(root.digest) else None
            holding = fetch.holding if fetch is not None else None
            kept = holding if holding is not None and holding.files.serves(directory) else None
            share = _Share(root, root_digest, directory, self._here(), kept)
            replaced = self._shares.setdefault(root.digest, {}).pop(directory, None)
            self._shares[root.digest][directory] = share
            if fetch is not None:
                self._retired = [*(retired for retired in self._retired if retired.busy), fetch]
        self._announcer.add(share)
        if fetch is not None:
            fetch.hand_over(keep=kept is not None)
            self._drop_buffers()
        self._drop(replaced)

    def unshare(self, digest: Digest) -> None:
        """Serve this artifact no more, from whatever directory. Nothing happens when it is not shared."""
        with self._lock:
            shares = self._shares.pop(digest, {})
            gone = digest not in self._fetches
        for share in shares.values():
            self._drop(share)
            if gone:
                farewell = AnnounceRequest(self._here(), share.announcement().root, complete=False, want=0, leaving=True)
                self._announcer.leave(digest, farewell)

    def close(self) -> None:
        """Stop serving and fetching; every thread has ended, or is inside a call to the region that is bounded itself."""
        with self._lock:
            self._closed = True
            fetches, shares = list(self._fetches.values()), [s for shares in self._shares.values() for s in shares.values()]
            self._fetches.clear()
            self._shares.clear()
        if self._me is None:
            return
        self._server.close()
        for fetch in fetches:
            fetch.cancel()
        for fetch in self._retired:
            fetch.join()
        self._announcer.close()
        for share in shares:
            share.close()

    def _here(self) -> PeerAddress:
        if self._me is None:
            raise RuntimeError("the swarm peer is not started")
        return self._me

    def _is_done(self, digest: Digest) -> bool:
        return digest in self._fetches and self._fetches[digest].done

    def _find(self, digest: Digest) -> Holding | None:
        with self._lock:
            shares = list(self._shares.get(digest, {}).values())
            fetch = self._fetches.get(digest)
        for share in shares:
            holding = share.open()
            if holding is not None:
                return holding
        return fetch.holding if fetch is not None else None

    def _met(self, digest: Digest, peer: PeerAddress) -> None:
        with self._lock:
            fetch = self._fetches.get(digest)
        if fetch is not None:
            fetch.meet((peer,))

    def _drop(self, share: _Share | None) -> None:
        if share is not None:
            self._announcer.remove(share)
            holding = share.close()
            if holding is not None:
                self._server.drop(holding)

    def _fetch_ended(self, fetch: Fetch) -> None:
        with self._lock:
            if self._fetches.get(fetch.digest) is fetch:
                del self._fetches[fetch.digest]
        if fetch.holding is not None:
            self._server.drop(fetch.holding)
        self._drop_buffers()

    def _drop_buffers(self) -> None:
        """An agent is idle most of its life."""
        with self._lock:
            idle = not self._fetches
        if idle:
            self._buffers.drop()

    def _alarm(self, message: str) -> None:
        if message not in self._alarms:
            log.warning("swarm_alarm", message=message)
            self._alarms.append(message)
