"""A bucket of an S3-compatible store behind the blob door. What is there is whole and durable: that is the store's promise.

Grants are presigned URLs: workers and regions reach the store themselves, and no byte of theirs passes this process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from fleetcast.model.errors import Invalid
from fleetcast.model.limits import BLOB_PART_BYTES, BLOB_READ_BYTES_MAX, S3_CONNECTIONS_MAX, S3_PAGE
from fleetcast.model.messages.grants import Grant, PartReceipt
from fleetcast.stores.blob_files import no_blob
from fleetcast.stores.blobs import BlobStat, BlobStore, OpenUpload, check_key, check_part, past_end, readable_length
from fleetcast.stores.s3_lanes import Lanes
from fleetcast.stores.s3_objects import S3Objects

T = TypeVar("T")
_LOOK_GRANT_S = 60


class S3Blobs(BlobStore):
    """Several processes may use the same bucket. ``part_bytes``: a store takes none below 5 MiB but the last."""

    def __init__(self, objects: S3Objects, lanes: Lanes, *, part_bytes: int = BLOB_PART_BYTES) -> None:
        self.part_bytes = part_bytes
        self._objects = objects
        self._lanes = lanes
        self._threads = ThreadPoolExecutor(S3_CONNECTIONS_MAX, thread_name_prefix="s3")

    def close(self) -> None:
        """What is under way goes on to its end, which has a bound."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def stat(self, key: str) -> BlobStat | None:
        return await self._in_thread(lambda: self._objects.stat(key))

    async def read(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        return await self._in_thread(lambda: self._read(key, offset, length))

    async def read_grant(self, key: str, *, lifetime_s: int) -> Grant:
        return await self._in_thread(lambda: self._objects.read_grant(key, lifetime_s))

    async def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        check_key(key)
        await self._in_thread(lambda: self._read_into(key, offset, buffer))

    async def put(self, key: str, data: bytes) -> None:
        if len(data) > BLOB_READ_BYTES_MAX:
            raise Invalid("blob_too_large", f"{key} has more than {BLOB_READ_BYTES_MAX} bytes: upload it by parts")
        await self._in_thread(lambda: self._objects.put(key, data))

    async def begin(self, key: str) -> str:
        return await self._in_thread(lambda: self._objects.begin(key))

    async def write_part(self, key: str, upload: str, number: int, data: memoryview) -> PartReceipt:
        check_part(number, len(data), self.part_bytes)
        return await self._in_thread(lambda: self._write_part(key, upload, number, data))

    async def parts(self, key: str, upload: str) -> tuple[PartReceipt, ...]:
        return await self._in_thread(lambda: self._objects.parts(key, upload))

    async def part_grant(self, key: str, upload: str, number: int, size: int, *, lifetime_s: int) -> Grant:
        check_key(key)
        check_part(number, size, self.part_bytes)
        return await self._in_thread(lambda: self._objects.part_grant(key, upload, number, lifetime_s))

    async def complete(self, key: str, upload: str, parts: Sequence[PartReceipt]) -> BlobStat:
        return await self._in_thread(lambda: self._objects.complete(key, upload, parts, self.part_bytes))

    async def abort(self, key: str, upload: str) -> None:
        await self._in_thread(lambda: self._objects.abort(key, upload))

    async def uploads(self, prefix: str) -> tuple[OpenUpload, ...]:
        return await self._in_thread(lambda: self._objects.uploads(prefix))

    async def delete(self, key: str) -> None:
        await self._in_thread(lambda: self._objects.delete(key))

    async def list(self, prefix: str) -> AsyncIterator[BlobStat]:
        found = self._objects.walk(prefix)
        while batch := await self._in_thread(lambda: tuple(islice(found, S3_PAGE))):
            for blob in batch:
                yield blob

    def _read(self, key: str, offset: int, length: int | None) -> bytes:
        there = self._objects.stat(key)
        if there is None:
            raise no_blob(key)
        data = bytearray(readable_length(key, there.size, offset, length))
        self._read_into(key, offset, memoryview(data))
        return bytes(data)

    def _read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        if offset < 0:
            raise past_end(key, offset, len(buffer))
        with self._lanes.borrow() as lane:
            lane.connection.read_into(self._objects.read_grant(key, _LOOK_GRANT_S), offset, buffer)

    def _write_part(self, key: str, upload: str, number: int, data: memoryview) -> PartReceipt:
        with self._lanes.borrow() as lane:
            etag = lane.connection.write(self._objects.part_grant(key, upload, number, _LOOK_GRANT_S), data)
        return PartReceipt(number=number, size=len(data), etag=etag)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)
