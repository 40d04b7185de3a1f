"""Looking at a build's output before it is packed: what is in it, in the manifest's order, and whether it may be."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleetcast.artifacts.entries import FILE_KINDS, Entry, EntryKind, broken_rule, shown
from fleetcast.model.errors import Invalid
from fleetcast.model.limits import ARTIFACT_ENTRIES_MAX, PATH_BYTES_MAX

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STILL_WRITING: Final = "end everything that writes to the output before the build command ends"


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
    real, status = _found(output)
    if stat.S_ISDIR(status.st_mode):
        try:
            directory, entries = real, _walk(real)
        except FileNotFoundError as error:
            raise Invalid("output_changed", f"{_text(output)} changed while it was looked at: {_STILL_WRITING}") from error
        entries.sort(key=lambda entry: entry.path)
        sources = tuple((entry.path, entry.size) for entry in entries if entry.kind in FILE_KINDS)
    else:
        directory, entries = real.parent, [_entry(os.fsencode(output.name), status, b"")]
        sources = ((os.fsencode(real.name), status.st_size),)
    broken = broken_rule(entries)
    if broken is not None:
        raise _invalid(broken)
    content_size = sum(entry.size for entry in entries)
    if content_size == 0:
        raise Invalid("empty_output", f"{_text(output)} is empty: an artifact needs at least one file with something in it")
    return Output(directory, tuple(entries), sources, content_size)


def _found(output: Path) -> tuple[Path, os.stat_result]:
    try:
        real = output.resolve(strict=True)
        return real, real.stat()
    except FileNotFoundError as error:
        raise Invalid("no_output", f"there is no {_text(output)}: does the build command make it?") from error
    except (OSError, RuntimeError) as error:  # the latter is what pathlib has for a circle of symlinks
        raise Invalid("unreadable_output", f"{_text(output)} cannot be read: see what the build command makes") from error


def _walk(real: Path) -> list[Entry]:
    """Relative to descriptors: a path may be as long as Linux takes one, wherever the directory lies."""
    entries: list[Entry] = []
    unvisited = [b""]
    top = os.open(real, _DIRECTORY)
    try:
        while unvisited:
            below = unvisited.pop()
            for entry in _listed(top, below):
                if len(entry.path) > PATH_BYTES_MAX:
                    raise _invalid(f"{shown(entry.path)} has more than the {PATH_BYTES_MAX} bytes a path may have")
                entries.append(entry)
                if len(entries) > ARTIFACT_ENTRIES_MAX:
                    raise _invalid(f"it has more than the {ARTIFACT_ENTRIES_MAX} entries an artifact may have")
                if entry.kind is EntryKind.DIRECTORY:
                    unvisited.append(entry.path)
    finally:
        os.close(top)
    return entries


def _listed(top: int, below: bytes) -> Iterator[Entry]:
    try:
        directory = os.open(below or b".", _DIRECTORY, dir_fd=top)
    except PermissionError as error:
        raise Invalid("unreadable_output", f"{shown(below)} cannot be read: give its owner the right to") from error
    try:
        with os.scandir(directory) as listing:
            for found in listing:
                name = os.fsencode(found.name)
                target = os.readlink(name, dir_fd=directory) if found.is_symlink() else b""
                yield _entry(below + b"/" + name if below else name, found.stat(follow_symlinks=False), target)
    finally:
        os.close(directory)


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


def _text(output: Path) -> str:
    return shown(os.fsencode(output.name))


def _invalid(reason: str) -> Invalid:
    return Invalid("invalid_output", f"this output cannot be an artifact: {reason}")
