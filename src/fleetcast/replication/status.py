"""Which buckets hold which artifacts, by control's own look into them; and thereby which releases are deployable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import structlog
from sqlalchemy import bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.artifact import regional_content_blob, regional_manifest_blob
from fleetcast.model.errors import FleetcastError, Unavailable
from fleetcast.model.ids import Digest, RegionName
from fleetcast.model.limits import REPLICATION_LOOKS_MAX, REPLICATION_RECHECK_INTERVAL_S
from fleetcast.model.replication import Replica, ReplicaStatus
from fleetcast.replication.missing import (
    Copy,
    Finding,
    Known,
    Seen,
    Trouble,
    Wanted,
    due,
    judge,
    lacking,
    lacking_in,
    of_today,
    waiting_for,
)
from fleetcast.schema.copy_tables import deletions
from fleetcast.schema.tables import artifacts, copies, regions, releases, replicas
from fleetcast.schema.upsert import upsert
from fleetcast.stores.blobs import BlobReader
from fleetcast.stores.database import Database, read_clock_ms

log = structlog.get_logger(__name__)

_NOT_HERE: Final = Seen(unreachable="control does not know where it is")


class _Bucket:
    """One region's bucket during one check. Once it did not answer it is not asked again: waiting for it a thousand times
    would hold up what the other regions have."""

    def __init__(self, reader: BlobReader | None) -> None:
        self._reader = reader
        self._unreachable: Seen | None = None
        self._limit = asyncio.Semaphore(REPLICATION_LOOKS_MAX)

    async def look(self, artifact: Wanted, being_deleted: bool) -> Seen:
        if being_deleted:
            return Seen(being_deleted=True)
        async with self._limit:
            if self._reader is None:
                return _NOT_HERE
            if self._unreachable is not None:
                return self._unreachable
            try:
                manifest = await self._reader.stat(regional_manifest_blob(artifact.digest))
                content = await self._reader.stat(regional_content_blob(artifact.digest))
            except Unavailable as error:
                self._unreachable = Seen(unreachable=error.message)
                return self._unreachable
            except FleetcastError as error:
                return Seen(unreachable=error.message)
        return Seen(None if manifest is None else manifest.size, None if content is None else content.size)


class ReplicationStatus:
    """A row per bucket and artifact. Artifacts are wanted from the moment their record is in the global KV.

    Two control processes may check at once. Each writes what it saw; where they disagree, the next check settles it.
    """

    def __init__(
        self,
        database: Database,
        bucket: Callable[[RegionName], BlobReader | None],
        *,
        replication: Database | None = None,
        recheck_interval_s: float = REPLICATION_RECHECK_INTERVAL_S,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """``replication`` holds the rows of replicas (by default ``database``, which has everything else).

        ``bucket`` gives the way into a region's bucket, ``None`` when there is none at the moment. ``on_change`` is called
        when a release became deployable, or ceased to be.
        """
        self._database = database
        self._replication = replication if replication is not None else database
        self._bucket = bucket
        self._recheck_interval_s = recheck_interval_s
        self._on_change = on_change

    async def check(self) -> Mapping[RegionName, int]:
        """Look at every copy that is due, write down what was found, and say which releases are deployable.

        Returns the regions that are back from their silence, each with how many releases it lacks of those there were then.
        """
        async with self._database.reading() as reading:
            wanted, errors = await _wanted(reading), await _troubles(reading)
            counting, returned = await _counting(reading), await _returned(reading)
            being_deleted = await _being_deleted(reading)
        buckets = [*counting, *returned]
        async with self._replication.reading() as reading:
            now = await read_clock_ms(reading)
            known = of_today(await _known(reading), wanted)
        looks = due(wanted, buckets, known, now, self._recheck_interval_s)
        asked = {region: _Bucket(self._bucket(region)) for region in buckets}
        seen = await asyncio.gather(
            *(asked[region].look(artifact, (region, artifact.digest) in being_deleted) for region, artifact in looks)
        )
        findings = {
            (bucket, artifact.digest): judge(
                artifact, answer, known.get((bucket, artifact.digest)), errors.get((bucket, artifact.digest))
            )
            for (bucket, artifact), answer in zip(looks, seen, strict=True)
        }
        published = {artifact.digest: artifact.published_at_ms for artifact in wanted}
        await self._write(findings, known, published)
        known = {**known, **{copy: Known(found.status, found.reason, now) for copy, found in findings.items()}}
        await self._decide(published, counting, known)
        return {region: lacking(digests, region, known) for region, digests in returned.items()}

    async def _write(
        self, findings: Mapping[Copy, Finding], known: Mapping[Copy, Known], published: Mapping[Digest, int]
    ) -> None:
        """Rows that changed, and the time of the look at those that are COMPLETE."""
        changed = [
            (copy, found)
            for copy, found in findings.items()
            if (before := known.get(copy)) is None or (before.status, before.reason) != (found.status, found.reason)
        ]
        again = [copy for copy, found in findings.items() if found.status is ReplicaStatus.COMPLETE]
        if not changed and not again:
            return
        async with self._replication.transaction() as tx:
            now = await read_clock_ms(tx)
            rows = [
                {
                    "bucket": bucket,
                    "digest": digest,
                    "status": found.status,
                    "reason": found.reason,
                    "updated_at": now,
                    "checked_at": now,
                    "published_at": published[digest],
                }
                for (bucket, digest), found in changed
            ]
            await upsert(tx, replicas, rows, update=["status", "reason", "updated_at", "checked_at", "published_at"])
            if again:
                which = replicas.c.bucket == bindparam("in_bucket"), replicas.c.digest == bindparam("of_digest")
                looked_at = [
                    {"in_bucket": bucket, "of_digest": digest, "for_publication": published[digest]} for bucket, digest in again
                ]
                looked = update(replicas).where(*which).values(checked_at=now, published_at=bindparam("for_publication"))
                await tx.execute(looked, looked_at)
        for (bucket, digest), found in changed:
            log.info("replica_" + found.status.lower(), bucket=bucket, digest=digest, reason=found.reason)

    async def _decide(
        self, published: Mapping[Digest, int], buckets: Sequence[RegionName], known: Mapping[Copy, Known]
    ) -> None:
        """Rows of ``releases`` that are not what they should be. The main database has its own clock, and its own race:
        the last writer saw the buckets last, or will look again. What was collected meanwhile is not touched."""
        reasons = {digest: waiting_for(digest, buckets, known) for digest in published}
        without = {digest: lacking_in(digest, buckets, known) or None for digest in published}
        async with self._database.reading() as reading:
            rows = await reading.execute(select(releases))
            before = {row.digest: (row.deployable, row.waiting_for, row.lacking) for row in rows}
        changed = {
            digest: reason for digest, reason in reasons.items() if before.get(digest) != (not reason, reason, without[digest])
        }
        if not changed:
            return
        async with self._database.transaction() as tx:
            now = await read_clock_ms(tx)
            wanted_still = {
                each.digest for each in await _wanted(tx, changed) if each.published_at_ms == published[each.digest]
            }
            changed = {digest: reason for digest, reason in changed.items() if digest in wanted_still}
            for digest, reason in changed.items():
                row = {"digest": digest, "deployable": not reason, "waiting_for": reason, "lacking": without[digest]}
                if reason:
                    await upsert(tx, releases, [row], update=["deployable", "waiting_for", "lacking"])
                else:
                    row["completed_at"] = now
                    await upsert(tx, releases, [row], update=["deployable", "waiting_for", "lacking", "completed_at"])
        flipped = [digest for digest, reason in changed.items() if before.get(digest, (False, "", None))[0] != (not reason)]
        for digest in flipped:
            log.info(
                "release_deployable" if not changed[digest] else "release_incomplete", digest=digest, reason=changed[digest]
            )
        if flipped:
            self._on_change()


async def list_replicas(reading: AsyncConnection, digest: Digest) -> tuple[Replica, ...]:
    """What is known of an artifact's copies, by bucket. From the replication database."""
    rows = await reading.execute(select(replicas).where(replicas.c.digest == digest).order_by(replicas.c.bucket))
    return tuple(
        Replica(RegionName(row.bucket), Digest(row.digest), ReplicaStatus(row.status), row.reason, row.updated_at)
        for row in rows
    )


async def _wanted(reading: AsyncConnection, only: Collection[Digest] | None = None) -> list[Wanted]:
    """All of them, or those of ``only`` that are. An artifact of several names is wanted since the first of them is."""
    alike = (artifacts.c.digest, artifacts.c.manifest_size, artifacts.c.content_size)
    rows = select(*alike, func.min(artifacts.c.published_at).label("since")).where(artifacts.c.published_at.is_not(None))
    if only is not None:
        rows = rows.where(artifacts.c.digest.in_(only))
    found = await reading.execute(rows.group_by(*alike).order_by(artifacts.c.digest))
    return [Wanted(Digest(row.digest), row.manifest_size, row.content_size, row.since) for row in found]


async def _being_deleted(reading: AsyncConnection) -> set[Copy]:
    return {(RegionName(row.region), Digest(row.digest)) for row in await reading.execute(select(deletions))}


async def _returned(reading: AsyncConnection) -> dict[RegionName, list[Digest]]:
    """Regions that are back from their silence, each with what was a release by then and is wanted still."""
    back = select(regions.c.name, regions.c.returned_at).where(regions.c.drained, regions.c.returned_at.is_not(None))
    found = {RegionName(row.name): row.returned_at for row in await reading.execute(back.order_by(regions.c.name))}
    if not found:
        return {}
    rows = await reading.execute(
        select(releases.c.digest, releases.c.completed_at)
        .where(
            releases.c.deployable,
            releases.c.digest.in_(select(artifacts.c.digest).where(artifacts.c.published_at.is_not(None))),
        )
        .order_by(releases.c.digest)
    )
    completed = [(Digest(row.digest), row.completed_at) for row in rows]
    return {region: [digest for digest, at in completed if at <= back_at] for region, back_at in found.items()}


async def _counting(reading: AsyncConnection) -> list[RegionName]:
    """Every region that ever said hello and is not drained."""
    rows = await reading.execute(select(regions.c.name).where(regions.c.drained.is_(False)).order_by(regions.c.name))
    return [RegionName(name) for name in rows.scalars()]


async def _troubles(reading: AsyncConnection) -> dict[Copy, Trouble]:
    rows = await reading.execute(select(copies).where(copies.c.error != ""))
    return {(RegionName(row.region), Digest(row.digest)): Trouble(row.error, row.given_up) for row in rows}


async def _known(reading: AsyncConnection) -> dict[Copy, Known]:
    return {
        (RegionName(row.bucket), Digest(row.digest)): Known(
            ReplicaStatus(row.status), row.reason, row.checked_at, row.published_at
        )
        for row in await reading.execute(select(replicas))
    }
