"""What is different between an artifact and a directory: names, kinds, sizes, modes, links, contents, and what is too much."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

from fleetcast.artifacts.entries import FILE_KINDS, Entry, EntryKind, shown
from fleetcast.artifacts.extents import Extents
from fleetcast.artifacts.manifest import Manifest
from fleetcast.artifacts.tree import verify
from fleetcast.model.errors import NotFound


@dataclass(frozen=True, slots=True)
class Difference:
    """One path, for people (undecodable bytes escaped), and what is wrong with it."""

    path: str
    what: str


def differences(manifest: Manifest, tree: Path) -> Iterator[Difference]:
    """Everything about ``tree`` that is not as the manifest says. Of modes only the owner's right to execute counts.

    Raises:
        NotFound: ``tree`` is no directory.
    """
    try:
        descriptor = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound("no_directory", f"cannot open the directory {tree}: {error.strerror}") from None
    gone: set[bytes] = set()
    try:
        for entry in manifest.entries:
            if (what := _misfit(entry, descriptor)) is not None:
                gone.add(entry.path)
                yield Difference(shown(entry.path), what)
            elif (what := _wrong_mode(entry, descriptor)) is not None:
                yield Difference(shown(entry.path), what)
    finally:
        os.close(descriptor)
    yield from _unknown(manifest, tree)
    yield from wrong_contents(manifest, verify(manifest, tree), gone)


def wrong_contents(manifest: Manifest, chunks: Iterable[int], gone: Set[bytes] = frozenset()) -> Iterator[Difference]:
    """The files that wrong chunks touch, each once; those that are ``gone`` have been named.

    A chunk may hold several small files, and one of them may be all that is wrong: nothing smaller has a digest.
    """
    extents = Extents(manifest.entries)
    offsets = manifest.chunk_offsets()
    surest: dict[bytes, _Sureness] = {}
    for index in chunks:
        files = [extents.files[extent.file].path for extent in extents.locate(offsets[index], manifest.chunk_lengths[index])]
        sureness = _Sureness.OF_GONE if not gone.isdisjoint(files) else _Sureness.ONE_OF if len(files) > 1 else _Sureness.SURE
        for path in files:
            surest[path] = min(sureness, surest.get(path, sureness))
    for path, sureness in surest.items():
        if path not in gone:
            yield Difference(shown(path), _SAID[sureness])


class _Sureness(IntEnum):
    """Of a file's content being another one, the surest first."""

    SURE = 0
    ONE_OF = 1
    OF_GONE = 2


_SAID: Final = {
    _Sureness.SURE: "has another content",
    _Sureness.ONE_OF: "has another content, or a file has that shares a chunk with it",
    _Sureness.OF_GONE: "cannot be told: it shares a chunk with a file that is different",
}


def _misfit(entry: Entry, root: int) -> str | None:
    """What is wrong with a path as far as names, kinds, sizes and links go."""
    try:
        status = os.stat(entry.path, dir_fd=root, follow_symlinks=False)
    except OSError as error:
        return (
            "is missing" if isinstance(error, FileNotFoundError | NotADirectoryError) else f"cannot be read: {error.strerror}"
        )
    match entry.kind:
        case EntryKind.DIRECTORY:
            return None if stat.S_ISDIR(status.st_mode) else "is no directory"
        case EntryKind.SYMLINK:
            if not stat.S_ISLNK(status.st_mode):
                return "is no symlink"
            target = os.readlink(entry.path, dir_fd=root)
            return None if target == entry.target else f"leads to {shown(target)}, not to {shown(entry.target)}"
        case _:
            if not stat.S_ISREG(status.st_mode):
                return "is no file"
            return None if status.st_size == entry.size else f"has {status.st_size} bytes, not {entry.size}"


def misfit(entry: Entry, root: int) -> str | None:
    """What is wrong with a path below the directory ``root``, but for its content, in a few words; ``None``: nothing."""
    return _misfit(entry, root) or _wrong_mode(entry, root)


def _wrong_mode(entry: Entry, root: int) -> str | None:
    if entry.kind not in FILE_KINDS:
        return None
    executable = bool(os.stat(entry.path, dir_fd=root, follow_symlinks=False).st_mode & stat.S_IXUSR)
    if executable == (entry.kind is EntryKind.EXECUTABLE):
        return None
    return "is executable, and should not be" if executable else "is not executable, and should be"


def _unknown(manifest: Manifest, tree: Path) -> Iterator[Difference]:
    """What is there and in no artifact's list. Nothing below an unknown directory is named."""
    known = {entry.path for entry in manifest.entries}
    start = os.fsencode(tree)
    for directory, names, files in os.walk(start):
        here = os.path.relpath(directory, start)
        for name in sorted([*names, *files]):
            path = name if here == b"." else here + b"/" + name
            if path not in known:
                yield Difference(shown(path), "is not in the artifact")
        names[:] = [name for name in names if (name if here == b"." else here + b"/" + name) in known]
