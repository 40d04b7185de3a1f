"""All blobs of one store into another one, of whichever engines. Nothing of the first is changed.

A blob is read once, a part at a time, hashed on its way, and read back from where it was written. It is visible there only when
it is whole, so whoever was killed begins again: what is there and has the right bytes stays.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from fleetcast.model.errors import Corrupt, Refused
from fleetcast.model.limits import MIGRATE_BLOBS_AT_ONCE
from fleetcast.model.messages.grants import PartReceipt
from fleetcast.stores.blobs import BlobStat, BlobStore

Tell = Callable[[BlobStat], None]
"""Hears of each blob that is there and verified."""


@dataclass(frozen=True, slots=True)
class Amount:
    blobs: int = 0
    size_bytes: int = 0

    def plus(self, blob: BlobStat) -> Amount:
        return Amount(self.blobs + 1, self.size_bytes + blob.size)


@dataclass(frozen=True, slots=True)
class Compared:
    """Two stores by their lists."""

    wanted: Amount
    """What the first one has."""
    missing: Amount
    """What of it the second one has not got."""


async def compare(source: BlobStore, target: BlobStore) -> Compared:
    """Raises :class:`Refused` where ``target`` has a blob that ``source`` has not, or has with another size."""
    wanted = missing = Amount()
    others = target.list("")
    other = await anext(others, None)
    async for blob in source.list(""):
        wanted = wanted.plus(blob)
        if other is None or blob.key < other.key:
            missing = missing.plus(blob)
        elif blob == other:
            other = await anext(others, None)
        else:
            raise _foreign(other)
    if other is not None:
        raise _foreign(other)
    return Compared(wanted, missing)


async def copy_blobs(source: BlobStore, target: BlobStore, tell: Tell) -> None:
    """Until each is in ``target``, which nobody else may be writing into, and was read there. ``MIGRATE_BLOBS_AT_ONCE`` at a
    time, each with one part in memory.

    Raises:
        Refused: there is another blob of that name.
        Corrupt: what was written is not what is read there; it is deleted again.
        Unavailable: a store cannot be used. What is copied by then stays.
    """
    for left in await target.uploads(""):  # of somebody who was killed
        await target.abort(left.key, left.id)
    free = asyncio.Semaphore(MIGRATE_BLOBS_AT_ONCE)

    async def one(blob: BlobStat) -> None:
        try:
            await _copy(source, target, blob)
        finally:
            free.release()
        tell(blob)

    try:
        async with asyncio.TaskGroup() as tasks:
            async for blob in source.list(""):
                await free.acquire()
                tasks.create_task(one(blob))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _copy(source: BlobStore, target: BlobStore, blob: BlobStat) -> None:
    there, part_bytes = await target.stat(blob.key), target.part_bytes
    if there is not None:
        if there.size != blob.size or await _digest(target, part_bytes, blob) != await _digest(source, part_bytes, blob):
            raise Refused(
                "another_blob", f"the new store has another {blob.key}: use a store of its own, or delete that one there"
            )
        return
    digest = await _write(source, target, blob)
    if await _digest(target, part_bytes, blob) != digest:
        await target.delete(blob.key)
        raise Corrupt("damaged_copy", f"the new store does not give back what was written as {blob.key}: look at its disks")


async def _write(source: BlobStore, target: BlobStore, blob: BlobStat) -> bytes:
    """Returns the digest of what was read."""
    digest, upload = hashlib.sha256(), await target.begin(blob.key)
    receipts: list[PartReceipt] = []
    try:
        async for part in _parts(source, target.part_bytes, blob):
            await asyncio.to_thread(digest.update, part)
            receipts.append(await target.write_part(blob.key, upload, len(receipts) + 1, part))
        await target.complete(blob.key, upload, receipts)
    except BaseException:
        await target.abort(blob.key, upload)
        raise
    return digest.digest()


async def _digest(store: BlobStore, part_bytes: int, blob: BlobStat) -> bytes:
    digest = hashlib.sha256()
    async for part in _parts(store, part_bytes, blob):
        await asyncio.to_thread(digest.update, part)
    return digest.digest()


async def _parts(store: BlobStore, part_bytes: int, blob: BlobStat) -> AsyncIterator[memoryview]:
    """Each is good until the next one is asked for."""
    buffer = memoryview(bytearray(min(part_bytes, blob.size)))
    for offset in range(0, blob.size, part_bytes):
        part = buffer[: min(part_bytes, blob.size - offset)]
        await store.read_into(blob.key, offset, part)
        yield part


def _foreign(blob: BlobStat) -> Refused:
    return Refused(
        "not_empty",
        f"the new store has something that the one of now has not, {blob.key}: use a store of its own, or one that is empty",
    )
