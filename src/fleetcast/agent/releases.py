"""The releases of one service on disk: what is whole, what is coming in, what goes.

A directory under ``releases/`` is whole because it got there by one rename after everything in it was verified and durable;
it leaves by one rename too, and is taken apart elsewhere.
"""

from __future__ import annotations

import asyncio
import shutil
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import structlog

from fleetcast.agent import records, switch
from fleetcast.agent.layout import ServiceLayout
from fleetcast.agent.reconcile import Disk
from fleetcast.agent.retention import Held, KeepMore, Spare, Surplus
from fleetcast.artifacts import tree as trees
from fleetcast.artifacts.manifest import Manifest, decode, manifest_digest
from fleetcast.artifacts.signing import PublicKey, verify_root
from fleetcast.model import ids
from fleetcast.model.artifact import Root
from fleetcast.model.errors import Corrupt, Invalid
from fleetcast.model.ids import Digest
from fleetcast.stores.occupied import disk_bytes

log = structlog.get_logger(__name__)


class ReleaseStore:
    """What it says is on disk is what it found at :meth:`scan` and what went through it since."""

    def __init__(self, layout: ServiceLayout, keys: Sequence[PublicKey]) -> None:
        self._layout = layout
        self._keys = keys
        self._releases: set[Digest] = set()
        self._incoming: set[Digest] = set()
        self._roots: dict[Digest, Root] = {}
        self._sizes: dict[Digest, tuple[int, int]] = {}
        """Of each whole release: what it takes up, and since when, UTC milliseconds by this machine's clock."""
        self._discarding = False
        """Something that does not count any more is still being removed."""

    @property
    def empty(self) -> bool:
        """Whether nothing is left of any whole release."""
        return not self._releases and not self._discarding

    def scan(self) -> None:
        """Look at the disk, finish removals that were cut off, and drop roots that no installed key has signed. Blocking."""
        self._layout.make()
        for path in self._layout.discarded.iterdir():
            _remove(path)
        self._releases = set(_named(self._layout.releases))
        self._incoming = set(_named(self._layout.incoming))
        for digest in self._incoming & self._releases:
            # Of a repair that was cut off.
            _remove(self._layout.incoming / digest)
            self._incoming.discard(digest)
        self._sizes = {digest: _measure(self._layout.release(digest)) for digest in self._releases}
        self._roots = {}
        for digest in _named(self._layout.roots):
            path = self._layout.roots / digest
            try:
                self._roots[digest] = verify_root(path.read_text(), self._keys, digest)
            except (Corrupt, UnicodeDecodeError) as error:
                log.warning("root_dropped", root=digest, error=str(error))
                path.unlink()

    @property
    def disk(self) -> Disk:
        return Disk(frozenset(self._releases), frozenset(self._incoming), frozenset(self._roots))

    def spare(self, keep: KeepMore, short_bytes: int) -> Spare:
        """What is asked about releases that nobody needs, now."""
        roots: dict[Digest, set[Digest]] = {}
        for root_digest, root in self._roots.items():
            roots.setdefault(root.digest, set()).add(root_digest)
        held = {digest: Held(*self._sizes[digest], frozenset(roots.get(digest, ()))) for digest in self._releases}
        return Spare(keep, held, time.time_ns() // 1_000_000, short_bytes)

    def root(self, digest: Digest) -> Root | None:
        """A signed root, verified; ``None``: not on this machine."""
        return self._roots.get(digest)

    def roots(self) -> tuple[tuple[Digest, Root], ...]:
        """Every verified root, by the digest of its envelope."""
        return tuple(self._roots.items())

    async def keep_root(self, digest: Digest, envelope: str, root: Root) -> None:
        """Keep a root that has been verified."""
        await asyncio.to_thread(records.write_bytes, self._layout.roots / digest, envelope.encode())
        self._roots[digest] = root

    async def receive(self, digest: Digest, envelope: str) -> Path:
        """The directory into which a release is to be fetched, with its root in it; what is there of it stays."""
        directory = self._layout.incoming / digest
        self._incoming.add(digest)
        await asyncio.to_thread(_prepare, directory, envelope)
        return directory

    async def admit(self, digest: Digest) -> Path:
        """An incoming release is complete, verified and sealed: from now on it is one of the whole ones."""
        final = self._layout.release(digest)
        await asyncio.to_thread(_admit, self._layout.incoming / digest, final)
        self._sizes[digest] = await asyncio.to_thread(_measure, final)
        self._incoming.discard(digest)
        self._releases.add(digest)
        return final

    def manifest(self, digest: Digest) -> Manifest:
        """Of a whole release. Raises :class:`Corrupt` or :class:`OSError` when it is not what it was. Blocking."""
        encoded = (self._layout.release(digest) / "manifest").read_bytes()
        if manifest_digest(encoded) != digest:
            raise Corrupt("corrupt_manifest", f"the manifest of release {digest} has changed on this machine's disk")
        return decode(encoded)

    async def discard(self, surplus: Surplus) -> None:
        """Remove what nobody needs. The space is free when this returns."""
        self._releases -= surplus.releases
        self._incoming -= surplus.incoming
        for digest in surplus.roots:
            self._roots.pop(digest, None)
        self._discarding = True
        try:
            await asyncio.to_thread(self._remove, surplus)
        finally:
            self._discarding = False

    def _remove(self, surplus: Surplus) -> None:
        if switch.pointed(self._layout) in surplus.releases:
            self._layout.current.unlink()
        # A root without its release is no harm; a release whose root went first would be fetched again.
        leaving = [self._layout.release(digest) for digest in surplus.releases]
        leaving += [self._layout.incoming / digest for digest in surplus.incoming]
        for path in leaving:
            discarded = self._layout.discarded / uuid.uuid4().hex
            if path.exists():
                path.rename(discarded)
                _remove(discarded)
        for digest in surplus.roots:
            (self._layout.roots / digest).unlink(missing_ok=True)


def _named(directory: Path) -> list[Digest]:
    """The entries of a directory whose name is a digest. Temporary files of killed agents go, what else is there stays."""
    found = []
    for path in directory.iterdir():
        try:
            found.append(ids.digest(path.name))
        except Invalid:
            if records.is_temporary(path):
                path.unlink()
    return found


def _measure(release: Path) -> tuple[int, int]:
    try:
        since_ms = (release / "root").stat().st_mtime_ns // 1_000_000
    except FileNotFoundError:
        since_ms = 0
    return disk_bytes(release), since_ms


def _prepare(directory: Path, envelope: str) -> None:
    directory.mkdir(exist_ok=True)
    records.write_bytes(directory / "root", envelope.encode())


def _admit(incoming: Path, final: Path) -> None:
    records.sync_directory(incoming)
    incoming.rename(final)
    records.sync_directory(final.parent)
    records.sync_directory(incoming.parent)
    # The journal of the fetch has said what it had to say.
    (final / "journal").unlink(missing_ok=True)


def _remove(path: Path) -> None:
    trees.remove_tree(path / "tree")
    shutil.rmtree(path)
