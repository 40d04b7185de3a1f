"""Uploads in a directory, synchronously: parts arrive in any order, and the blob appears when it is whole.

An upload is two files in ``<root>/uploads``: ``<id>`` takes the bytes, each part at its final place; ``<id>.parts`` says
which key it is for and, a line a part, what arrived. A line is written after its bytes are on disk, so whatever is killed,
and even if the power goes, a listed part is there.

Who changes an upload holds the lock of its data file and has looked that it is still open: its record exists and its bytes
have no other name. So a late writer, even one of another process, can never touch bytes that became a blob.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from blake3 import blake3

from fleetcast.model.errors import Invalid, NotFound
from fleetcast.model.limits import BLOB_PARTS_MAX, BLOB_UPLOAD_IDLE_S_MAX
from fleetcast.model.messages.grants import PartReceipt
from fleetcast.stores.blob_files import BlobFiles, disk_errors, no_blob, sync_directory, write_all
from fleetcast.stores.blobs import BlobStat, OpenUpload, check_key, checked_size, no_upload

_ID = re.compile(r"[0-9a-f]{32}")
_HEAD = re.compile(r"upload 1 (?P<part_bytes>[0-9]+) (?P<key>\S+)")
_LINE = re.compile(r"(?P<number>[0-9]+) (?P<size>[0-9]+) (?P<etag>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class UploadHead:
    key: str
    part_bytes: int


@dataclass(frozen=True, slots=True)
class UploadRecord:
    head: UploadHead
    parts: tuple[PartReceipt, ...]
    """By number; of one written twice the last."""


class UploadFiles:
    """The open uploads of one bucket. Safe to use from many threads and processes; every call may block on the disk."""

    def __init__(self, files: BlobFiles) -> None:
        self._files = files
        self._directory = files.uploads

    def begin(self, key: str, part_bytes: int) -> str:
        """A new upload's id. Drops uploads that nobody has written to for ``BLOB_UPLOAD_IDLE_S_MAX``."""
        check_key(key)
        self._drop_forgotten()
        upload = secrets.token_hex(16)
        with disk_errors(f"begin an upload in {self._directory}"):
            (self._directory / upload).touch(exist_ok=False)
            with open(self._record_path(upload), "x", encoding="ascii") as record:
                record.write(f"upload 1 {part_bytes} {key}\n")
                record.flush()
                os.fsync(record.fileno())
            sync_directory(self._directory)
        return upload

    def head(self, upload: str) -> UploadHead:
        """What an open upload is for; as quick with many parts as with none. Raises :class:`NotFound`."""
        with self._opened(upload) as record:
            return _head(upload, record.readline())

    def record(self, upload: str) -> UploadRecord:
        """What an open upload is for and holds. Raises :class:`NotFound`."""
        with self._opened(upload) as record:
            first, *lines = record.read().splitlines() or [""]
        head = _head(upload, first)
        received: dict[int, PartReceipt] = {}
        for line in lines:
            # A line cut short by a power failure does not match: that part is sent again.
            if match := _LINE.fullmatch(line):
                number = int(match["number"])
                received[number] = PartReceipt(number=number, size=int(match["size"]), etag=match["etag"])
        parts = tuple(received[number] for number in sorted(received))
        return UploadRecord(head, parts)

    def open_ones(self, prefix: str) -> tuple[OpenUpload, ...]:
        """Every open upload whose key starts with ``prefix``, in no order."""
        found = []
        with disk_errors(f"list {self._directory}"):
            for path in self._directory.glob("*.parts"):
                with suppress(NotFound):  # completed or dropped meanwhile
                    found.append(OpenUpload(self.head(path.stem).key, path.stem))
        return tuple(upload for upload in found if upload.key.startswith(prefix))

    def record_of(self, key: str, upload: str) -> UploadRecord:
        """As :meth:`record`; an upload of another key is :class:`NotFound` too."""
        self.check(key, upload)
        return self.record(upload)

    def check(self, key: str, upload: str) -> None:
        """Raises :class:`NotFound` unless it is open, and ``key``'s."""
        if self.head(upload).key != check_key(key):
            raise no_upload(upload)

    def write_part(self, upload: str, number: int, data: memoryview) -> PartReceipt:
        """Put one whole part at its place. Raises :class:`NotFound`, :class:`Invalid`."""
        part_bytes = self.head(upload).part_bytes
        if not 1 <= number <= BLOB_PARTS_MAX:
            raise Invalid("illegal_part", f"part {number} is none of 1 to {BLOB_PARTS_MAX}: use larger parts")
        if len(data) > part_bytes:
            raise Invalid("illegal_part", f"part {number} has {len(data)} bytes: at most {part_bytes} are allowed")
        receipt = PartReceipt(number=number, size=len(data), etag=blake3(data).hexdigest())
        with disk_errors(f"write part {number} of upload {upload}"), self._locked(upload) as handle:
            write_all(handle, data, (number - 1) * part_bytes)
            os.fdatasync(handle)
            # The newline in front ends a line that a power failure cut short.
            self._append(upload, f"\n{number} {receipt.size} {receipt.etag}\n")
        return receipt

    def complete(self, key: str, upload: str, parts: Sequence[PartReceipt]) -> BlobStat:
        """As :meth:`BlobStore.complete`."""
        try:
            self.check(key, upload)
            with disk_errors(f"complete upload {upload}"), self._locked(upload) as handle:
                size = self._checked(upload, parts)
                os.ftruncate(handle, size)
                os.fsync(handle)
                self._files.publish(self._directory / upload, key)
                self._drop(upload)
        except NotFound:
            # Completed before, perhaps by somebody who was killed on the way out.
            there = self._files.stat(key)
            if there is None:
                raise
            return there
        there = self._files.stat(key)
        if there is None:  # deleted in this very moment
            raise no_blob(key)
        return there

    def _checked(self, upload: str, parts: Sequence[PartReceipt]) -> int:
        record = self.record(upload)
        return checked_size(record.head.key, record.head.part_bytes, record.parts, parts)

    def abort(self, key: str, upload: str) -> None:
        """Nothing happens when it is gone, or is another key's."""
        with suppress(NotFound):
            self.check(key, upload)
            with disk_errors(f"abort upload {upload}"), self._locked(upload):
                self._drop(upload)

    @contextmanager
    def _opened(self, upload: str) -> Iterator[TextIO]:
        """Its record, for reading. Raises :class:`NotFound`."""
        if not _ID.fullmatch(upload):
            raise no_upload(upload)
        with disk_errors(f"read the record of upload {upload}"):
            try:
                with open(self._record_path(upload), encoding="ascii", errors="replace") as record:
                    yield record
            except FileNotFoundError:
                raise no_upload(upload) from None

    @contextmanager
    def _locked(self, upload: str) -> Iterator[int]:
        """The data file, locked and open for changes. Raises :class:`NotFound` when the upload is not open any more."""
        try:
            handle = os.open(self._directory / upload, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise no_upload(upload) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink != 1 or not self._record_path(upload).exists():
                raise no_upload(upload)
            yield handle
        finally:
            os.close(handle)

    def _append(self, upload: str, text: str) -> None:
        handle = os.open(self._record_path(upload), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            if os.write(handle, text.encode("ascii")) < len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(handle)

    def _drop(self, upload: str) -> None:
        """The record first: without it the bytes are nobody's, and an upload is never open again by half."""
        self._record_path(upload).unlink(missing_ok=True)
        (self._directory / upload).unlink(missing_ok=True)

    def _drop_forgotten(self) -> None:
        oldest = time.time() - BLOB_UPLOAD_IDLE_S_MAX
        with disk_errors(f"look for forgotten uploads in {self._directory}"):
            for path in self._directory.iterdir():
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < oldest:
                        # Data and record of an upload age together; anything else here was left by a crash.
                        path.unlink()

    def _record_path(self, upload: str) -> Path:
        return self._directory / f"{upload}.parts"


def _head(upload: str, line: str) -> UploadHead:
    head = _HEAD.fullmatch(line.rstrip("\n"))
    if head is None:
        raise no_upload(upload)
    return UploadHead(key=head["key"], part_bytes=int(head["part_bytes"]))
