"""What may be in an artifact: directories, files and symlinks that stay inside it. Pure.

The same rules hold where an artifact is made and where one arrives: :func:`broken_rule` says which one a list of entries
breaks, and the caller decides whose fault that is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from fleetcast.model.limits import (
    ARTIFACT_CONTENT_BYTES_MAX,
    ARTIFACT_ENTRIES_MAX,
    LINK_TARGET_BYTES_MAX,
    PATH_BYTES_MAX,
)

COMPONENT_BYTES_MAX: Final = 255
"""Longest name between two slashes; what every Linux file system takes."""
LINK_HOPS_MAX: Final = 40
"""Symlinks followed on the way to one target; the kernel's own bound."""


class EntryKind(IntEnum):
    DIRECTORY = 0
    FILE = 1
    """Mode 0644."""
    EXECUTABLE = 2
    """A file, mode 0755."""
    SYMLINK = 3


FILE_KINDS: Final = frozenset({EntryKind.FILE, EntryKind.EXECUTABLE})


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of an artifact. Bytes as on disk: names need not be UTF-8."""

    path: bytes
    """Relative to the artifact, ``/``-separated."""
    kind: EntryKind
    size: int = 0
    """Bytes of a file; 0 for everything else."""
    target: bytes = b""
    """Of a symlink, relative to the directory it is in; empty for everything else."""


def broken_rule(entries: Sequence[Entry]) -> str | None:
    """The first rule that ``entries`` break, in one line, or ``None``.

    Entries are in strictly ascending bytewise path order, each in a directory that is an entry itself; paths are relative
    and plain; symlinks lead, through whatever other symlinks, to something inside the artifact.
    """
    if len(entries) > ARTIFACT_ENTRIES_MAX:
        return f"{len(entries)} entries are more than the {ARTIFACT_ENTRIES_MAX} an artifact may have"
    directories = {b""}
    previous = b""
    content_size = 0
    for entry in entries:
        broken = _broken_alone(entry)
        if broken is None and entry.path <= previous:
            broken = f"is not in order after {shown(previous)}"
        if broken is None and entry.path.rpartition(b"/")[0] not in directories:
            broken = "is in something that is not a directory of the artifact"
        if broken is not None:
            return f"{shown(entry.path)} {broken}"
        if entry.kind is EntryKind.DIRECTORY:
            directories.add(entry.path)
        previous = entry.path
        content_size += entry.size
    if content_size > ARTIFACT_CONTENT_BYTES_MAX:
        return f"{content_size} bytes are more than the {ARTIFACT_CONTENT_BYTES_MAX} an artifact may have"
    return _broken_link(entries)


def shown(path: bytes) -> str:
    """A path for people and messages, undecodable bytes escaped, in quotes."""
    return repr(path.decode("utf-8", "backslashreplace"))


def _broken_alone(entry: Entry) -> str | None:
    """What is wrong with an entry whatever stands beside it."""
    if not entry.path or len(entry.path) > PATH_BYTES_MAX or b"\0" in entry.path:
        return f"is not a path of 1 to {PATH_BYTES_MAX} bytes without NUL"
    for part in entry.path.split(b"/"):
        if part in (b"", b".", b"..") or len(part) > COMPONENT_BYTES_MAX:
            return f"has an empty, '.', '..' or overlong part (at most {COMPONENT_BYTES_MAX} bytes)"
    if entry.size < 0 or (entry.size and entry.kind not in FILE_KINDS):
        return "has a size that its kind cannot have"
    if entry.kind is not EntryKind.SYMLINK:
        return "has a link target and is no symlink" if entry.target else None
    if not entry.target or len(entry.target) > LINK_TARGET_BYTES_MAX or b"\0" in entry.target:
        return f"is a symlink without a target of 1 to {LINK_TARGET_BYTES_MAX} bytes"
    if entry.target.startswith(b"/"):
        return f"is a symlink to the absolute path {shown(entry.target)}: make it relative, or copy what it points to"
    return None


def _broken_link(entries: Iterable[Entry]) -> str | None:
    links = [entry for entry in entries if entry.kind is EntryKind.SYMLINK]
    if not links:
        return None
    by_path = {entry.path: entry for entry in entries}
    for link in links:
        if not _leads_inside(link, by_path):
            return f"{shown(link.path)} is a symlink to {shown(link.target)}, which is not inside the artifact"
    return None


def _leads_inside(link: Entry, by_path: Mapping[bytes, Entry]) -> bool:
    """Walk as the kernel does: ``..`` after a symlink is the parent of what it points to, so cutting text is not enough."""
    at = link.path.split(b"/")[:-1]
    ahead = link.target.split(b"/")[::-1]
    hops = 1
    while ahead:
        part = ahead.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            if not at:
                return False
            at.pop()
            continue
        at.append(part)
        entry = by_path.get(b"/".join(at))
        if entry is None:
            return False
        if entry.kind is EntryKind.SYMLINK:
            hops += 1
            if hops > LINK_HOPS_MAX:
                return False
            at.pop()
            ahead.extend(entry.target.split(b"/")[::-1])
        elif entry.kind in FILE_KINDS and ahead:
            return False
    return True
