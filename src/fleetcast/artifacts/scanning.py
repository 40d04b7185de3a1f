"""Looking at a build's output before it is packed: what is in it, in the manifest's order, and whether it may be."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from fleetcast.artifacts.entries import FILE_KINDS, Entry, EntryKind, broken_rule, shown
from fleetcast.model.errors import Invalid
from fleetcast.model.limits import ARTIFACT_ENTRIES_MAX


@dataclass(frozen=True, slots=True)
class Output:
    """A build's output as it was found."""

    directory: Path
    """That the sources are relative to."""
    entries: tuple[Entry, ...]
    """In the manifest's order."""
    sources: tuple[tuple[bytes, int], ...]
    """Where the contents of the files among the entries are, and their sizes, in the same order."""
    content_size: int


def scan(output: Path) -> Output:
    """Find all entries of a directory, or the one of a file.

    Modes, times and owners of what is found do not matter, with one exception: the owner's right to execute a file.

    Raises:
        Invalid: in one line, why this cannot be an artifact.
    """
    try:
        real = output.resolve(strict=True)
        status = real.stat()
        if stat.S_ISDIR(status.st_mode):
            directory, entries = real, _walk(os.fsencode(real))
            entries.sort(key=lambda entry: entry.path)
            sources = tuple((entry.path, entry.size) for entry in entries if entry.kind in FILE_KINDS)
        else:
            directory, entries = real.parent, [_entry(os.fsencode(output.name), status, b"")]
            sources = ((os.fsencode(real.name), status.st_size),)
    except FileNotFoundError as error:
        raise Invalid("no_output", f"there is no {_name(error, output)}: does the build command make it?") from error
    except PermissionError as error:
        raise Invalid("unreadable_output", f"{_name(error, output)} cannot be read: give its owner the right to") from error
    broken = broken_rule(entries)
    if broken is not None:
        raise _invalid(broken)
    content_size = sum(entry.size for entry in entries)
    if content_size == 0:
        raise Invalid("empty_output", f"{output.name} is empty: an artifact needs at least one file with something in it")
    return Output(directory, tuple(entries), sources, content_size)


def _walk(root: bytes) -> list[Entry]:
    entries: list[Entry] = []
    unvisited = [b""]
    while unvisited:
        below = unvisited.pop()
        with os.scandir(root + b"/" + below) as listing:
            for found in listing:
                path = below + b"/" + found.name if below else found.name
                target = os.readlink(found.path) if found.is_symlink() else b""  # noqa: PTH115 -- pathlib knows no bytes
                entry = _entry(path, found.stat(follow_symlinks=False), target)
                entries.append(entry)
                if entry.kind is EntryKind.DIRECTORY:
                    unvisited.append(path)
        if len(entries) > ARTIFACT_ENTRIES_MAX:
            raise _invalid(f"it has more than the {ARTIFACT_ENTRIES_MAX} entries an artifact may have")
    return entries


def _entry(path: bytes, status: os.stat_result, target: bytes) -> Entry:
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        return Entry(path, EntryKind.DIRECTORY)
    if stat.S_ISLNK(mode):
        return Entry(path, EntryKind.SYMLINK, target=target)
    if not stat.S_ISREG(mode):
        raise _invalid(f"{shown(path)} is a device, socket or pipe: only files, directories and symlinks can be shipped")
    if mode & (stat.S_ISUID | stat.S_ISGID):
        raise _invalid(f"{shown(path)} is setuid or setgid: remove that bit (chmod ug-s)")
    kind = EntryKind.EXECUTABLE if mode & stat.S_IXUSR else EntryKind.FILE
    return Entry(path, kind, status.st_size)


def _name(error: OSError, output: Path) -> str:
    name = error.filename
    return shown(os.fsencode(name)) if isinstance(name, str | bytes | os.PathLike) else shown(os.fsencode(output))


def _invalid(reason: str) -> Invalid:
    return Invalid("invalid_output", f"this output cannot be an artifact: {reason}")
