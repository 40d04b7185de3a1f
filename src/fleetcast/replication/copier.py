"""Copying one artifact from the main store into a region's bucket, verified and resumable.

What the bucket has in older artifacts of the service is read there; only the rest travels. Nothing of either is trusted: the
root is believed for its signature, manifests for their digests, content for the BLAKE3 of every chunk. A part of the content is
verified before the bucket gets it, so what an open upload holds is verified, and an attempt that follows (after a kill, a lost
link) goes on from there. Nothing is visible in the bucket before it is whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from fleetcast.artifacts.manifest import Manifest, decode, manifest_digest
from fleetcast.artifacts.signing import PublicKey, verified_manifest, verify_root
from fleetcast.model.artifact import ArtifactRecord, Root, regional_content_blob, regional_manifest_blob
from fleetcast.model.errors import Conflict, Corrupt, Invalid, NotFound
from fleetcast.model.ids import Digest
from fleetcast.model.limits import COPY_BASES_MAX, COPY_PARTS_AT_ONCE_MAX
from fleetcast.model.messages.grants import Grant, PartReceipt
from fleetcast.model.messages.regions import SourceGrants
from fleetcast.replication.copy_plan import CopyPlan
from fleetcast.replication.lanes import Lanes
from fleetcast.replication.part_reading import PartReader
from fleetcast.replication.reuse import NOWHERE, Reuse, Run
from fleetcast.stores.blobs import BlobStore
from fleetcast.stores.kv import KeyValueStore
from fleetcast.stores.limiter import Limiter

log = structlog.get_logger(__name__)

NOTES_PREFIX: Final = "copies/"
"""Where the key-value store keeps the ids of open uploads, ``copies/<digest>``."""


class SourceDoor(Protocol):
    async def source_grants(self, digest: Digest) -> SourceGrants:
        """Read grants on the main store's blobs. Raises :class:`NotFound`, :class:`Unavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class Copied:
    """What one attempt moved, in bytes."""

    fetched_bytes: int = 0
    """From the main store, the manifest included."""
    reused_bytes: int = 0
    """From the bucket itself."""


class Copier:
    """Fills one bucket. Several copies may run at once; two of one artifact do the work twice and harm nothing."""

    def __init__(
        self,
        bucket: BlobStore,
        source: SourceDoor,
        worker_keys: Sequence[PublicKey],
        notes: KeyValueStore,
        limit: Limiter | None = None,
        *,
        background: bool = False,
    ) -> None:
        """``notes`` remembers which uploads are open, across a kill. ``limit``: of what is read from the main store.
        ``background``: mark the connections on which that arrives."""
        self._bucket = bucket
        self._source = source
        self._worker_keys = tuple(worker_keys)
        self._notes = notes
        self._lanes = Lanes(limit or Limiter(), background=background)

    async def copy(self, record: ArtifactRecord, progress: Callable[[int], None], bases: Sequence[Digest] = ()) -> Copied:
        """See to it that both blobs are in the bucket, whole.

        ``progress`` is told how many bytes of content are there, each time that changes, and never if nothing is missing.
        ``bases``: artifacts that may be in the bucket and have much of this one, the likeliest first.

        Raises:
            Corrupt: root, manifest or content are not what they should be; nothing of them became visible.
            NotFound: the main store has not got the artifact (any more).
            Unavailable: source or bucket cannot be reached; the next attempt goes on from here.
        """
        root = verify_root(record.envelope, self._worker_keys, record.release.root)
        if root.digest != record.release.digest:
            raise Corrupt("corrupt_record", f"the record of {root.artifact} names another digest than its signed root")
        content, manifest = regional_content_blob(root.digest), regional_manifest_blob(root.digest)
        has_content = await self._has(content, root.content_size)
        if has_content and await self._has(manifest, root.manifest_size):
            return Copied()
        progress(root.content_size if has_content else 0)
        grants = await self._source.source_grants(root.digest)
        with self._lanes.copying():
            chunks, fetched_bytes = await self._manifest(root, manifest, grants.manifest)
            copied = Copied(fetched_bytes)
            if not has_content:
                moved = await self._content(root, grants.content, chunks, progress, bases)
                copied = Copied(fetched_bytes + moved.fetched_bytes, moved.reused_bytes)
        log.info(
            "artifact_copied",
            artifact=root.artifact,
            digest=root.digest,
            content_bytes=root.content_size,
            fetched_bytes=copied.fetched_bytes,
            reused_bytes=copied.reused_bytes,
        )
        return copied

    async def _has(self, key: str, size: int) -> bool:
        there = await self._bucket.stat(key)
        if there is not None and there.size != size:
            log.warning("blob_of_wrong_size", key=key, size=there.size, expected=size)
            await self._bucket.delete(key)
            return False
        return there is not None

    async def _manifest(self, root: Root, key: str, grant: Grant) -> tuple[Manifest, int]:
        """The manifest, which is in the bucket afterwards, and how many bytes travelled for it."""
        if await self._has(key, root.manifest_size):
            try:
                return await asyncio.to_thread(verified_manifest, root, await self._bucket.read(key)), 0
            except Corrupt:
                log.warning("manifest_decayed", key=key)
                await self._bucket.delete(key)
        encoded = bytearray(root.manifest_size)
        async with self._lanes.borrow() as lane:
            await lane.read(grant, [Run(NOWHERE, 0, 0, len(encoded))], memoryview(encoded), root.digest)
        whole = bytes(encoded)
        manifest = await asyncio.to_thread(verified_manifest, root, whole)
        await self._bucket.put(key, whole)
        return manifest, len(whole)

    async def _reuse(self, manifest: Manifest, candidates: Sequence[Digest]) -> tuple[Reuse, list[Digest]]:
        """What ``COPY_BASES_MAX`` of the candidates, as far as they are in the bucket, have of the new content."""
        reuse, bases = Reuse(manifest), list[Digest]()
        for digest in candidates:
            if len(bases) == COPY_BASES_MAX or not reuse.bytes_missing():
                break
            base = await self._base(digest)
            if base is not None:
                await asyncio.to_thread(reuse.add, base)
                bases.append(digest)
        return reuse, bases

    async def _base(self, digest: Digest) -> Manifest | None:
        """The manifest of an artifact that the bucket has; ``None``: it has not, or not as it was built."""
        there = await self._bucket.stat(regional_content_blob(digest))
        if there is None:
            return None
        try:
            encoded = await self._bucket.read(regional_manifest_blob(digest))
            if await asyncio.to_thread(manifest_digest, encoded) == digest:
                manifest = await asyncio.to_thread(decode, encoded)
                return manifest if manifest.content_size == there.size else None
        except (NotFound, Invalid, Corrupt) as error:
            log.info("base_unusable", digest=digest, reason=error.message)
        return None

    async def _content(
        self, root: Root, grant: Grant, manifest: Manifest, progress: Callable[[int], None], candidates: Sequence[Digest]
    ) -> Copied:
        key = regional_content_blob(root.digest)
        upload, received = await self._resumed(root, key)
        plan = CopyPlan(manifest, self._bucket.part_bytes)
        receipts = {number: receipt for number, receipt in received.items() if receipt.size == plan.size_of(number)}
        progress(_bytes_of(receipts))
        missing = [number for number in range(1, plan.parts + 1) if number not in receipts]
        next_missing = iter(missing)
        reuse, bases = await self._reuse(manifest, candidates if missing else ())
        reader = PartReader(self._bucket, plan, reuse, bases, grant)

        async def copy_parts() -> None:
            for number in next_missing:
                async with self._lanes.borrow() as lane:
                    part = await reader.read(lane, number, root.digest)
                    receipts[number] = await self._bucket.write_part(key, upload, number, part)
                progress(_bytes_of(receipts))

        try:
            await _together(copy_parts() for _ in range(min(len(missing), COPY_PARTS_AT_ONCE_MAX)))
        except NotFound:
            if not await self._has(key, root.content_size):
                raise
            # Another copier went on with the same upload, and was faster.
            return Copied(reader.fetched_bytes, reader.reused_bytes)
        try:
            await self._bucket.complete(key, upload, [receipts[number] for number in sorted(receipts)])
        except Invalid:
            await self._bucket.abort(key, upload)  # what it holds is not what we gave it: begin anew the next time
            raise
        await self._notes.delete(NOTES_PREFIX + root.digest)
        return Copied(reader.fetched_bytes, reader.reused_bytes)

    async def _resumed(self, root: Root, key: str) -> tuple[str, dict[int, PartReceipt]]:
        """The upload that an earlier attempt left open, with its parts, or a new one."""
        noted = await self._notes.get(NOTES_PREFIX + root.digest)
        if noted is not None:
            upload = noted.value.decode()
            try:
                return upload, {part.number: part for part in await self._bucket.parts(key, upload)}
            except NotFound:
                log.info("upload_gone", key=key)
        upload = await self._bucket.begin(key)
        # A kill between these two lines leaves an empty upload behind, which the store drops in time.
        try:
            await self._notes.put(
                NOTES_PREFIX + root.digest, upload.encode(), expected=0 if noted is None else noted.mod_revision
            )
        except Conflict:
            log.info("copied_twice_at_once", key=key)
        return upload, {}


def _bytes_of(receipts: Mapping[int, PartReceipt]) -> int:
    return sum(receipt.size for receipt in receipts.values())


async def _together(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of it; the first error ends the rest and is the one that is told."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
