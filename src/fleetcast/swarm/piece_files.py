"""The pieces of one artifact in a release's directory: ``manifest`` and the files under ``tree/``.

Bytes go between files, buffers and sockets by :class:`TreeFiles`, which any thread may use. Writing and reading have file
descriptors of their own, so that writing can end (nothing that is open for writing can be executed) while serving goes on.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from blake3 import blake3

from fleetcast.artifacts.extents import Extents
from fleetcast.artifacts.manifest import Entry, EntryKind, Manifest, decode, manifest_digest
from fleetcast.artifacts.tree_files import TreeFiles
from fleetcast.model.artifact import Root
from fleetcast.model.errors import Corrupt, Unavailable
from fleetcast.swarm.pieces import PieceMap
from fleetcast.swarm.wire import Wire

MANIFEST_FILE: Final = "manifest"
TREE: Final = "tree"


class PieceFiles:
    """Starts with the manifest alone; :meth:`open_tree` adds the content."""

    def __init__(self, root: Root, directory: Path, *, writable: bool) -> None:
        """``writable``: make the directory and room for the manifest where they are missing. Raises OSError, Corrupt."""
        self.map = PieceMap(root)
        self._root = root
        self._directory = directory
        self._writable = writable
        if writable:
            directory.mkdir(parents=True, exist_ok=True)
            _reserve(directory / MANIFEST_FILE, root.manifest_size)
        entry = Entry(MANIFEST_FILE.encode(), EntryKind.FILE, root.manifest_size)
        self._manifest = TreeFiles(Extents((entry,)), directory, writable=writable)
        self._identity: tuple[int, int] | None = None
        self._reading: TreeFiles | None = None
        self._writing: TreeFiles | None = None

    def read_manifest(self) -> Manifest:
        """Read and check the manifest. Raises :class:`Corrupt` when it is not the root's."""
        data = bytearray(self._root.manifest_size)
        self._manifest.read_into(0, memoryview(data))
        if manifest_digest(bytes(data)) != self._root.digest:
            raise Corrupt("wrong_manifest", "the manifest is not the one the root names: fetch the release again")
        return decode(bytes(data))

    def open_tree(self, manifest: Manifest, pieces: PieceMap) -> None:
        """The tree is laid out: its pieces can be read, and written if this was opened writable."""
        extents = Extents(manifest.entries)
        tree = self._directory / TREE
        self._identity = _identity(tree)
        self._reading = TreeFiles(extents, tree)
        if self._writable:
            self._writing = TreeFiles(extents, tree, writable=True)
        self.map = pieces

    def write(self, piece: int, data: memoryview) -> None:
        """To every place where the piece occurs. Raises OSError, Corrupt."""
        files = self._manifest if self.map.is_manifest(piece) else self._writing
        assert files is not None, "pieces of the content are written between open_tree and finish_writing"
        for offset in self.map.occurrences(piece):
            files.write(offset, data)

    def intact(self, piece: int, buffer: memoryview) -> bool:
        """Hash what is on disk at every place of the piece; what cannot be read is not intact. ``buffer`` holds at least the
        piece's length. Raises ValueError when this is closed.
        """
        data = buffer[: self.map.length(piece)]
        files = self._readable(piece)
        for offset in self.map.occurrences(piece):
            try:
                files.read_into(offset, data)
            except (OSError, Corrupt):
                return False
            if blake3(data).digest() != self.map.blake3(piece):
                return False
        return True

    def send(self, piece: int, wire: Wire) -> None:
        """The piece's bytes, from the kernel. Raises OSError (the connection), :class:`Corrupt` (the file)."""
        self._readable(piece).sendfile(wire.socket, self.map.offset_in_blob(piece), self.map.length(piece))

    def _readable(self, piece: int) -> TreeFiles:
        files = self._manifest if self.map.is_manifest(piece) else self._reading
        if files is None:
            raise Unavailable("not_laid_out", "the release's tree is not there yet: try again")
        return files

    def finish_writing(self) -> None:
        """The manifest is durable, and no file of the tree stays open for writing. No write may be under way."""
        descriptor = os.open(self._directory / MANIFEST_FILE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if self._writing is not None:
            self._writing.close()

    def serves(self, directory: Path) -> bool:
        """Whether ``directory`` is where these files are, perhaps renamed since."""
        try:
            return self._identity is not None and self._identity == _identity(directory / TREE)
        except OSError:
            return False

    def close(self) -> None:
        """Calls under way finish; later ones raise ValueError."""
        for files in (self._manifest, self._reading, self._writing):
            if files is not None:
                files.close()


def _reserve(path: Path, size: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        os.ftruncate(descriptor, size)
        if size:
            os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
