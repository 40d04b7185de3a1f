"""The door to a blob store. Blobs are immutable: a key is written once, whole, and visible only when it is durable.

Large blobs go in by parts (:meth:`BlobStore.begin` to :meth:`BlobStore.complete`) and out by grants; the parts travel
either through the door (a region filling its own bucket) or by a granted URL (a worker filling the main one).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from fleetcast.model.errors import Invalid, NotFound, Unprocessable
from fleetcast.model.limits import BLOB_KEY_BYTES_MAX, BLOB_KEY_PART_BYTES_MAX, BLOB_PARTS_MAX, BLOB_READ_BYTES_MAX
from fleetcast.model.messages.grants import Grant, PartReceipt


@dataclass(frozen=True, slots=True)
class BlobStat:
    key: str
    size: int


@dataclass(frozen=True, slots=True)
class OpenUpload:
    key: str
    id: str


_KEY_PART = re.compile(r"[A-Za-z0-9._-]+")


def check_key(key: str) -> str:
    """Return ``key`` if it is a legal one, raise :class:`Invalid` otherwise. Every engine takes the same keys."""
    parts = key.split("/")
    if len(key) > BLOB_KEY_BYTES_MAX:
        raise Invalid("illegal_key", f"a blob key has at most {BLOB_KEY_BYTES_MAX} bytes, this one {len(key)}: shorten it")
    for part in parts:
        if not _KEY_PART.fullmatch(part) or part in (".", "..") or len(part) > BLOB_KEY_PART_BYTES_MAX:
            raise Invalid(
                "illegal_key",
                f"{key!r} is not a blob key: use parts of A-Z, a-z, 0-9, '.', '_' and '-' with '/' between them, "
                f"none '.', '..', empty or longer than {BLOB_KEY_PART_BYTES_MAX} bytes",
            )
    return key


def readable_length(key: str, size: int, offset: int, length: int | None) -> int:
    """How much one read returns. Raises :class:`Invalid` for a range past the end or beyond ``BLOB_READ_BYTES_MAX``."""
    wanted = size - offset if length is None else length
    if offset < 0 or wanted < 0 or offset + wanted > size:
        raise past_end(key, offset, wanted)
    if wanted > BLOB_READ_BYTES_MAX:
        raise Invalid("range_too_long", f"one read returns at most {BLOB_READ_BYTES_MAX} bytes: read {key} by grant")
    return wanted


def past_end(key: str, offset: int, length: int) -> Invalid:
    return Invalid("range_past_end", f"bytes {offset} to {offset + length} of {key} are not all there: read less")


def checked_size(key: str, part_bytes: int, received: Sequence[PartReceipt], parts: Sequence[PartReceipt]) -> int:
    """The blob's size in bytes. Raises :class:`Invalid` unless ``parts`` are what was received, from 1 without a gap."""
    known = {part.number: part for part in received}
    for expected, part in enumerate(parts, start=1):
        if part.number != expected:
            raise Unprocessable("missing_part", f"part {expected} of {key} is missing: name all parts, from 1, in order")
        if known.get(part.number) != part:
            raise Unprocessable("wrong_part", f"part {part.number} of {key} is not what was received: send it again")
        if part.size > part_bytes:
            raise Unprocessable("long_part", f"part {part.number} of {key} has more than {part_bytes} bytes: send it again")
        if part.size != part_bytes and expected != len(parts):
            raise Unprocessable("short_part", f"part {part.number} of {key} is not the last but short: send it whole")
    return sum(part.size for part in parts)


def check_part(number: int, size: int, part_bytes: int) -> None:
    """Raises :class:`Invalid` for a part that no upload may have."""
    if not 1 <= number <= BLOB_PARTS_MAX or not 0 <= size <= part_bytes:
        raise Invalid("illegal_part", f"part {number} of {size} bytes: at most {BLOB_PARTS_MAX} of {part_bytes}")


def no_upload(upload: str) -> NotFound:
    return NotFound("no_upload", f"there is no open upload {upload[:64]!r}: begin another one")


class BlobReader(Protocol):
    """What one may do with a bucket that others fill.

    Keys are ``/``-separated, of ``A-Za-z0-9._-``, no empty, ``.`` or ``..`` part: :class:`Invalid` otherwise. A bucket that
    cannot be reached or used is :class:`Unavailable`.
    """

    async def stat(self, key: str) -> BlobStat | None:
        """``None``: no such blob."""
        ...

    async def read(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """At most ``BLOB_READ_BYTES_MAX`` bytes. Raises :class:`NotFound`; a range past the end is :class:`Invalid`."""
        ...

    async def read_grant(self, key: str, *, lifetime_s: int) -> Grant:
        """A GET that honours one ``Range: bytes=a-b``; a data port's is a HEAD too. Does not look whether the blob exists."""
        ...


class BlobStore(BlobReader, Protocol):
    """A bucket to write into as well. No key may be another's beginning up to a ``/`` (``a`` and ``a/b``)."""

    part_bytes: int
    """Size of every part of an upload but the last."""

    async def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer``, of any size, with what the blob has from ``offset`` on. Raises as :meth:`read`, after which the
        buffer's contents mean nothing; a caller that is cancelled leaves it to a thread that may still write into it."""
        ...

    async def put(self, key: str, data: bytes) -> None:
        """Write a small blob whole. Writing an existing key again is allowed only with the same size (a repeat), else
        :class:`Conflict`."""
        ...

    async def begin(self, key: str) -> str:
        """Open an upload; returns its id. Two uploads of one key may be open; the first completed wins.

        One that got no part for ``BLOB_UPLOAD_IDLE_S_MAX`` may be dropped."""
        ...

    async def write_part(self, key: str, upload: str, number: int, data: memoryview) -> PartReceipt:
        """Parts are numbered from 1, each ``part_bytes`` long but the last; one may be written again.

        Raises :class:`NotFound` for an upload that never was or was dropped, :class:`Invalid` for a number or a size beyond
        the bounds. Not all stores look whether it was completed: then the same part again harms nothing, another one is
        refused or damages the blob, which whoever reads it finds out."""
        ...

    async def parts(self, key: str, upload: str) -> tuple[PartReceipt, ...]:
        """What an open upload holds, by number. Raises :class:`NotFound` for an unknown upload."""
        ...

    async def part_grant(self, key: str, upload: str, number: int, size: int, *, lifetime_s: int) -> Grant:
        """A PUT for one part of at most ``size`` bytes, which a store that cannot look at that finds out at the completion. The
        answer's ``ETag`` header belongs into the receipt."""
        ...

    async def complete(self, key: str, upload: str, parts: Sequence[PartReceipt]) -> BlobStat:
        """Make the blob of exactly these parts (from 1, without a gap) visible and durable; others are dropped.

        Safe to repeat: a completed upload answers with its blob. No parts make an empty blob.

        Raises:
            Invalid: parts are missing or differ from what was received.
            NotFound: no such upload, and no such blob.
        """
        ...

    async def abort(self, key: str, upload: str) -> None:
        """Drop an open upload; nothing happens when it is gone."""
        ...

    async def uploads(self, prefix: str) -> tuple[OpenUpload, ...]:
        """Every upload of a key that starts with ``prefix`` that is neither completed nor dropped, in no order."""
        ...

    async def delete(self, key: str) -> None:
        """Nothing happens when it is gone."""
        ...

    def list(self, prefix: str) -> AsyncIterator[BlobStat]:
        """Every blob whose key starts with ``prefix``, in key order."""
        ...
