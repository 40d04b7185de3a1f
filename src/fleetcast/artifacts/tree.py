"""An artifact's files on a disk: laid out empty, filled chunk by chunk wherever a chunk falls, sealed, removed.

Everything is opened relative to the tree's own directory descriptor and never through a symlink, so renaming the tree's
parent does not matter and nothing in the tree can lead a write out of it.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from blake3 import blake3

from fleetcast.artifacts.extents import Extents
from fleetcast.artifacts.manifest import Entry, EntryKind, Manifest
from fleetcast.artifacts.tree_files import TreeFiles
from fleetcast.model.errors import Corrupt, FleetcastError, Refused
from fleetcast.model.limits import CHUNK_BYTES_MAX
from fleetcast.stores.obstacles import NO_ROOM, obstacle

__all__ = ["TreeFiles", "TreeStopped", "lay_out", "remove_tree", "seal", "unseal", "verify"]

NO_ROOM_HERE: Final = "no room on this machine's disk for the release"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class TreeStopped(Exception):
    """``stop`` said so. The tree is as far as it got; the same call again goes on."""


def never() -> bool:
    return False


def lay_out(manifest: Manifest, tree: Path, stop: Callable[[], bool] = never) -> None:
    """Make the tree: directories, symlinks, and every file with its full size reserved, contents undefined.

    Repeatable, also over a tree that is sealed or half sealed: what is there with the right kind is kept with its bytes.
    Until :func:`seal`, files are 0600 and directories 0700.

    Raises:
        Refused: the disk has no room.
        TreeStopped: ``stop``, asked before each entry, returned true.
    """
    tree.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _directory(tree) as root:
        os.fchmod(root, 0o700)
        try:
            for entry in manifest.entries:
                _go_on(stop)
                _lay_out_entry(root, entry)
        except OSError as error:
            raise _not_laid_out(error) from error


def seal(manifest: Manifest, tree: Path, stop: Callable[[], bool] = never, *, owner_writes: bool = False) -> None:
    """Make a complete tree durable and take its write bits away: files 0444 or 0555, directories 0555.

    ``owner_writes`` leaves the owner his, as what is taken out of the system has them: 0644 or 0755, and 0755.

    Close every writable :class:`TreeFiles` of it before anything in it is executed: the kernel refuses to run a file that
    somebody has open for writing. Every file waits for the disk: of many files this takes minutes.

    Raises:
        TreeStopped: ``stop``, asked before each entry, returned true.
    """
    owners = stat.S_IWUSR if owner_writes else 0
    with _directory(tree) as root:
        for entry in reversed(manifest.entries):
            _go_on(stop)
            if entry.kind is not EntryKind.SYMLINK:
                _seal_entry(root, entry, owners)
        os.fchmod(root, 0o555 | owners)
        os.fsync(root)


def _not_laid_out(error: OSError) -> FleetcastError:
    if error.errno in NO_ROOM:
        return Refused("no_room", f"{NO_ROOM_HERE}: make room, it goes on by itself")
    return obstacle(error)


def unseal(tree: Path) -> None:
    """Give the owner back the right to read and change the tree's directories, so that it can be removed or laid out again."""
    tree.chmod(0o700)
    for _, names, _, descriptor in os.fwalk(tree):
        for name in names:
            # Before the walk goes into it; what only leads to a directory is left alone.
            if not stat.S_ISLNK(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                os.chmod(name, 0o700, dir_fd=descriptor)


def remove_tree(tree: Path) -> None:
    """Remove a tree, sealed or not; nothing happens when it is gone."""
    if tree.is_dir() and not tree.is_symlink():
        unseal(tree)
        shutil.rmtree(tree)


def verify(manifest: Manifest, tree: Path, chunks: Iterable[int] | None = None) -> list[int]:
    """Hash what is on the disk; the indices, ascending, of the chunks that are missing or wrong there. ``chunks``: of these
    alone, ascending.

    Looks at contents and sizes only, neither at modes nor at symlinks, and at nothing that the manifest does not name.
    """
    bad = []
    offsets = manifest.chunk_offsets()
    buffer = memoryview(bytearray(CHUNK_BYTES_MAX))
    with TreeFiles(Extents(manifest.entries), tree) as files:
        for index in range(manifest.chunks) if chunks is None else chunks:
            chunk = buffer[: manifest.chunk_lengths[index]]
            try:
                files.read_into(offsets[index], chunk)
            except Corrupt:
                bad.append(index)
                continue
            if blake3(chunk).digest() != manifest.chunk_digest(index):
                bad.append(index)
    return bad


def _go_on(stop: Callable[[], bool]) -> None:
    if stop():
        raise TreeStopped


def _lay_out_entry(root: int, entry: Entry) -> None:
    _clear_other_kind(root, entry)
    match entry.kind:
        case EntryKind.DIRECTORY:
            try:
                os.mkdir(entry.path, 0o700, dir_fd=root)
            except FileExistsError:
                os.chmod(entry.path, 0o700, dir_fd=root)
        case EntryKind.SYMLINK:
            try:
                os.symlink(entry.target, entry.path, dir_fd=root)
            except FileExistsError:
                if os.readlink(entry.path, dir_fd=root) != entry.target:
                    os.unlink(entry.path, dir_fd=root)
                    os.symlink(entry.target, entry.path, dir_fd=root)
        case _:
            _reserve(root, entry)


def _clear_other_kind(root: int, entry: Entry) -> None:
    """Out of the way with what cannot become this entry; only another artifact's leftovers make that happen."""
    try:
        mode = os.stat(entry.path, dir_fd=root, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    wanted = {EntryKind.DIRECTORY: stat.S_IFDIR, EntryKind.SYMLINK: stat.S_IFLNK}.get(entry.kind, stat.S_IFREG)
    if stat.S_IFMT(mode) == wanted:
        return
    if stat.S_ISDIR(mode):
        shutil.rmtree(entry.path, dir_fd=root)
    else:
        os.unlink(entry.path, dir_fd=root)


def _reserve(root: int, entry: Entry) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(entry.path, flags, 0o600, dir_fd=root)
    except PermissionError:
        # Sealed before, and this is not root.
        os.chmod(entry.path, 0o600, dir_fd=root)
        descriptor = os.open(entry.path, flags, dir_fd=root)
    try:
        os.fchmod(descriptor, 0o600)
        if os.fstat(descriptor).st_size > entry.size:
            os.ftruncate(descriptor, entry.size)
        if entry.size:
            os.posix_fallocate(descriptor, 0, entry.size)
    finally:
        os.close(descriptor)


def _seal_entry(root: int, entry: Entry, owners: int) -> None:
    is_directory = entry.kind is EntryKind.DIRECTORY
    flags = _DIRECTORY if is_directory else os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(entry.path, flags, dir_fd=root)
    try:
        os.fchmod(descriptor, (0o444 if entry.kind is EntryKind.FILE else 0o555) | owners)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _directory(path: Path) -> Iterator[int]:
    descriptor = os.open(path, _DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
