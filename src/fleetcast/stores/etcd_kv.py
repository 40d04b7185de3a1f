"""The key-value store on etcd v3: every server of it, and every process that uses it, sees one history.

Below the prefix of the store are ``id``, a random value that is made with it, ``kv/``, the keys, and ``last``, which every
write touches in its transaction, together with ``last/<first part of the key>``. So one cheap read tells up to which revision
there is something to know, and a watch from a revision has a definite end: nothing here rests on a watch being quick, or on
there being one. Who waits begins one from where he is, whatever server answers, and gives up nothing when it breaks. Only
Fleetcast writes below the prefix.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from secrets import token_bytes
from typing import Any, Final, TypeVar

from fleetcast.model.errors import Compacted, Conflict, Unavailable
from fleetcast.model.limits import (
    ETCD_ANSWER_S_MAX,
    ETCD_PAGE_ENTRIES_MAX,
    ETCD_WATCH_S_MAX,
    KV_CHANGES_BYTES_MAX,
    KV_CHANGES_MAX,
    KV_PAGE_ENTRIES_MAX,
    KV_WAIT_S_MAX,
)
from fleetcast.stores.etcd_access import ID, KEYS, LAST, EtcdAccess
from fleetcast.stores.etcd_gateway import EtcdGateway
from fleetcast.stores.etcd_messages import DELETED, CompactionReply, Event, Header, KeyValue, RangeReply, TxnReply, WatchReply
from fleetcast.stores.kv import Change, Changes, Entry, KeyValueStore, Snapshot
from fleetcast.stores.kv_keys import check_write, encoded, end_of

R = TypeVar("R")

_RANGE: Final = "/v3/kv/range"
_TXN: Final = "/v3/kv/txn"
_TRIES: Final = 3
_ID_BYTES: Final = 16


class EtcdKv(KeyValueStore):
    """Use from the event loop that opened it; close it there. Every call may raise :class:`Unavailable`."""

    def __init__(self, gateway: EtcdGateway) -> None:
        self._gateway = gateway
        self._keys, self._last, self._id = (f"{gateway.access.prefix}{name}".encode() for name in (KEYS, LAST, ID))
        self._closed = False
        self._running: set[asyncio.Future[Any]] = set()
        self._known = (0, b"")
        """Which cluster, and which store in it: by its id."""
        self._ours_from = 0
        """Revisions below are those of a store that was there before this one."""

    @classmethod
    async def open(cls, access: EtcdAccess) -> EtcdKv:
        """Raises :class:`Unavailable` when no server answers, :class:`Invalid` or :class:`NotFound` for files."""
        gateway = EtcdGateway(access)
        try:
            store = cls(gateway)
            await store.identify()
        except BaseException:
            await gateway.aclose()
            raise
        return store

    async def identify(self) -> None:
        """See which store this is, and say so in one that is new. Raises :class:`Unavailable`."""
        found = await self._run(self._gateway.call(_RANGE, {"key": self._id}, RangeReply))
        named = found.kvs[0].value if found.kvs else await self._run(self._name())
        self._known = (found.header.cluster_id, named)

    async def get(self, key: str) -> Entry | None:
        return await self._run(self._get(encoded(key)))

    async def range(self, prefix: str) -> Snapshot:
        return await self._run(self._range(encoded(prefix)))

    async def page(self, prefix: str, after: str = "") -> Snapshot:
        return await self._run(self._page(encoded(prefix), encoded(after)))

    async def put(self, key: str, value: bytes, *, expected: int | None = None) -> int:
        check_write(key, value)
        return await self._run(self._put(encoded(key), value, expected))

    async def delete(self, key: str, *, expected: int | None = None) -> int | None:
        return await self._run(self._delete(encoded(key), expected))

    async def changes(self, prefix: str, after: int, *, wait_s: float = 0.0) -> Changes:
        return await self._run(self._changes(encoded(prefix), after, min(wait_s, KV_WAIT_S_MAX)))

    async def compact(self, through: int) -> None:
        """Of the whole cluster: what others keep in it is compacted too."""
        await self._run(self._compact(through))

    async def version(self) -> str:
        """Of the server that is asked."""
        return (await self._run(self._gateway.version()))[0].etcdserver

    async def check_writable(self) -> None:
        """Ask for a write that does not happen: it takes the same rights, a leader, and room. Raises :class:`Unavailable`."""
        never = {"target": "VERSION", "key": self._last, "result": "LESS", "version": 0}
        write = [
            {"request_put": {"key": key, "value": b""}} for key in (self._keys + b"written", self._last, self._last + b"/")
        ]
        write.append({"request_delete_range": {"key": self._keys + b"deleted"}})
        await self._run(self._gateway.call(_TXN, {"compare": [never], "success": write}, TxnReply))

    async def close(self) -> None:
        """Whoever waits for changes gets :class:`Unavailable`."""
        if self._closed:
            return
        self._closed = True
        running = list(self._running)
        for work in running:
            work.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._gateway.aclose()

    async def _run(self, work: Coroutine[Any, Any, R]) -> R:
        if self._closed:
            work.close()
            raise _closed()
        task = asyncio.ensure_future(work)
        self._running.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if caller is not None and not caller.cancelling():  # not he was cancelled, but what he waits for
                raise _closed() from None
            raise
        finally:
            self._running.discard(task)

    async def _get(self, key: bytes) -> Entry | None:
        found = await self._gateway.call(_RANGE, {"key": self._keys + key}, RangeReply)
        return self._entry(found.kvs[0]) if found.kvs else None

    async def _range(self, prefix: bytes) -> Snapshot:
        for _ in range(_TRIES):
            with contextlib.suppress(Compacted):  # between two of its pages
                return await self._pages(prefix)
        raise Unavailable("kv_busy", "etcd is compacted faster than a snapshot of it can be read: try again")

    async def _page(self, prefix: bytes, after: bytes) -> Snapshot:
        start, end = self._keys + max(prefix, after + b"\0"), end_of(self._keys + prefix)
        if start >= end:
            return Snapshot(0, ())
        asked = {"key": start, "range_end": end, "limit": KV_PAGE_ENTRIES_MAX}
        page = await self._gateway.call(_RANGE, asked, RangeReply)
        return Snapshot(page.header.revision, tuple(self._entry(found) for found in page.kvs))

    async def _pages(self, prefix: bytes) -> Snapshot:
        """All pages as of the revision of the first."""
        start, end = self._keys + prefix, end_of(self._keys + prefix)
        entries: list[Entry] = []
        revision = 0
        while True:
            asked = {"key": start, "range_end": end, "limit": ETCD_PAGE_ENTRIES_MAX, "revision": revision}
            page = await self._gateway.call(_RANGE, asked, RangeReply)
            revision = revision or page.header.revision
            entries += [self._entry(found) for found in page.kvs]
            if not page.more or not page.kvs:
                return Snapshot(revision, tuple(entries))
            start = page.kvs[-1].key + b"\0"

    async def _put(self, key: bytes, value: bytes, expected: int | None) -> int:
        write = {"request_put": {"key": self._keys + key, "value": value}}
        reply = await self._write(key, write, () if expected is None else (self._at(key, "EQUAL", expected),))
        if not reply.succeeded:
            raise _conflict(key, reply, expected)
        return reply.header.revision

    async def _delete(self, key: bytes, expected: int | None) -> int | None:
        if expected == 0:
            held = await self._get(key)
            if held is not None:
                raise Conflict("revision_conflict", f"{held.key} is at revision {held.mod_revision}, not 0: read it again")
            return None
        write = {"request_delete_range": {"key": self._keys + key}}
        there = self._at(key, "GREATER", 0) if expected is None else self._at(key, "EQUAL", expected)
        reply = await self._write(key, write, (there,))
        if reply.succeeded:
            return reply.header.revision
        if expected is None:
            return None
        raise _conflict(key, reply, expected)

    async def _write(self, key: bytes, write: dict[str, Any], compare: tuple[dict[str, Any], ...]) -> TxnReply:
        touched = [{"request_put": {"key": name, "value": b""}} for name in {self._last, self._last_of(key)}]
        message = {
            "compare": compare,
            "success": [write, *touched],
            "failure": [{"request_range": {"key": self._keys + key, "keys_only": True}}],
        }
        return await self._gateway.call(_TXN, message, TxnReply, repeatable=False)

    def _at(self, key: bytes, result: str, revision: int) -> dict[str, Any]:
        return {"target": "MOD", "key": self._keys + key, "mod_revision": revision, "result": result}

    async def _changes(self, prefix: bytes, after: int, wait_s: float) -> Changes:
        deadline = time.monotonic() + wait_s
        broken = 0
        while True:
            written, now = await self._written(prefix, after)
            if written > after:
                found = await self._history(prefix, after, written, now)
                after = found.revision
            else:
                # Nothing of this prefix is in between: a watch that starts behind what there is needs no history.
                after = now
                try:
                    found = await self._news(prefix, after, min(deadline - time.monotonic(), ETCD_WATCH_S_MAX))
                except Unavailable:
                    broken += 1
                    if broken > len(self._gateway.access.servers):
                        raise
                    continue
            if found.changes or deadline <= time.monotonic():
                return found

    async def _written(self, prefix: bytes, after: int) -> tuple[int, int]:
        """The revision of the last write that may concern ``prefix``, and that of the store. Raises :class:`Compacted`."""
        asked = [{"request_range": {"key": key}} for key in (self._last_of(prefix), self._id)]
        found = await self._gateway.call(_TXN, {"success": asked}, TxnReply)
        last, named = (response.response_range.kvs for response in found.responses)
        now = found.header.revision
        another = self._is_another(found.header, named[0].value if named else await self._name())
        if another or not self._ours_from <= after <= now:
            text = f"this store is at revision {now}, and has no history from {after} on: take a snapshot, go on from there"
            raise Compacted("compacted", text)
        return (last[0].mod_revision if last else 0), now

    def _is_another(self, header: Header, named: bytes) -> bool:
        """Whether this is not the store of before: one set up anew counts from 1, and what was seen says nothing of it.

        A cluster's own id does not tell: it is made of names and addresses, which the next one may have too. Told once, to
        whoever asks first. Admitted: somebody else in this process whose old revision is not below that of the new store by
        then, and who asks when that has passed it.
        """
        another = self._known != (header.cluster_id, named)
        if another:
            self._ours_from = header.revision
            self._known = (header.cluster_id, named)
        return another

    async def _name(self) -> bytes:
        """The id of a store that has none: ours, or that of who was first."""
        ours = token_bytes(_ID_BYTES)
        message = {
            "compare": [{"target": "VERSION", "key": self._id, "result": "EQUAL", "version": 0}],
            "success": [{"request_put": {"key": self._id, "value": ours}}],
            "failure": [{"request_range": {"key": self._id}}],
        }
        reply = await self._gateway.call(_TXN, message, TxnReply)
        held = () if reply.succeeded or not reply.responses else reply.responses[0].response_range.kvs
        return held[0].value if held else ours

    async def _history(self, prefix: bytes, after: int, through: int, now: int) -> Changes:
        """What was written after ``after``, as much as one answer holds. After ``through`` nothing was, until ``now``."""
        gathered = _Gathered(len(self._keys), prefix, after)
        covered = self._keys + _first_part(prefix)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ETCD_ANSWER_S_MAX), self._gateway.watch(covered, end_of(covered), after + 1) as replies:
                async for reply in replies:
                    if not gathered.take(_events(reply)):
                        return gathered.changes()
                    if gathered.revision >= through:
                        gathered.revision = max(gathered.revision, now)
                        return gathered.changes()
        if gathered.revision > after:
            return gathered.changes()
        raise Unavailable("kv_away", "etcd did not tell in time what was written: try again")

    async def _news(self, prefix: bytes, after: int, wait_s: float) -> Changes:
        """What is written next, within ``wait_s``."""
        gathered = _Gathered(len(self._keys), prefix, after)
        if wait_s > 0:
            watched = self._keys + prefix
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s), self._gateway.watch(watched, end_of(watched), after + 1) as replies:
                    async for reply in replies:
                        events = _events(reply)
                        if events:
                            gathered.take(events)
                            return gathered.changes()
                    raise Unavailable("kv_away", "etcd ended a watch: try again")
        return gathered.changes()

    async def _compact(self, through: int) -> None:
        if through > 0:
            with contextlib.suppress(Compacted):  # as far, or further, already
                await self._gateway.call("/v3/kv/compaction", {"revision": through}, CompactionReply)

    def _last_of(self, prefix: bytes) -> bytes:
        """The key that every write of a key below ``prefix`` touches."""
        part = _first_part(prefix)
        return self._last + b"/" + part if part else self._last

    def _entry(self, found: KeyValue) -> Entry:
        return Entry(found.key[len(self._keys) :].decode(), found.value, found.mod_revision, found.version)


class _Gathered:
    """Events on their way to one answer."""

    def __init__(self, skip: int, prefix: bytes, after: int) -> None:
        """``skip``: bytes of each key that are the store's. ``after``: the revision before the first event."""
        self._skip = skip
        self._prefix = prefix
        self._changes: list[Change] = []
        self._size = 0
        self.revision = after
        """All up to here is in."""

    def take(self, events: tuple[Event, ...]) -> bool:
        """Whether all of them had room. A revision is never split."""
        for event in events:
            key, value = event.kv.key[self._skip :], None if event.type == DELETED else event.kv.value
            if key.startswith(self._prefix):
                self._size += len(value or b"")
                full = self._changes and (self._size > KV_CHANGES_BYTES_MAX or len(self._changes) >= KV_CHANGES_MAX)
                if full and event.kv.mod_revision > self.revision:
                    return False
                self._changes.append(Change(key.decode(), value, event.kv.mod_revision))
            self.revision = event.kv.mod_revision
        return True

    def changes(self) -> Changes:
        return Changes(self.revision, tuple(self._changes))


def _events(reply: WatchReply) -> tuple[Event, ...]:
    if reply.compact_revision:
        text = f"history up to revision {reply.compact_revision} is gone: take a snapshot, go on from there"
        raise Compacted("compacted", text)
    return reply.events


def _first_part(prefix: bytes) -> bytes:
    """Up to the first slash; nothing where there is none, since what begins like that may have any first part."""
    part, slash, _ = prefix.partition(b"/")
    return part + slash if slash else b""


def _conflict(key: bytes, reply: TxnReply, expected: int | None) -> Conflict:
    held = reply.responses[0].response_range.kvs if reply.responses else ()
    found = held[0].mod_revision if held else 0
    return Conflict("revision_conflict", f"{key.decode()} is at revision {found}, not {expected}: read it again")


def _closed() -> Unavailable:
    return Unavailable("kv_closed", "this key-value store is closed: the process is about to end")
