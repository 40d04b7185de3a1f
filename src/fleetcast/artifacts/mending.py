"""Finding what of a sealed tree was changed, cheaply, and putting it back from a whole copy.

A **mark** is what the kernel says of a path whenever somebody has changed it, in one number: kind, mode, size, inode and both
times that a change leaves. While a path has the mark that it had when it was verified, its content is not read again.
"""

from __future__ import annotations

import os
import shutil
import stat
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

from fleetcast.artifacts.comparing import misfit
from fleetcast.artifacts.entries import FILE_KINDS, EntryKind
from fleetcast.artifacts.manifest import Manifest
from fleetcast.artifacts.tree import unseal, verify

UNKNOWN: Final = 0
"""The mark of what is missing, or was never verified."""


@dataclass(frozen=True, slots=True)
class Damage:
    index: int
    """In the manifest's entries."""
    what: str
    """What is wrong with it, for people."""


def mark(manifest: Manifest, index: int, tree: Path) -> int:
    """Of one entry as it is on the disk. Of a directory only that it is one: others may put things there."""
    entry = manifest.entries[index]
    try:
        status = os.lstat(os.fsencode(tree) + b"/" + entry.path)
    except OSError:
        return UNKNOWN
    if entry.kind is EntryKind.DIRECTORY:
        return 1 + stat.S_IFMT(status.st_mode)
    # The hash of a tuple of numbers is the same in every process.
    told = (status.st_mode, status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
    return (hash(told) & (2**64 - 1)) or 1


def marks(manifest: Manifest, tree: Path) -> array[int]:
    """``array('Q')``: the marks of all entries of a tree that was verified just now."""
    return array("Q", (mark(manifest, index, tree) for index in range(len(manifest.entries))))


def damages(manifest: Manifest, tree: Path, suspects: Sequence[int]) -> Iterator[Damage]:
    """Which of these entries are not as the manifest says; contents are read and hashed, of these files and of those that share
    a chunk with them.
    """
    sound: list[int] = []
    descriptor = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for index in suspects:
            what = misfit(manifest.entries[index], descriptor)
            if what is not None:
                yield Damage(index, what)
            elif manifest.entries[index].kind in FILE_KINDS:
                sound.append(index)
    finally:
        os.close(descriptor)
    starts = array("Q", accumulate((entry.size for entry in manifest.entries), initial=0))
    offsets = manifest.chunk_offsets()
    chunks = {index: _chunks(offsets, starts[index], starts[index + 1]) for index in sound}
    bad = set(verify(manifest, tree, sorted({chunk for touched in chunks.values() for chunk in touched})))
    yield from (Damage(index, "has another content") for index in sound if not bad.isdisjoint(chunks[index]))


def mend(manifest: Manifest, fresh: Path, tree: Path, aside: Path, indices: Iterable[int]) -> None:
    """Put these entries of a whole tree, which is used up by it, in place of another tree's, each at once.

    What has a file open, or runs it, goes on with what that was. The files that were replaced are in ``aside`` afterwards, and
    those of the time before no more.

    Raises:
        OSError: the disk refused; what was put in place so far stays.
    """
    unseal(fresh)
    shutil.rmtree(aside, ignore_errors=True)
    for index in sorted(indices):
        entry = manifest.entries[index]
        path = os.fsdecode(entry.path)
        target = tree / path
        target.parent.chmod(0o755)
        try:
            if entry.kind is EntryKind.DIRECTORY:
                target.unlink(missing_ok=True)
                target.mkdir(mode=0o555)
                continue
            if target.is_dir() and not target.is_symlink():
                unseal(target)
                shutil.rmtree(target)
            if target.is_file() and not target.is_symlink():
                (aside / path).parent.mkdir(parents=True, exist_ok=True)
                (aside / path).hardlink_to(target)
            (fresh / path).rename(target)
        finally:
            target.parent.chmod(0o555)


def _chunks(offsets: array[int], start: int, end: int) -> range:
    """Indices of the chunks that hold bytes ``start`` to ``end`` of the content."""
    if start == end:
        return range(0)
    return range(bisect_right(offsets, start) - 1, bisect_right(offsets, end - 1))
