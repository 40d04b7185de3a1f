"""What may be in an artifact: directories, files and symlinks that stay inside it. Pure.

The same rules hold where an artifact is made and where one arrives: :func:`broken_rule` says which one a list of entries
breaks, and the caller decides whose fault that is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from fleetcast.model.limits import (
    ARTIFACT_CONTENT_BYTES_MAX,
    ARTIFACT_ENTRIES_MAX,
    LINK_STEPS_MAX,
    LINK_TARGET_BYTES_MAX,
    PATH_BYTES_MAX,
)

COMPONENT_BYTES_MAX: Final = 255
"""Longest name between two slashes; what every Linux file system takes."""
SHOWN_CHARS_MAX: Final = 200
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
    """A path for people and messages: in quotes, undecodable bytes escaped, of a long one beginning and end."""
    text = path.decode("utf-8", "backslashreplace")
    if len(text) > SHOWN_CHARS_MAX:
        text = f"{text[: SHOWN_CHARS_MAX // 2]}...{text[-SHOWN_CHARS_MAX // 2 :]}"
    return repr(text)


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


def _broken_link(entries: Sequence[Entry]) -> str | None:
    links = [entry for entry in entries if entry.kind is EntryKind.SYMLINK]
    walk = _LinkWalk(entries) if links else None
    for link in links:
        if walk is not None and walk.end(link) is None:
            if walk.steps > LINK_STEPS_MAX:
                return f"the targets of its symlinks have more than {LINK_STEPS_MAX} parts together"
            return (
                f"{shown(link.path)} is a symlink to {shown(link.target)}, which is not inside the artifact, "
                f"or over more than {LINK_HOPS_MAX} symlinks"
            )
    return None


@dataclass(frozen=True, slots=True)
class _End:
    """What a path leads to when every symlink on the way is followed."""

    path: bytes
    is_directory: bool
    hops: int
    """Symlinks followed."""


class _LinkWalk:
    """Each symlink's target is walked once, part by part, and remembered: the price is that of reading the targets."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.steps = 0
        self._inside: dict[bytes, dict[bytes, Entry]] = {b"": {}}
        self._above: dict[bytes, bytes] = {}
        """Directory -> the directory it is in."""
        self._ends: dict[bytes, _End | None] = {}
        for entry in entries:
            above, _, name = entry.path.rpartition(b"/")
            self._inside[above][name] = entry
            if entry.kind is EntryKind.DIRECTORY:
                self._inside[entry.path] = {}
                self._above[entry.path] = above

    def end(self, link: Entry, depth: int = 1) -> _End | None:
        """Where a symlink leads to; ``None``: out of the artifact, nowhere, in a circle, or too far."""
        if link.path not in self._ends:
            # Met again before it is known: a circle.
            self._ends[link.path] = None
            self._ends[link.path] = self._walk(link, depth) if depth <= LINK_HOPS_MAX else None
        return self._ends[link.path]

    def _walk(self, link: Entry, depth: int) -> _End | None:
        """As the kernel does: ``..`` after a symlink is the parent of what it points to, so cutting text is not enough."""
        at = _End(link.path.rpartition(b"/")[0], is_directory=True, hops=1)
        for part in link.target.split(b"/"):
            self.steps += 1
            if self.steps > LINK_STEPS_MAX or not at.is_directory:
                return None
            step = at if part in (b"", b".") else self._step(at, part, depth)
            if step is None or step.hops > LINK_HOPS_MAX:
                return None
            at = step
        return at

    def _step(self, at: _End, part: bytes, depth: int) -> _End | None:
        if part == b"..":
            above = self._above.get(at.path)
            return _End(above, is_directory=True, hops=at.hops) if above is not None else None
        entry = self._inside[at.path].get(part)
        if entry is None:
            return None
        if entry.kind is not EntryKind.SYMLINK:
            return _End(entry.path, entry.kind is EntryKind.DIRECTORY, at.hops)
        end = self.end(entry, depth + 1)
        return _End(end.path, end.is_directory, at.hops + end.hops) if end is not None else None
