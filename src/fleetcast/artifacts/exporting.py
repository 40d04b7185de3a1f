"""Taking an artifact out of the system: as a directory, or as a tar. What is not whole never has the name asked for."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from fleetcast.artifacts.entries import Entry, EntryKind
from fleetcast.artifacts.extents import Extents
from fleetcast.artifacts.manifest import Manifest
from fleetcast.artifacts.tree import TreeFiles, lay_out, remove_tree, seal
from fleetcast.model.errors import FleetcastError, Refused

WRITE_BUFFER_BYTES: Final = 1 << 20
"""Of a tar: what collects headers and small files. Larger pieces go past it."""


def check_target(target: Path) -> None:
    """Raises :class:`Refused` where something is in the way that may be somebody's, or there is no place for it."""
    try:
        if target.is_dir() and any(target.iterdir()):
            raise Refused("target_not_empty", f"{target} is not empty: name a new directory, or empty it")
        if target.is_file() and target.stat().st_size:
            raise Refused("target_not_empty", f"{target} exists already: name a new file, or remove it")
    except OSError as error:
        raise _refused(target, error) from None
    if not target.parent.is_dir():
        raise Refused("no_directory", f"there is no directory {target.parent}: make it first")


def to_directory(manifest: Manifest, content: Iterable[memoryview], target: Path) -> None:
    """Make ``target`` (absent or empty) a directory with the artifact's files, 0644 or 0755, and its links.

    ``content`` is the artifact's content in order. Its errors pass through; after any error there is nothing left.

    Raises:
        Refused: ``target`` is taken, or the disk is full or does not let us.
    """
    check_target(target)
    if target.exists() and not target.is_dir():
        raise Refused("target_not_empty", f"{target} is no directory: name a new one, or remove it")
    with _draft(target) as draft:
        lay_out(manifest, draft)
        with TreeFiles(Extents(manifest.entries), draft, writable=True) as files:
            offset = 0
            for piece in content:
                files.write(offset, piece)
                offset += len(piece)
        seal(manifest, draft, owner_writes=True)


def to_tar_file(manifest: Manifest, content: Iterable[memoryview], target: Path) -> None:
    """The same as a tar in the file ``target``. What is no plain file (a pipe, a device) is written to as it is."""
    check_target(target)
    if target.is_dir():
        raise Refused("target_not_empty", f"{target} is a directory: name a file")
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        with _disk_errors(target), open(target, "wb", buffering=WRITE_BUFFER_BYTES) as out:
            to_tar(manifest, content, out)
        return
    with _draft(target) as draft, open(draft, "xb", buffering=WRITE_BUFFER_BYTES) as out:
        to_tar(manifest, content, out)
        out.flush()
        os.fsync(out.fileno())


def to_tar(manifest: Manifest, content: Iterable[memoryview], out: BinaryIO) -> None:
    """Write a tar (pax, with no times or owners: equal artifacts give equal bytes) to ``out``.

    Raises:
        OSError: ``out`` does.
    """
    pieces = _Pieces(content)
    written = 0
    for entry in manifest.entries:
        written += out.write(_header(entry))
        for piece in pieces.take(entry.size):
            written += out.write(piece)
        written += out.write(bytes(-entry.size % tarfile.BLOCKSIZE))
    out.write(bytes(2 * tarfile.BLOCKSIZE))
    out.write(bytes(-(written + 2 * tarfile.BLOCKSIZE) % tarfile.RECORDSIZE))
    out.flush()


class _Pieces:
    """A content cut where files end."""

    def __init__(self, content: Iterable[memoryview]) -> None:
        self._content = iter(content)
        self._rest = memoryview(b"")

    def take(self, size: int) -> Iterator[memoryview]:
        """The next ``size`` bytes; each piece is good until the next."""
        while size:
            if not len(self._rest):
                self._rest = next(self._content)
            piece, self._rest = self._rest[:size], self._rest[size:]
            size -= len(piece)
            yield piece


def _header(entry: Entry) -> bytes:
    info = tarfile.TarInfo(os.fsdecode(entry.path))
    info.mode = 0o644 if entry.kind is EntryKind.FILE else 0o755
    info.size = entry.size
    match entry.kind:
        case EntryKind.DIRECTORY:
            info.type = tarfile.DIRTYPE
        case EntryKind.SYMLINK:
            info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, os.fsdecode(entry.target)
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """A name beside the target, which takes the target's at the end of the block, and is removed when that fails."""
    target = target.resolve()
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with _disk_errors(target):
            yield draft
            draft.replace(target)
            _sync(target.parent)
    except BaseException:
        if draft.is_dir():
            remove_tree(draft)
        else:
            draft.unlink(missing_ok=True)
        raise


@contextmanager
def _disk_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _refused(target, error) from None
    except FleetcastError as error:
        if isinstance(error.__cause__, OSError):  # laying out says what a machine would be told
            raise _refused(target, error.__cause__) from None
        raise


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # some file systems do not sync directories
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(target: Path, error: OSError) -> Refused:
    return Refused(
        "cannot_write", f"cannot write {target}: {error.strerror}; nothing of it is left, make room or choose another place"
    )
