"""The door to a key-value store: revisions, compare-and-swap, watch from a revision. The semantics are etcd's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    key: str
    value: bytes
    mod_revision: int
    """The store's revision at which this value was written."""
    version: int
    """1 at creation, one more at every write."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    revision: int
    """The store's revision the entries were read at."""
    entries: tuple[Entry, ...]
    """In key order."""


@dataclass(frozen=True, slots=True)
class Change:
    """One write. ``value`` is ``None`` for a deletion."""

    key: str
    value: bytes | None
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Changes:
    revision: int
    """Ask for what comes after this next time."""
    changes: tuple[Change, ...]
    """In revision order, at most ``KV_CHANGES_MAX`` of them; empty when the wait was over first."""


class KeyValueStore(Protocol):
    """Every write, of any key, raises the store's one revision by 1. Durable when the call returns.

    Keys are at most ``KV_KEY_BYTES_MAX`` bytes of UTF-8, values at most ``KV_VALUE_BYTES_MAX``: :class:`Invalid` beyond.
    """

    async def get(self, key: str) -> Entry | None: ...

    async def range(self, prefix: str) -> Snapshot: ...

    async def page(self, prefix: str, after: str = "") -> Snapshot:
        """The next ``KV_PAGE_ENTRIES_MAX`` entries under ``prefix`` behind the key ``after``; none: that was all.

        Each page is a snapshot of its own.
        """
        ...

    async def put(self, key: str, value: bytes, *, expected: int | None = None) -> int:
        """Write and return the new revision.

        ``expected`` is the ``mod_revision`` the key must have; 0: it must not exist; ``None``: whatever it has.

        Raises:
            Conflict: the key has another revision.
        """
        ...

    async def delete(self, key: str, *, expected: int | None = None) -> int | None:
        """Delete and return the new revision; ``None`` when there was nothing. ``expected`` as in :meth:`put`."""
        ...

    async def changes(self, prefix: str, after: int, *, wait_s: float = 0.0) -> Changes:
        """What was written under ``prefix`` after revision ``after``; waits up to ``wait_s`` for something.

        Intermediate values of one key may be left out, its newest is always there. Waits ``KV_WAIT_S_MAX`` at most.

        Raises:
            Compacted: history since ``after`` is gone, or ``after`` is not a revision of this store (it was set up anew):
                take a snapshot.
        """
        ...

    async def compact(self, through: int) -> None:
        """Forget history up to and including a revision. Current values stay. A revision yet to come is :class:`Invalid`."""
        ...

    async def close(self) -> None: ...
