"""One release onto this machine's disk: its signed root from the region, everything else from the swarm."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

import structlog

from fleetcast.agent.hooks import HookFailed
from fleetcast.agent.layout import ServiceKey, ServiceLayout
from fleetcast.agent.region import RegionClient
from fleetcast.agent.releases import ReleaseStore
from fleetcast.agent.retention import Surplus
from fleetcast.agent.retrying import retry_s
from fleetcast.agent.room import Demand, needed_bytes, shortage_text
from fleetcast.agent.room_desk import RoomDesk
from fleetcast.agent.sharing import Sharing
from fleetcast.agent.standing import FetchStanding
from fleetcast.agent.uninterrupted import to_the_end
from fleetcast.artifacts.signing import PublicKey, envelope_digest, verify_root
from fleetcast.artifacts.tree import NO_ROOM_HERE
from fleetcast.model.artifact import Root
from fleetcast.model.deployment import ByteCounts
from fleetcast.model.errors import Corrupt, FleetcastError, Unavailable
from fleetcast.model.goal import ReleaseRef
from fleetcast.stores.obstacles import obstacle
from fleetcast.swarm.peer import Fetch

log = structlog.get_logger(__name__)

_LOOK_S: Final = 1.0
"""How often progress is looked at for the report."""

Counted = Callable[[ByteCounts], Awaitable[None]]


class Untrusted(Exception):
    """The root that the goal names may not run here, and never will: trying again cannot help."""


class Fetcher:
    """Fetches for one service, one release at a time."""

    def __init__(
        self,
        key: ServiceKey,
        layout: ServiceLayout,
        store: ReleaseStore,
        region: RegionClient,
        sharing: Sharing,
        room: RoomDesk,
        keys: Sequence[PublicKey],
        rng: Random,
        alarm: Callable[[str], None],
        prepare: Callable[[ReleaseRef], Awaitable[None]],
    ) -> None:
        """``alarm``: for what only a person can put right, such as a full disk. ``prepare``: to be called before a fetch
        begins; it raises :class:`HookFailed` when the machine is not ready for it."""
        self._alarm = alarm
        self._prepare = prepare
        self._key = key
        self._layout = layout
        self._store = store
        self._region = region
        self._sharing = sharing
        self._room = room
        self._keys = keys
        self._rng = rng
        self._under_way: Fetch | None = None
        self._standing: FetchStanding | None = None

    def standing(self) -> FetchStanding | None:
        """How far the fetch under way is; ``None``: there is none."""
        standing = self._standing
        if standing is None or self._under_way is None:
            return standing
        progress = self._under_way.progress()
        return replace(standing, bytes=progress.bytes, bytes_total=progress.bytes_total, waiting_for=progress.waiting_for)

    @property
    def waits_for_room(self) -> bool:
        """Whether a fetch is under way that has not begun for want of room."""
        return self._standing is not None and self._room.waits(self._layout.incoming / self._standing.release.digest)

    async def fetch(self, release: ReleaseRef, counted: Counted) -> None:
        """Return when ``release`` is whole on disk and shared. Goes on trying until then; safe to cancel and to repeat.

        ``counted`` is told where the content came from, before the release counts as whole: an agent killed in between
        counts the same bytes again.

        Raises:
            Untrusted: no installed key has signed this root, or it is one of something else.
        """
        failures, prepared = 0, False
        self._standing = FetchStanding(release)
        try:
            while True:
                try:
                    root = await self._root(release)
                    if not prepared:
                        await self._prepare(release)
                        prepared = True
                    await self._content(release, root, counted)
                    return
                except (FleetcastError, OSError, HookFailed) as error:
                    failures += 1
                    self._failed(release, error)
                await asyncio.sleep(retry_s(failures, self._rng))
        finally:
            self._standing = None

    async def repair(self, release: ReleaseRef, mend: Callable[[Path], Awaitable[None]]) -> None:
        """Fetch a whole release once more, most of it from itself, and hand the copy's tree to ``mend``, which is not cut off.

        Raises:
            FleetcastError, OSError: to be tried again.
        """
        root = self._store.root(release.root)
        if root is None:
            raise Unavailable("root_missing", f"the signed root of {release.artifact} is not on this machine")
        try:
            async with self._sharing.lock(release.digest), self._promised(root, release):
                envelope = await asyncio.to_thread((self._layout.roots / release.root).read_text)
                directory = await to_the_end(self._store.receive(release.digest, envelope))
                ended = asyncio.Event()
                self._standing = FetchStanding(release)
                fetch = await self._started(root, release, directory, ended)
                try:
                    await self._finished(fetch, ended)
                finally:
                    # It holds files open for writing, and what is to take their place must not be.
                    await to_the_end(asyncio.to_thread(fetch.cancel))
                await to_the_end(self._mend(root, release, directory, mend))
        finally:
            self._standing = None

    async def _mend(self, root: Root, release: ReleaseRef, fresh: Path, mend: Callable[[Path], Awaitable[None]]) -> None:
        await mend(fresh / "tree")
        await self._store.discard(Surplus(incoming=frozenset({release.digest})))
        await self._sharing.share(root, release.root, self._layout.release(release.digest))

    def _failed(self, release: ReleaseRef, error: FleetcastError | OSError | HookFailed) -> None:
        error = obstacle(error) if isinstance(error, OSError) else error
        log.warning("fetch_failed", release=release.artifact, error=str(error))
        if NO_ROOM_HERE in str(error) or (isinstance(error, FleetcastError) and error.code == "no_room"):
            self._alarm(f"it cannot fetch {release.artifact}: {error}")
        counts, total = ByteCounts(), 0
        if self._standing is not None:
            counts, total = self._standing.bytes, self._standing.bytes_total
        output = error.output if isinstance(error, HookFailed) else ()
        self._standing = FetchStanding(release, counts, total, "another attempt", str(error), output)

    async def _root(self, release: ReleaseRef) -> Root:
        """The verified root: kept here from before, or from the region.

        Raises:
            Untrusted: see :meth:`fetch`.
            Corrupt: the region handed out another one than it was asked for.
        """
        root = self._store.root(release.root)
        if root is None:
            envelope = await self._region.root(release.root)
            if envelope_digest(envelope) != release.root:
                raise Corrupt("wrong_root", f"the region answered with another root than {release.root}")
            try:
                root = verify_root(envelope, self._keys, release.root)
            except Corrupt as error:
                raise Untrusted(error.message) from error
            self._check(release, root)
            await to_the_end(self._store.keep_root(release.root, envelope, root))
        self._check(release, root)
        return root

    def _check(self, release: ReleaseRef, root: Root) -> None:
        if (root.artifact, root.digest, root.service) != (release.artifact, release.digest, self._key.service):
            raise Untrusted(
                f"the goal says {release.artifact} with digest {release.digest} for {self._key.service}, "
                f"the signed root {root.artifact} with {root.digest} for {root.service}"
            )

    async def _content(self, release: ReleaseRef, root: Root, counted: Counted) -> None:
        lock = self._sharing.lock(release.digest)
        if lock.locked():
            self._standing = FetchStanding(release, waiting_for="another service of this machine that fetches the same files")
        async with lock:
            if release.digest in self._store.disk.releases:
                # Another root of files that are here already.
                return
            async with self._promised(root, release):
                await self._brought(release, root, counted)

    def _promised(self, root: Root, release: ReleaseRef) -> AbstractAsyncContextManager[None]:
        """Room for the release, which is waited for."""

        def short(demand: Demand, room: int) -> None:
            missing = f"room on this machine's disk: {shortage_text(demand, room)}"
            self._standing = FetchStanding(release, bytes_total=root.content_size, waiting_for=missing)
            self._alarm(f"it cannot fetch {release.artifact}: {NO_ROOM_HERE}: make room, it goes on by itself")

        return self._room.promised(self._layout.incoming / release.digest, needed_bytes(root), short)

    async def _brought(self, release: ReleaseRef, root: Root, counted: Counted) -> None:
        envelope = await asyncio.to_thread((self._layout.roots / release.root).read_text)
        directory = await to_the_end(self._store.receive(release.digest, envelope))
        ended = asyncio.Event()
        fetch = await self._started(root, release, directory, ended)
        try:
            await counted(await self._finished(fetch, ended))
            await to_the_end(self._admit(root, release))
        except BaseException:
            # Also one that is done: until its release is shared it holds on to the directory.
            await to_the_end(asyncio.to_thread(fetch.cancel))
            raise

    async def _admit(self, root: Root, release: ReleaseRef) -> None:
        final = await self._store.admit(release.digest)
        await self._sharing.share(root, release.root, final)

    async def _finished(self, fetch: Fetch, ended: asyncio.Event) -> ByteCounts:
        self._under_way = fetch
        try:
            while True:
                progress = fetch.progress()
                self._standing = replace(self._standing, bytes=progress.bytes) if self._standing else None
                if progress.error:
                    raise Unavailable("fetch_failed", progress.error)
                if progress.done:
                    return progress.bytes
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await ended.wait()
        finally:
            self._under_way = None

    async def _started(self, root: Root, release: ReleaseRef, directory: Path, ended: asyncio.Event) -> Fetch:
        self._standing = FetchStanding(release, bytes_total=root.content_size)
        donors, tell = self._donors(release), _teller(ended)
        swarm = self._sharing.swarm
        starting = asyncio.ensure_future(asyncio.to_thread(swarm.fetch, root, release.root, directory, donors, tell))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            fetch = await starting
            await to_the_end(asyncio.to_thread(fetch.cancel))
            raise

    def _donors(self, release: ReleaseRef) -> list[Path]:
        """Whole releases to copy what is equal from: this service's, and the very same one of another service."""
        own = [self._layout.release(digest) for digest in sorted(self._store.disk.releases)]
        return [*self._sharing.directories(release.digest), *own]


def _teller(ended: asyncio.Event) -> Callable[[], None]:
    """Sets the event from any thread; a thread of the swarm may outlive the loop by a moment."""
    loop = asyncio.get_running_loop()

    def tell() -> None:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(ended.set)

    return tell
