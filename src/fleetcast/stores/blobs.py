"""The door to a blob store. Blobs are immutable: a key is written once, whole, and visible only when it is durable.

Large blobs go in by parts (:meth:`BlobStore.begin` to :meth:`BlobStore.complete`) and out by grants; the parts travel
either through the door (a region filling its own bucket) or by a granted URL (a worker filling the main one).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from fleetcast.model.messages.grants import Grant, PartReceipt


@dataclass(frozen=True, slots=True)
class BlobStat:
    key: str
    size: int


class BlobStore(Protocol):
    """Keys are ``/``-separated, of ``A-Za-z0-9._-``, no empty, ``.`` or ``..`` part: :class:`Invalid` otherwise."""

    part_bytes: int
    """Size of every part of an upload but the last."""

    async def stat(self, key: str) -> BlobStat | None:
        """``None``: no such blob."""
        ...

    async def read(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """At most ``BLOB_READ_BYTES_MAX`` bytes. Raises :class:`NotFound`; a range past the end is :class:`Invalid`."""
        ...

    async def put(self, key: str, data: bytes) -> None:
        """Write a small blob whole. Writing an existing key again is allowed only with the same size (a repeat), else
        :class:`Conflict`."""
        ...

    async def begin(self, key: str) -> str:
        """Open an upload; returns its id. Two uploads of one key may be open; the first completed wins."""
        ...

    async def write_part(self, key: str, upload: str, number: int, data: memoryview) -> PartReceipt:
        """Parts are numbered from 1, each ``part_bytes`` long but the last; one may be written again."""
        ...

    async def parts(self, key: str, upload: str) -> tuple[PartReceipt, ...]:
        """What an open upload holds, durable or not. Raises :class:`NotFound` for an unknown upload."""
        ...

    async def part_grant(self, key: str, upload: str, number: int, size: int, *, lifetime_s: int) -> Grant:
        """A PUT for one part. The answer's ``ETag`` header belongs into the receipt."""
        ...

    async def complete(self, key: str, upload: str, parts: Sequence[PartReceipt]) -> BlobStat:
        """Make the blob visible and durable. Safe to repeat: a completed upload answers with its blob.

        Raises:
            Invalid: parts are missing or differ from what was received.
            NotFound: no such upload, and no such blob.
        """
        ...

    async def abort(self, key: str, upload: str) -> None:
        """Drop an open upload; nothing happens when it is gone."""
        ...

    async def read_grant(self, key: str, *, lifetime_s: int) -> Grant:
        """A GET (also usable as HEAD) that honours one ``Range: bytes=a-b``. Does not look whether the blob exists."""
        ...

    async def delete(self, key: str) -> None:
        """Nothing happens when it is gone."""
        ...

    def list(self, prefix: str) -> AsyncIterator[BlobStat]:
        """Every blob whose key starts with ``prefix``, in key order."""
        ...
