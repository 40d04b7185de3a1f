"""Deciding what is collected, and carrying that out: two loops, each of which may run twice and die anywhere.

The rows say it first. A release whose copies are to go is COLLECTING, and its records leave the global key-value store; then
it is COLLECTED, and each region may delete its own copy (``surplus.py``). An artifact whose blobs are to go is COLLECTING, and
they are deleted from the main store; then it is COLLECTED. Whoever comes after one that died goes on from the rows.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import structlog
from sqlalchemy import ColumnElement, and_, exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.artifact import artifact_record_key
from fleetcast.model.errors import Conflict
from fleetcast.model.event import EventKind
from fleetcast.model.ids import Digest
from fleetcast.model.limits import COLLECTED_AT_ONCE_MAX, COLLECTED_IN_ONE_TURN_MAX, RECORD_AGAIN_S
from fleetcast.model.retention import Collection
from fleetcast.retention.facts import IN_FLIGHT, stored
from fleetcast.retention.planning import Planned, Policy, plan
from fleetcast.schema.events import record_event
from fleetcast.schema.release_locks import lock_releases
from fleetcast.schema.tables import artifacts, releases
from fleetcast.stores.blobs import BlobStore
from fleetcast.stores.database import Database, now_ms, read_clock_ms
from fleetcast.stores.kv import Entry, KeyValueStore

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided in one turn."""

    main: tuple[Planned, ...] = ()
    regions: tuple[Planned, ...] = ()


class Collector:
    """Of the main store and the regions' records."""

    def __init__(self, database: Database, kv: KeyValueStore, main: BlobStore, policy: Policy) -> None:
        self._database = database
        self._kv = kv
        self._main = main
        self._policy = policy

    async def plan(self) -> tuple[Planned, ...]:
        """A verdict on each artifact that the main store has, as of now; nothing changes."""
        async with self._database.reading() as reading:
            return plan(await stored(reading), self._policy, await read_clock_ms(reading))

    async def decide(self) -> Decided:
        """Decide what is collected, at most ``COLLECTED_IN_ONE_TURN_MAX``, what was used longest ago first. :meth:`finish`
        carries it out."""
        await self._collect_strays()
        going = [planned for planned in reversed(await self.plan()) if planned.goes][:COLLECTED_IN_ONE_TURN_MAX]
        main: list[Planned] = []
        regions: list[Planned] = []
        for start in range(0, len(going), COLLECTED_AT_ONCE_MAX):
            batch = going[start : start + COLLECTED_AT_ONCE_MAX]
            async with self._database.transaction() as tx:
                decided = await self._decide(tx, batch)
            main += decided.main
            regions += decided.regions
        return Decided(tuple(main), tuple(regions))

    async def finish(self) -> None:
        """Go on with what is being collected until it is."""
        await self._take_records_away()
        await self._delete_blobs()

    async def _decide(self, tx: AsyncConnection, batch: Sequence[Planned]) -> Decided:
        """Once more, with the releases locked: what nobody protects or has used since the plan was made."""
        digests = [planned.stored.held.digest for planned in batch]
        await lock_releases(tx, digests)
        as_planned = {planned.stored.held.digest: planned.stored for planned in batch}
        unchanged = {each.held.digest for each in await stored(tx, digests) if each == as_planned[each.held.digest]}
        going = [planned for planned in batch if planned.stored.held.digest in unchanged]
        regions = [planned for planned in going if planned.regions is not None and planned.regions.collect]
        main = [planned for planned in going if planned.main.collect]
        now = await read_clock_ms(tx)
        for planned in regions:
            assert planned.regions is not None
            await _collect_copies(tx, planned, planned.regions.reason, now)
        for planned in main:
            await _collect_blobs(tx, planned, planned.main.reason, now)
        return Decided(tuple(main), tuple(regions))

    async def _take_records_away(self) -> None:
        """Releases that are COLLECTING are COLLECTED once no record names them any more.

        A record's revision is asked for before the row is looked at: what was published after the row said COLLECTED has
        another one, and stays.
        """
        digests = await self._releases(releases.c.collection == Collection.COLLECTING)
        if not digests:
            return
        held = await self._records(digests)
        going = select(releases.c.digest, artifacts.c.root).join(artifacts, artifacts.c.digest == releases.c.digest)
        going = going.where(releases.c.digest.in_(digests), releases.c.collection == Collection.COLLECTING)
        async with self._database.reading() as reading:
            digest_of = {row.root: Digest(row.digest) for row in await reading.execute(going)}
        written_again: set[Digest] = set()
        for root, digest in digest_of.items():
            try:
                if root in held:
                    await self._kv.delete(held[root].key, expected=held[root].mod_revision)
            except Conflict:
                written_again.add(digest)  # the next turn looks again
        async with self._database.transaction() as tx:
            await _settle(tx, set(digest_of.values()) - written_again)

    async def _collect_strays(self) -> None:
        """Records that are there although their releases were COLLECTED lately: of a process that was stopped in the middle of
        publishing them. They go too, unless somebody wants them."""
        lately = releases.c.collected_at > now_ms() - RECORD_AGAIN_S * 1000
        held = await self._records(await self._releases(releases.c.collection == Collection.COLLECTED, lately))
        if not held:
            return
        stray = select(artifacts.c.digest).where(artifacts.c.root.in_(held), artifacts.c.published_at.is_(None), ~IN_FLIGHT)
        collected = releases.c.digest.in_(stray), releases.c.collection == Collection.COLLECTED
        async with self._database.transaction() as tx:
            await tx.execute(update(releases).where(*collected).values(collection=Collection.COLLECTING))

    async def _releases(self, *which: ColumnElement[bool]) -> tuple[Digest, ...]:
        async with self._database.reading() as reading:
            wanted = select(releases.c.digest).where(*which).order_by(releases.c.digest).limit(COLLECTED_IN_ONE_TURN_MAX)
            return tuple(Digest(digest) for digest in (await reading.execute(wanted)).scalars())

    async def _records(self, digests: Sequence[Digest]) -> dict[str, Entry]:
        """Those of these releases that are in the key-value store, by root."""
        async with self._database.reading() as reading:
            roots = (await reading.execute(select(artifacts.c.root).where(artifacts.c.digest.in_(digests)))).scalars().all()
        found = {root: await self._kv.get(artifact_record_key(Digest(root))) for root in roots}
        return {root: entry for root, entry in found.items() if entry is not None}

    async def _delete_blobs(self) -> None:
        """Artifacts that are COLLECTING are COLLECTED once their blobs are gone, which nobody can begin to name meanwhile."""
        named = artifacts.alias()
        shared = exists().where(
            and_(named.c.digest == artifacts.c.digest, named.c.content_blob == artifacts.c.content_blob),
            named.c.collection == Collection.KEPT,
        )
        columns = (artifacts.c.id, artifacts.c.name, artifacts.c.content_blob, artifacts.c.manifest_blob)
        going = (
            select(*columns, shared.label("shared"))
            .where(artifacts.c.collection == Collection.COLLECTING)
            .order_by(artifacts.c.id)
            .limit(COLLECTED_IN_ONE_TURN_MAX)
        )
        async with self._database.reading() as reading:
            rows = (await reading.execute(going)).all()
        for row in rows:
            for key in (row.content_blob, row.manifest_blob) if not row.shared else ():
                await self._main.delete(key)
            async with self._database.transaction() as tx:
                this = artifacts.c.id == row.id, artifacts.c.collection == Collection.COLLECTING
                await tx.execute(update(artifacts).where(*this).values(collection=Collection.COLLECTED))
            log.info("artifact_collected", artifact=row.name)


async def _collect_copies(tx: AsyncConnection, planned: Planned, why: str, now: int) -> None:
    digest = planned.stored.held.digest
    await tx.execute(update(artifacts).where(artifacts.c.digest == digest).values(published_at=None))
    waiting = f"new copies, as those it had were collected ({why})"
    gone = {
        "collection": Collection.COLLECTING,
        "collected_at": now,
        "deployable": False,
        "waiting_for": waiting,
        "lacking": None,
    }
    await tx.execute(update(releases).where(releases.c.digest == digest).values(completed_at=None, **gone))
    _tell(tx, planned, f"from the regions: {why}")


async def _collect_blobs(tx: AsyncConnection, planned: Planned, why: str, now: int) -> None:
    these = artifacts.c.digest == planned.stored.held.digest, artifacts.c.collection == Collection.KEPT
    gone = {"collection": Collection.COLLECTING, "collected_at": now, "collected_why": why}
    await tx.execute(update(artifacts).where(*these).values(gone))
    _tell(tx, planned, f"from the main store: {why}")


def _tell(tx: AsyncConnection, planned: Planned, text: str) -> None:
    for name in planned.stored.names:
        record_event(tx, EventKind.ARTIFACT_COLLECTED, name, service=name.partition("/")[0], text=text)


async def _settle(tx: AsyncConnection, gone: Set[Digest]) -> None:
    """No record names these releases any more."""
    await lock_releases(tx, gone)
    collecting = releases.c.digest.in_(gone), releases.c.collection == Collection.COLLECTING
    done = (await tx.execute(select(releases.c.digest).where(*collecting))).scalars().all()
    # A control process of the version before publishes what is COLLECTING too: it shall do so again.
    await tx.execute(update(artifacts).where(artifacts.c.digest.in_(done)).values(published_at=None))
    await tx.execute(update(releases).where(*collecting).values(collection=Collection.COLLECTED, collected_at=now_ms()))
    if done:
        log.info("copies_collected", releases=len(done))
