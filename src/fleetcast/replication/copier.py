"""Copying one artifact from the main store into a region's bucket, verified and resumable.

Nothing of the source is trusted: the root is believed for its signature, the manifest for its digest, the content for the
BLAKE3 of every chunk. A part of the content is verified before the bucket gets it, so what an open upload holds is verified,
and an attempt that follows (after a kill, a lost link) goes on from there. Nothing is visible in the bucket before it is whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import structlog
from blake3 import blake3

from fleetcast.artifacts.manifest import Manifest
from fleetcast.artifacts.signing import PublicKey, verified_manifest, verify_root
from fleetcast.model.artifact import ArtifactRecord, Root, regional_content_blob, regional_manifest_blob
from fleetcast.model.errors import Conflict, Corrupt, Invalid, NotFound
from fleetcast.model.ids import Digest
from fleetcast.model.limits import COPY_PARTS_AT_ONCE_MAX, COPY_STALL_S_MAX
from fleetcast.model.messages.grants import Grant, PartReceipt
from fleetcast.model.messages.regions import SourceGrants
from fleetcast.replication.copy_plan import CopyPlan
from fleetcast.stores.blobs import BlobStore
from fleetcast.stores.kv import KeyValueStore
from fleetcast.stores.transfer import GrantConnection

log = structlog.get_logger(__name__)

NOTES_PREFIX: Final = "copies/"
"""Where the key-value store keeps the ids of open uploads, ``copies/<digest>``."""


class SourceDoor(Protocol):
    async def source_grants(self, digest: Digest) -> SourceGrants:
        """Read grants on the main store's blobs. Raises :class:`NotFound`, :class:`Unavailable`."""
        ...


class Copier:
    """Fills one bucket. Several copies may run at once; two of one artifact do the work twice and harm nothing."""

    def __init__(self, bucket: BlobStore, source: SourceDoor, worker_keys: Sequence[PublicKey], notes: KeyValueStore) -> None:
        """``notes`` remembers which uploads are open, across a kill."""
        self._bucket = bucket
        self._source = source
        self._worker_keys = tuple(worker_keys)
        self._notes = notes

    async def copy(self, record: ArtifactRecord, progress: Callable[[int], None]) -> None:
        """See to it that both blobs are in the bucket, whole.

        ``progress`` is told how many bytes of content are there, each time that changes, and never if nothing is missing.

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
            return
        progress(root.content_size if has_content else 0)
        grants = await self._source.source_grants(root.digest)
        chunks = await self._manifest(root, manifest, grants.manifest)
        if not has_content:
            await self._content(root, content, grants.content, chunks, progress)
        log.info("artifact_copied", artifact=root.artifact, digest=root.digest, content_bytes=root.content_size)

    async def _has(self, key: str, size: int) -> bool:
        there = await self._bucket.stat(key)
        if there is not None and there.size != size:
            log.warning("blob_of_wrong_size", key=key, size=there.size, expected=size)
            await self._bucket.delete(key)
            return False
        return there is not None

    async def _manifest(self, root: Root, key: str, grant: Grant) -> Manifest:
        """The manifest, which is in the bucket afterwards."""
        if await self._has(key, root.manifest_size):
            try:
                return await asyncio.to_thread(verified_manifest, root, await self._bucket.read(key))
            except Corrupt:
                log.warning("manifest_decayed", key=key)
                await self._bucket.delete(key)
        with _Lane(root.manifest_size) as lane:
            encoded = bytes(await lane.read(grant, 0, root.manifest_size))
        manifest = await asyncio.to_thread(verified_manifest, root, encoded)
        await self._bucket.put(key, encoded)
        return manifest

    async def _content(self, root: Root, key: str, grant: Grant, manifest: Manifest, progress: Callable[[int], None]) -> None:
        upload, received = await self._resumed(root, key)
        plan = CopyPlan(manifest, self._bucket.part_bytes)
        receipts = {number: receipt for number, receipt in received.items() if receipt.size == plan.size_of(number)}
        progress(_bytes_of(receipts))
        missing = [number for number in range(1, plan.parts + 1) if number not in receipts]
        next_missing = iter(missing)

        async def copy_parts() -> None:
            with _Lane(plan.span_bytes_max) as lane:
                for number in next_missing:
                    part = await lane.read_part(grant, plan, number)
                    receipts[number] = await self._bucket.write_part(key, upload, number, part)
                    progress(_bytes_of(receipts))

        try:
            await _together(copy_parts() for _ in range(min(len(missing), COPY_PARTS_AT_ONCE_MAX)))
        except NotFound:
            if await self._has(key, root.content_size):
                return  # another copier went on with the same upload, and was faster
            raise
        try:
            await self._bucket.complete(key, upload, [receipts[number] for number in sorted(receipts)])
        except Invalid:
            await self._bucket.abort(key, upload)  # what it holds is not what we gave it: begin anew the next time
            raise
        await self._notes.delete(NOTES_PREFIX + root.digest)

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


class _Lane:
    """One connection to the source and one buffer: reads one thing at a time."""

    def __init__(self, buffer_bytes: int) -> None:
        self._connection = GrantConnection(timeout_s=COPY_STALL_S_MAX)
        self._buffer = memoryview(bytearray(buffer_bytes))
        self._lock = threading.Lock()
        self._reading = False
        self._left = False

    def __enter__(self) -> _Lane:
        return self

    def __exit__(self, *_exc: object) -> None:
        with self._lock:
            self._left = True
            if not self._reading:
                self._connection.close()

    async def read(self, grant: Grant, offset: int, length: int) -> memoryview:
        """These bytes of the source; good until the next read."""
        view = self._buffer[:length]
        await self._in_thread(lambda: self._connection.read_into(grant, offset, view))
        return view

    async def read_part(self, grant: Grant, plan: CopyPlan, number: int) -> memoryview:
        """One part of the content, verified. Raises :class:`Corrupt`."""
        span = plan.span_of(number)
        view = self._buffer[: span.end - span.start]

        def read_and_verify() -> None:
            self._connection.read_into(grant, span.start, view)
            for chunk in plan.chunks_in(span):
                if blake3(view[chunk.start : chunk.end]).digest() != chunk.blake3:
                    raise Corrupt("corrupt_source", f"chunk {chunk.chunk} of the main store's copy is not what was built")

        await self._in_thread(read_and_verify)
        start = plan.start_of(number) - span.start
        return view[start : start + plan.size_of(number)]

    async def _in_thread(self, read: Callable[[], None]) -> None:
        """As ``asyncio.to_thread``, in a thread that nobody joins: a source that stalls must not hold up the end of the
        process. Whoever is last, the thread or :meth:`__exit__`, closes the connection."""

        def run() -> None:
            try:
                read()
            finally:
                with self._lock:
                    self._reading = False
                    if self._left:
                        self._connection.close()

        with self._lock:
            self._reading = True
        await _in_daemon_thread(run)


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


async def _in_daemon_thread(work: Callable[[], None]) -> None:
    """Run ``work`` in a thread of its own and wait for it. Cancelled, it leaves the thread behind."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as caught:  # whatever it is, it belongs to whoever waits
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=run, daemon=True, name="copy").start()
    await done
