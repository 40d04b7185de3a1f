"""The region's side of the swarm: the tracker that introduces, the tickets, and the leases on the bucket."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from fleetcast.artifacts.signing import PrivateKey, PublicKey, verify_root
from fleetcast.http.holding import Bells, held_s, hold
from fleetcast.model.artifact import ArtifactRecord, regional_content_blob, regional_manifest_blob
from fleetcast.model.errors import Invalid, NotFound
from fleetcast.model.ids import Digest, MachineId, machine_id
from fleetcast.model.limits import (
    ANNOUNCE_INTERVAL_S,
    CHUNK_AVERAGE_BYTES,
    ORIGIN_LEASE_S,
    ORIGIN_RETRY_S,
    ORIGIN_WAIT_S_MAX,
    ORIGIN_WAITING_MAX,
    REPORTED_MACHINE_BYTES,
    TICKET_LIFETIME_S,
)
from fleetcast.model.messages.agents import AnnounceReply, AnnounceRequest, LeaseReply, LeaseRequest, PeerAddress
from fleetcast.region.origin_pace import OriginPace
from fleetcast.region.view import RegionView
from fleetcast.stores.blobs import BlobReader
from fleetcast.stores.limiter import Limiter
from fleetcast.swarm import tickets
from fleetcast.swarm.leases import LeaseBook
from fleetcast.swarm.tickets import Ticket
from fleetcast.swarm.tracker import Tracker

_NOT_HERE_RETRY_S = 2.0
"""When to ask again for an artifact that is still being copied into the bucket."""


def _here() -> bool:
    """The caller is not gone."""
    return False


class Swarms:
    """Soft state of all swarms of this region. ``now`` is monotonic seconds, ``now_s`` UTC seconds."""

    def __init__(
        self,
        view: RegionView,
        bucket: BlobReader,
        is_complete: Callable[[Digest], bool],
        ticket_key: PrivateKey,
        worker_keys: Sequence[PublicKey],
        started_at: float,
        rng: Random,
        origin: Limiter,
    ) -> None:
        """``origin``: the limit of the bucket's data port, by which leases are paced."""
        self._view = view
        self._bucket = bucket
        self._is_complete = is_complete
        self._ticket_key = ticket_key
        self._worker_keys = tuple(worker_keys)
        self._grants_from = started_at + ANNOUNCE_INTERVAL_S
        self._rng = rng
        self._tracker = Tracker()
        self._books: dict[Digest, LeaseBook] = {}
        self._piece_bytes: dict[Digest, float] = {}
        """About how large a piece of an artifact is, beside its book."""
        self._origin = origin
        self._pace = OriginPace()
        self._freed: Bells[Digest] = Bells()
        """Rung when less of an artifact is on lease."""
        self._held: Counter[Digest] = Counter()
        """Requests that wait for that."""
        self._tickets: dict[tuple[Digest, MachineId], tuple[str, float]] = {}
        """With the UTC second from which on a new one is signed."""

    def announce(self, digest: Digest, request: AnnounceRequest, now: float, now_s: float) -> AnnounceReply:
        """Note a member, introduce it to others.

        Raises:
            NotFound: an artifact this region knows nothing of.
            Invalid: nobody could connect to such an address.
        """
        self._record(digest, request.root)
        _check_peer(request.peer)
        peers = self._tracker.announce(digest, request, now, self._rng)
        return AnnounceReply(peers, self._ticket(digest, request.peer.machine, now_s), float(ANNOUNCE_INTERVAL_S))

    async def lease(
        self, digest: Digest, request: LeaseRequest, clock: Callable[[], float], gone: Callable[[], bool] = _here
    ) -> LeaseReply:
        """Lease pieces of the bucket's copy, once it is complete; held while there is nothing to lease, those that came first
        first, until the caller is ``gone``. Raises as :meth:`announce`, and :class:`Corrupt`.
        """
        record = self._record(digest, request.root)
        if not self._is_complete(digest):
            return LeaseReply((), 0.0, None, None, _NOT_HERE_RETRY_S)
        bell = self._freed.of(digest)
        wait_s = held_s(request.wait_s, ORIGIN_WAIT_S_MAX) if self._held[digest] < ORIGIN_WAITING_MAX else 0.0
        # Who comes back for more comes after those who wait, or the same few would read everything.
        reply, full = await self._lease(digest, request, record, clock(), behind=wait_s > 0 and self._held[digest] > 0)
        if request.held or request.returned:
            bell.ring()
            # They look in the loop's next turn, in the order in which they came; and we, at what they leave, after them.
            await asyncio.sleep(0)
        if not full or not wait_s:
            return reply
        again = replace(request, held=(), returned=())

        async def look() -> LeaseReply | None:
            found, still_full = await self._lease(digest, again, record, clock())
            return None if still_full else found

        self._held[digest] += 1
        try:
            found = await hold(bell, look, wait_s=wait_s, poll_s=ORIGIN_RETRY_S, abandoned=gone)
        finally:
            self._held -= Counter({digest: 1})
        if found is not None and gone():
            # Who leaves after this look keeps what it was leased until the lease ends.
            await self._lease(digest, replace(again, want=0, returned=found.pieces), record, clock())
            bell.ring()
        return found or replace(reply, retry_after_s=0.0)

    async def _lease(
        self, digest: Digest, request: LeaseRequest, record: ArtifactRecord, now: float, *, behind: bool = False
    ) -> tuple[LeaseReply, bool]:
        """The answer, and whether it is empty because enough is on lease already, or others come first (``behind``)."""
        book = self._books.get(digest)
        if book is None:
            root = verify_root(record.envelope, self._worker_keys, record.release.root)
            book = self._books[digest] = LeaseBook(len(root.manifest_pieces) + root.chunks, self._grants_from)
            self._piece_bytes[digest] = root.content_size / max(1, root.chunks) or CHUNK_AVERAGE_BYTES
        piece_bytes = self._piece_bytes[digest]
        want = self._pace.pieces(digest, piece_bytes, request.want, self._origin.bytes_per_s, now)
        paced = request.want > want == 0
        request = replace(request, want=want)
        decision = book.lease(request, now, lambda machine: self._tracker.alive(digest, machine, now), self._rng, behind=behind)
        self._pace.leased(digest, piece_bytes * len(decision.pieces), now)
        if not decision.pieces:
            return LeaseReply((), 0.0, None, None, decision.retry_after_s), paced or decision.full
        # A grant is good for a lease and the time to come back with it, no longer.
        manifest = await self._bucket.read_grant(regional_manifest_blob(digest), lifetime_s=2 * ORIGIN_LEASE_S)
        content = await self._bucket.read_grant(regional_content_blob(digest), lifetime_s=2 * ORIGIN_LEASE_S)
        return LeaseReply(decision.pieces, decision.expires_in_s, manifest, content, decision.retry_after_s), False

    def close(self) -> None:
        """The process stops: hold nobody from now on."""
        self._freed.close()

    def expire(self, now: float, now_s: float) -> None:
        """Forget swarms without members, and tickets of who left or that are to be signed anew; call it now and then."""
        self._tracker.expire(now)
        for digest in [digest for digest in self._books if not self._tracker.members(digest, now)]:
            del self._books[digest], self._piece_bytes[digest]
        self._tickets = {key: kept for key, kept in self._tickets.items() if now_s < kept[1] and self._tracker.alive(*key, now)}

    def _record(self, digest: Digest, root: Digest) -> ArtifactRecord:
        record = self._view.record(root)
        if record is None or record.release.digest != digest:
            raise NotFound("unknown_artifact", f"this region knows no artifact {digest} with root {root}: read goals again")
        return record

    def _ticket(self, digest: Digest, machine: MachineId, now_s: float) -> str:
        kept = self._tickets.get((digest, machine))
        if kept is None or now_s >= kept[1]:
            text = tickets.sign(self._ticket_key, Ticket(digest, machine, int(now_s) + TICKET_LIFETIME_S))
            kept = self._tickets[digest, machine] = text, now_s + TICKET_LIFETIME_S / 2
        return kept[0]


def _check_peer(peer: PeerAddress) -> None:
    """Every other member is told this address, and remembers it. Raises :class:`Invalid`."""
    machine_id(peer.machine)
    length = len((peer.host + peer.zone + peer.rack).encode())
    if not (peer.host and peer.host.isascii() and peer.host.isprintable() and 0 < peer.port < 2**16):
        raise Invalid(
            "illegal_peer", f"{peer.machine} announced port {peer.port} of a host that cannot be: correct its settings"
        )
    if length > REPORTED_MACHINE_BYTES // 2:
        raise Invalid("illegal_peer", f"the address of {peer.machine} has {length} bytes: shorten host, zone and rack")
