"""Blobs as files, synchronously: ``<root>/blobs/<key>`` is the blob, and nothing stands there that is not whole.

What is still being written lives in ``<root>/uploads``, on the same file system, and gets its key by a hard link: that is
atomic and, unlike a rename, never replaces a blob that is there already.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from fleetcast.model.errors import Conflict, NotFound, Unavailable
from fleetcast.stores.blobs import BlobStat, check_key

_PUBLISH_ATTEMPTS_MAX = 10


class BlobFiles:
    """One bucket's directory. Safe to use from many threads and processes; every call may block on the disk.

    All raise :class:`Invalid` for an illegal key and :class:`Unavailable` when the disk fails.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uploads = root / "uploads"
        self._blobs = root / "blobs"

    def prepare(self) -> None:
        """Make the directories."""
        with disk_errors(f"make the directories of {self.root}"):
            self._blobs.mkdir(parents=True, exist_ok=True)
            self.uploads.mkdir(exist_ok=True)
            sync_directory(self.root)

    def stat(self, key: str) -> BlobStat | None:
        path = self._path(key)
        with disk_errors(f"look at {path}"):
            try:
                found = path.stat(follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                return None
            return BlobStat(key, found.st_size) if stat.S_ISREG(found.st_mode) else None

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """The blob, unbuffered, for reading; it stays readable when it is deleted meanwhile. Raises :class:`NotFound`."""
        path = self._path(key)
        with disk_errors(f"open {path}"):
            try:
                # A FIFO or a device would block or lie; O_NOFOLLOW keeps to files of this bucket.
                handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    raise
                raise no_blob(key) from None
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                os.close(handle)
                raise no_blob(key)
        with os.fdopen(handle, "rb", buffering=0) as file:
            yield file

    def put(self, key: str, data: bytes) -> None:
        """A whole small blob. Raises :class:`Conflict` when the key has a blob of another size."""
        self._path(key)
        draft = self.uploads / f"put-{secrets.token_hex(16)}"
        try:
            with disk_errors(f"write {draft}"), open(draft, "xb", buffering=0) as file:
                write_all(file.fileno(), memoryview(data), 0)
                os.fsync(file.fileno())
            self.publish(draft, key)
        finally:
            with suppress(OSError):  # never begun, or the disk fails: what is left is dropped with forgotten uploads
                draft.unlink()
        there = self.stat(key)
        if there is not None and there.size != len(data):
            raise Conflict("blob_exists", f"{key} exists with {there.size} bytes, not {len(data)}: blobs are never overwritten")

    def publish(self, source: Path, key: str) -> None:
        """Give ``source``, complete and synced, its key; durable on return. A blob that has the key already stays.

        Raises :class:`Conflict` when another key is the beginning of this one, or the other way round.
        """
        path = self._path(key)
        with disk_errors(f"write {path}"):
            for _ in range(_PUBLISH_ATTEMPTS_MAX):
                try:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    os.link(source, path)
                except (FileExistsError, FileNotFoundError, NotADirectoryError):
                    # Somebody else's blob; or a deletion removed a directory, empty until now, between two steps of ours.
                    if path.is_dir() or any(above.is_file() for above in path.parents):
                        raise _nested_key(key) from None
                    if not path.is_file():
                        continue
                self._sync_up(path.parent)
                return
        raise Unavailable("bucket_busy", f"{key} could not be written: its directory keeps being deleted; try again")

    def delete(self, key: str) -> None:
        path = self._path(key)
        with disk_errors(f"delete {path}"):
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return
            try:
                sync_directory(path.parent)
            except FileNotFoundError:  # the deletion of its last neighbour removed the directory
                self._sync_up(path.parent)
            for directory in path.parents:
                if directory == self._blobs:
                    break
                try:
                    directory.rmdir()
                except OSError:
                    break  # not empty, the usual case

    def walk(self, prefix: str) -> Iterator[BlobStat]:
        """Every blob whose key starts with ``prefix``, in key order. ``prefix`` need not be a legal key."""
        with disk_errors(f"list {self._blobs}"):
            yield from self._walk(self._blobs, "", prefix)

    def _walk(self, directory: Path, above: str, prefix: str) -> Iterator[BlobStat]:
        found: list[tuple[str, int | None]] = []
        with suppress(FileNotFoundError), os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    found.append((f"{above}{entry.name}/", None))
                elif entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):
                        found.append((above + entry.name, entry.stat(follow_symlinks=False).st_size))
        # A directory sorts by its name with the slash, as the keys inside it do: "a-b" comes before "a/b".
        for key, size in sorted(found):
            if size is None:
                if key.startswith(prefix) or prefix.startswith(key):
                    yield from self._walk(self._blobs / key, key, prefix)
            elif key.startswith(prefix):
                yield BlobStat(key, size)

    def _path(self, key: str) -> Path:
        return self._blobs / check_key(key)

    def _sync_up(self, directory: Path) -> None:
        """All the way to the top: who made a directory on the path may have died before it synced the one above."""
        while directory != self.root:
            with suppress(FileNotFoundError):  # deleted meanwhile, and the blob with it
                sync_directory(directory)
            directory = directory.parent


def sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_all(handle: int, data: memoryview, offset: int) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(handle, data[written:], offset + written)


@contextmanager
def disk_errors(action: str) -> Iterator[None]:
    """Turns what the operating system says into :class:`Unavailable`."""
    try:
        yield
    except OSError as error:
        message = f"cannot {action}: {error.strerror}: look after the disk and its permissions, then try again"
        raise Unavailable("bucket_unusable", message) from error


def no_blob(key: str) -> NotFound:
    return NotFound("no_blob", f"there is no blob {key}: check the key, or wait until it is uploaded")


def _nested_key(key: str) -> Conflict:
    return Conflict("nested_key", f"{key} and another blob's key are each other's beginning: use another key")
