"""The embedded blob store: a directory whose blobs survive a power failure, with a data port in front for everybody else."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from itertools import islice
from pathlib import Path

from fleetcast.model.errors import Invalid
from fleetcast.model.limits import BLOB_PART_BYTES, BLOB_READ_BYTES_MAX
from fleetcast.model.messages.grants import Grant, PartReceipt
from fleetcast.stores.blob_files import BlobFiles, disk_errors
from fleetcast.stores.blobs import BlobStat, BlobStore, OpenUpload, check_key, check_part, past_end, readable_length
from fleetcast.stores.data_grants import GrantedPart, grant_part, grant_read
from fleetcast.stores.upload_files import UploadFiles

_LIST_BATCH = 1000


class DirectoryBlobs(BlobStore):
    """A bucket in ``root``, made if need be. Several processes may open the same one.

    ``data_url`` and ``data_key`` are those of the :class:`DataPort` that serves it: grants lead there.
    """

    def __init__(self, root: Path, *, data_url: str, data_key: bytes, part_bytes: int = BLOB_PART_BYTES) -> None:
        if not 1 <= part_bytes <= BLOB_PART_BYTES:
            raise Invalid("illegal_part_size", f"parts must have 1 to {BLOB_PART_BYTES} bytes, not {part_bytes}")
        self.part_bytes = part_bytes
        self._data_url = data_url
        self._data_key = data_key
        self._files = BlobFiles(root)
        self._files.prepare()
        self._uploads = UploadFiles(self._files)

    async def stat(self, key: str) -> BlobStat | None:
        return await asyncio.to_thread(self._files.stat, key)

    async def read(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        return await asyncio.to_thread(self._read, key, offset, length)

    async def read_grant(self, key: str, *, lifetime_s: int) -> Grant:
        return grant_read(self._data_url, self._data_key, check_key(key), _expiry_ms(lifetime_s))

    async def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        await asyncio.to_thread(self._read_into, key, offset, buffer)

    async def put(self, key: str, data: bytes) -> None:
        if len(data) > BLOB_READ_BYTES_MAX:
            raise Invalid("blob_too_large", f"{key} has more than {BLOB_READ_BYTES_MAX} bytes: upload it by parts")
        await asyncio.to_thread(self._files.put, key, data)

    async def begin(self, key: str) -> str:
        return await asyncio.to_thread(self._uploads.begin, key, self.part_bytes)

    async def write_part(self, key: str, upload: str, number: int, data: memoryview) -> PartReceipt:
        def write() -> PartReceipt:
            self._uploads.check(key, upload)
            return self._uploads.write_part(upload, number, data)

        return await asyncio.to_thread(write)

    async def parts(self, key: str, upload: str) -> tuple[PartReceipt, ...]:
        return (await asyncio.to_thread(self._uploads.record_of, key, upload)).parts

    async def part_grant(self, key: str, upload: str, number: int, size: int, *, lifetime_s: int) -> Grant:
        check_key(key)
        check_part(number, size, self.part_bytes)
        return grant_part(self._data_url, self._data_key, GrantedPart(upload, number, size), _expiry_ms(lifetime_s))

    async def complete(self, key: str, upload: str, parts: Sequence[PartReceipt]) -> BlobStat:
        return await asyncio.to_thread(self._uploads.complete, key, upload, parts)

    async def abort(self, key: str, upload: str) -> None:
        await asyncio.to_thread(self._uploads.abort, key, upload)

    async def uploads(self, prefix: str) -> tuple[OpenUpload, ...]:
        return await asyncio.to_thread(self._uploads.open_ones, prefix)

    async def delete(self, key: str) -> None:
        await asyncio.to_thread(self._files.delete, key)

    async def list(self, prefix: str) -> AsyncIterator[BlobStat]:
        found = self._files.walk(prefix)
        while batch := await asyncio.to_thread(lambda: tuple(islice(found, _LIST_BATCH))):
            for blob in batch:
                yield blob

    def _read(self, key: str, offset: int, length: int | None) -> bytes:
        with self._files.open(key) as file, disk_errors(f"read {key}"):
            size = os.fstat(file.fileno()).st_size
            wanted = readable_length(key, size, offset, length)
            data = bytearray(wanted)
            return bytes(data[: _filled(file.fileno(), offset, memoryview(data))])

    def _read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        with self._files.open(key) as file, disk_errors(f"read {key}"):
            if offset < 0 or _filled(file.fileno(), offset, buffer) < len(buffer):
                raise past_end(key, offset, len(buffer))


def _filled(handle: int, offset: int, buffer: memoryview) -> int:
    """Read into ``buffer`` what there is. Returns how much that was."""
    done = 0
    while done < len(buffer) and (count := os.preadv(handle, [buffer[done:]], offset + done)):
        done += count
    return done


def _expiry_ms(lifetime_s: int) -> int:
    return round((time.time() + lifetime_s) * 1000)
