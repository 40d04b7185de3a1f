"""One artifact on its way to this machine: the manifest, then the content; from this disk, from neighbours, from the origin."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

import structlog

from fleetcast.artifacts.manifest import Manifest
from fleetcast.artifacts.tree import TreeStopped, lay_out, seal
from fleetcast.model.deployment import ByteCounts
from fleetcast.model.errors import Corrupt, FleetcastError
from fleetcast.model.ids import MachineId
from fleetcast.model.limits import SWARM_CLOSE_S_MAX
from fleetcast.model.messages.agents import AnnounceReply, AnnounceRequest, PeerAddress
from fleetcast.stores.obstacles import obstacle
from fleetcast.swarm import codec
from fleetcast.swarm.announcer import Announcer
from fleetcast.swarm.asking import Asking
from fleetcast.swarm.bandwidth import Bandwidth
from fleetcast.swarm.buffers import Buffers
from fleetcast.swarm.client import End, Neighbour
from fleetcast.swarm.door import RegionDoor
from fleetcast.swarm.download import Download
from fleetcast.swarm.holding import Holding
from fleetcast.swarm.intake import Intake
from fleetcast.swarm.journal import Journal, Source
from fleetcast.swarm.local import Donor, clone, clone_manifest, open_donors, rehash
from fleetcast.swarm.neighbours import Neighbourhood
from fleetcast.swarm.order import FetchOrder, FetchProgress
from fleetcast.swarm.origin import Origin
from fleetcast.swarm.piece_files import TREE, PieceFiles
from fleetcast.swarm.pieces import PieceMap

log = structlog.get_logger(__name__)

JOURNAL_FILE: Final = "journal"
_LOOK_INTERVAL_S: Final = 0.5
"""How often the driving thread looks around when nothing wakes it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a fetch shares with the rest of its peer."""

    me: PeerAddress
    door: RegionDoor
    announcer: Announcer
    bandwidth: Bandwidth
    buffers: Buffers
    alarm: Callable[[str], None]
    ended: Callable[[Fetch], None]
    """Called when the fetch is over without being done."""


class Fetch:
    """Begins with :meth:`start`; every method may be called from any thread."""

    def __init__(self, order: FetchOrder, around: Surroundings, rng: Random, on_end: Callable[[], None]) -> None:
        """``on_end`` is called, from some thread, when the fetch is done or has failed."""
        self.order = order
        self.digest = order.root.digest
        self._around = around
        self._rng = rng
        self._on_end = on_end
        self._neighbourhood = Neighbourhood(around.me.machine, around.me.zone, around.me.rack)
        self._ticket = ""
        self._holding: Holding | None = None
        self._intake: Intake | None = None
        self._journal: Journal | None = None
        self._origin: Origin | None = None
        self._asking: Asking | None = None
        # Guarded by the holding's lock from when there is one; flags are only ever raised.
        self._stopping = False
        self._look = False
        self._content_known = False
        self._neighbours: dict[MachineId, Neighbour] = {}
        self._threads: set[threading.Thread] = set()
        self._done = False
        self._handed_over = False
        self._error = ""
        self._ended = threading.Event()
        self._driver = threading.Thread(target=self._run, name=f"swarm-fetch-{self.digest[:8]}", daemon=True)

    def start(self) -> None:
        self._driver.start()

    @property
    def holding(self) -> Holding | None:
        """What can be served already; ``None`` before the directory is open."""
        return self._holding

    @property
    def done(self) -> bool:
        return self._done

    def progress(self) -> FetchProgress:
        total = self.order.root.content_size
        if self._holding is None or self._intake is None:
            return FetchProgress(ByteCounts(), total, False, self._error, "" if self._error else "its directory")
        with self._holding.lock:
            waiting_for = "" if self._done or self._error else self._waiting_for(self._holding.download)
            return FetchProgress(self._intake.bytes(), total, self._done, self._error, waiting_for)

    def wait(self, timeout_s: float) -> bool:
        """Block until it is done (True), has failed or was cancelled, or the time is over."""
        self._ended.wait(timeout_s)
        return self._done

    def cancel(self) -> None:
        """Stop, and serve no more what has come; it stays on disk for a later fetch. When this returns nothing is written to
        the directory any more: a file that is just being made durable is waited for, as long as the disk takes; everything
        else is bounded. Not to be called from ``on_end``. Once the release is shared, nothing happens.
        """
        self._stopping = True
        self._quit_neighbours()
        self._driver.join()
        # Those that it dialled meanwhile.
        self._quit_neighbours()
        self.join()
        self._let_go()
        self._around.ended(self)

    def hand_over(self, *, keep: bool) -> None:
        """It is done, and its release is shared from now on. ``keep``: what it held is the share's to close."""
        self._handed_over = keep
        self._let_go()

    def join(self) -> bool:
        """Wait, within ``SWARM_CLOSE_S_MAX``, for threads that are in their last call. True: none is left."""
        deadline = time.monotonic() + SWARM_CLOSE_S_MAX
        for thread in (self._driver, *self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))
        return not self.busy

    @property
    def busy(self) -> bool:
        """Some thread has not ended."""
        return self._driver.is_alive() or bool(self._threads)

    # What others tell us

    def announcement(self) -> AnnounceRequest:
        want = 0 if self._done or self._holding is None else self._locked_want(self._holding)
        return AnnounceRequest(self._around.me, self.order.root_digest, self._done, want)

    def _locked_want(self, holding: Holding) -> int:
        with holding.lock:
            return self._neighbourhood.want()

    def announced(self, reply: AnnounceReply) -> None:
        self._ticket = reply.ticket
        self.meet(reply.peers)

    def meet(self, peers: Sequence[PeerAddress]) -> None:
        """These are in the swarm too."""
        if self._holding is not None:
            with self._holding.lock:
                if self._neighbourhood.meet(peers):
                    self._wake()

    # The driving thread

    def _run(self) -> None:
        try:
            holding, intake, journal = self._open()
            self._around.announcer.add(self)
            self._spawn("origin", self._start_origin(intake).run)
            self._drive(holding, intake)
            if self._over(intake):
                self._finish_badly(intake.error)
                return
            manifest = self._begin_content(intake, journal)
            self._drive(holding, intake)
            if self._over(intake):
                self._finish_badly(intake.error)
                return
            self._finish(holding, manifest)
        except TreeStopped:
            self._finish_badly("")
        except (FleetcastError, OSError) as error:
            self._finish_badly((error if isinstance(error, FleetcastError) else obstacle(error)).message)
        except Exception:
            log.exception("fetch_failed", digest=self.digest)
            self._finish_badly("an error in the program: see the log")

    def _open(self) -> tuple[Holding, Intake, Journal]:
        order = self.order
        files = PieceFiles(order.root, order.directory, writable=True)
        try:
            journal = self._journal = Journal(order.directory / JOURNAL_FILE)
        except OSError:
            files.close()
            raise
        known = files.map.count
        holding = Holding(self.digest, Download(known, known + order.root.chunks, self._around.me.machine), files)
        intake = Intake(holding, journal, self._around.bandwidth, self._around.buffers)
        buffer = memoryview(bytearray(max(piece.length for piece in order.root.manifest_pieces)))
        for piece in range(known):
            if files.intact(piece, buffer):
                intake.found(piece, Source.LOCAL)
        self._asking = Asking(holding, self._rng, self._around.bandwidth)
        self._intake, self._holding = intake, holding
        clone_manifest(intake, order.donors)
        return holding, intake, journal

    def _start_origin(self, intake: Intake) -> Origin:
        me, around = self._around.me.machine, self._around
        self._origin = Origin(
            around.door, me, self.order.root_digest, intake, self._neighbourhood, self._rng, lambda: self._stop_asking(intake)
        )
        return self._origin

    def _stop_asking(self, intake: Intake) -> bool:
        """Nothing more is wanted of the origin. Under the lock."""
        return self._over(intake) or self._done or (self._content_known and not intake.holding.download.missing)

    def _begin_content(self, intake: Intake, journal: Journal) -> Manifest:
        """The manifest is here: make its files, and see what this machine's disk can give."""
        holding = intake.holding
        manifest = holding.files.read_manifest()
        pieces = PieceMap(self.order.root, manifest)
        lay_out(manifest, self.order.directory / TREE, lambda: self._stopping)
        holding.files.open_tree(manifest, pieces)
        written = {piece: source for piece, source in journal.read().items() if pieces.manifest_count <= piece < pieces.count}
        donors = open_donors(self.order.donors, pieces)
        with holding.lock:
            holding.download.learn(pieces.count, written.keys() | {piece for donor in donors for piece in donor.offsets})
            self._content_known = True
            self._wake()
        self._spawn("local", lambda: self._use_disk(intake, written, donors))
        return manifest

    def _use_disk(self, intake: Intake, written: Mapping[int, Source], donors: Sequence[Donor]) -> None:
        try:
            rehash(intake, written, lambda: self._over(intake))
            clone(intake, donors, lambda: self._over(intake))
        finally:
            # However it ended: what is left is the swarm's to bring.
            with intake.holding.lock:
                intake.holding.download.give_up_local()
            for donor in donors:
                donor.files.close()

    def _drive(self, holding: Holding, intake: Intake) -> None:
        """Keep neighbours until every known piece is here, or the fetch is over."""
        while True:
            with holding.turn:
                holding.turn.wait_for(
                    lambda: self._look or self._over(intake) or not holding.download.missing, timeout=_LOOK_INTERVAL_S
                )
                self._look = False
                if self._over(intake) or not holding.download.missing:
                    return
                now = time.monotonic()
                dials = self._neighbourhood.dial(now, self._rng) if self._ticket else ()
                leave = self._neighbourhood.replaceable(
                    now,
                    self._rng,
                    starving=holding.download.starving,
                    owing=holding.download.debtors(),
                    askers=holding.download.askers(),
                )
                left = self._neighbours.get(leave) if leave is not None else None
                if leave is not None:
                    holding.download.excuse(leave)
                doubted = holding.download.review(now)
                hopeless = [self._neighbours[MachineId(machine)] for machine in holding.download.hopeless(now)]
            assert self._asking is not None
            self._asking.go_on()
            if doubted:
                log.warning("neighbours_owe", digest=self.digest, peers=doubted)
            for neighbour in hopeless:
                neighbour.drop()
            for address in dials:
                self._dial(address, intake)
            if left is not None:
                left.abort()

    def _dial(self, address: PeerAddress, intake: Intake) -> None:
        me = self._around.me
        assert self._asking is not None
        hello = codec.Hello(self.digest, me.machine, self._ticket, me.port, me.zone, me.rack, coming=1)
        try:
            neighbour = Neighbour(address, hello, intake, self._neighbourhood, self._asking)
        except OSError as error:
            log.warning("dial_failed", peer=address.machine, error=str(error))  # out of descriptors: those we have go on
            with intake.holding.lock:
                self._neighbourhood.ended(address.machine, time.monotonic(), self._rng, failed=True)
            return
        with intake.holding.lock:
            self._neighbours[address.machine] = neighbour
        self._spawn(f"from-{address.machine}", lambda: self._fetch_from(neighbour, intake.holding))

    def _fetch_from(self, neighbour: Neighbour, holding: Holding) -> None:
        machine = neighbour.address.machine
        end = End(failed=True, reason="an error in the program: see the log")
        try:
            end = neighbour.run()
        finally:
            with holding.lock:
                del self._neighbours[machine]
                if end.lied:
                    self._neighbourhood.ban(machine, end.reason)
                else:
                    self._neighbourhood.ended(machine, time.monotonic(), self._rng, failed=end.failed)
                self._wake()
        log.debug("neighbour_left", digest=self.digest, peer=machine, reason=end.reason)
        if end.lied or end.dropped or end.incompatible:
            self._around.alarm(end.reason if end.incompatible else f"{end.reason} of {self.digest}: dropped")

    def _spawn(self, name: str, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except FleetcastError as error:
                log.info("swarm_thread_stopped", name=name, code=error.code)
            except Exception:
                if self._holding is None or not self._holding.closed:
                    log.exception("swarm_thread_failed", name=name)
            finally:
                self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, name=f"swarm-{name}", daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:
            self._threads.discard(thread)
            raise

    # The end

    def _over(self, intake: Intake) -> bool:
        return self._stopping or bool(intake.error)

    def _finish(self, holding: Holding, manifest: Manifest) -> None:
        self._quit_neighbours()
        holding.files.finish_writing()
        seal(manifest, self.order.directory / TREE, lambda: self._stopping)
        with holding.lock:
            if holding.download.missing:
                raise Corrupt("damaged_on_disk", "a piece was damaged on the disk while the release was sealed: fetch it again")
            self._done = True
            holding.turn.notify_all()
        log.info("fetch_done", digest=self.digest, directory=os.fspath(self.order.directory))
        self._ended.set()
        self._on_end()

    def _finish_badly(self, error: str) -> None:
        self._error = error or "cancelled"
        self._stopping = True
        if error:
            log.error("fetch_failed", digest=self.digest, error=error)
        else:
            log.info("fetch_cancelled", digest=self.digest)
        self._quit_neighbours()
        self._let_go()
        self._ended.set()
        self._around.ended(self)
        self._on_end()

    def _quit_neighbours(self) -> None:
        if self._holding is None:
            return
        with self._holding.lock:
            self._holding.turn.notify_all()
            neighbours = list(self._neighbours.values())
        for neighbour in neighbours:
            neighbour.abort()

    def _let_go(self) -> None:
        """Close what is open. Threads that still use it find it closed and end."""
        self._around.announcer.remove(self)
        if self._journal is not None:
            self._journal.close()
        if self._holding is not None and not self._handed_over:
            self._holding.close()

    def _wake(self) -> None:
        """Make the driving thread look around. Under the lock."""
        assert self._holding is not None
        self._look = True
        self._holding.turn.notify_all()

    def _waiting_for(self, download: Download) -> str:
        """One line for people. Under the lock."""
        what = "content" if self._content_known else "manifest"
        text = f"{download.missing} of {download.known} pieces ({what}); {self._neighbourhood.connected} neighbours"
        trouble = self._origin.trouble if self._origin is not None else ""
        return f"{text}; origin: {trouble}" if trouble else text
