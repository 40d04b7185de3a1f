"""Looking into a bucket that another process owns, through its data port. So control sees for itself what a region has."""

from __future__ import annotations

import asyncio
import time

from fleetcast.model.errors import NotFound
from fleetcast.model.limits import DATA_PORT_LOOK_LIFETIME_S, DATA_PORT_LOOK_S_MAX
from fleetcast.model.messages.grants import Grant
from fleetcast.stores.blobs import BlobReader, BlobStat, check_key, readable_length
from fleetcast.stores.data_grants import grant_read
from fleetcast.stores.transfer import GrantConnection


class DataPortBlobs(BlobReader):
    """The bucket behind ``data_url``, whose port knows ``data_key``. :class:`Unavailable` while it cannot be reached."""

    def __init__(self, data_url: str, data_key: bytes) -> None:
        self._data_url = data_url
        self._data_key = data_key

    async def stat(self, key: str) -> BlobStat | None:
        return await asyncio.to_thread(self._stat, key)

    async def read(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        return await asyncio.to_thread(self._read, key, offset, length)

    async def read_grant(self, key: str, *, lifetime_s: int) -> Grant:
        return self._grant(key, lifetime_s)

    def _stat(self, key: str) -> BlobStat | None:
        grant = self._grant(key, DATA_PORT_LOOK_LIFETIME_S)
        # A connection a look: looks are rare, and keeping one would tie up a thread's worth of the port.
        with GrantConnection(timeout_s=DATA_PORT_LOOK_S_MAX) as connection:
            try:
                return BlobStat(key, connection.size(grant))
            except NotFound:
                return None

    def _read(self, key: str, offset: int, length: int | None) -> bytes:
        grant = self._grant(key, DATA_PORT_LOOK_LIFETIME_S)
        with GrantConnection(timeout_s=DATA_PORT_LOOK_S_MAX) as connection:
            data = bytearray(readable_length(key, connection.size(grant), offset, length))
            connection.read_into(grant, offset, memoryview(data))
        return bytes(data)

    def _grant(self, key: str, lifetime_s: int) -> Grant:
        return grant_read(self._data_url, self._data_key, check_key(key), round((time.time() + lifetime_s) * 1000))
