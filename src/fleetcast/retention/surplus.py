"""Which copies a region may delete: it asks about those that it has no record of, and the rows decide.

What it may delete is written down first. Until the region asks again, and thereby says that it is done or has died and begun
anew, its copy counts for nothing, even where somebody deploys the release meanwhile (``replication/missing.py``).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.errors import NotFound
from fleetcast.model.ids import Digest, RegionName
from fleetcast.model.retention import Collection
from fleetcast.retention.facts import IN_FLIGHT
from fleetcast.schema.copy_tables import deletions
from fleetcast.schema.tables import artifacts, regions, releases
from fleetcast.stores.database import now_ms


async def may_delete(tx: AsyncConnection, region: RegionName, held: Sequence[Digest]) -> tuple[Digest, ...]:
    """Those of ``held``, copies without a record, that were collected and that nobody wants again. What the region was allowed
    before it is not any more.

    Raises:
        NotFound: the region never said hello here.
    """
    if (await tx.execute(select(regions.c.name).where(regions.c.name == region))).one_or_none() is None:
        raise NotFound("unknown_region", f"region {region} has not said hello here: POST /v1/regions/{region}/hello")
    await tx.execute(delete(deletions).where(deletions.c.region == region))
    wanted = select(artifacts.c.digest).where(or_(artifacts.c.published_at.is_not(None), IN_FLIGHT))
    collected = select(releases.c.digest).where(
        releases.c.digest.in_(held),
        releases.c.collection == Collection.COLLECTED,
        releases.c.digest.not_in(wanted.where(artifacts.c.digest.in_(held))),
    )
    found = [Digest(digest) for digest in (await tx.execute(collected.order_by(releases.c.digest))).scalars()]
    if found:
        rows = [{"region": region, "digest": digest, "granted_at": now_ms()} for digest in found]
        await tx.execute(insert(deletions).values(rows))
    return tuple(found)
