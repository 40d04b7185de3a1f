"""Having an artifact copied when somebody asks for it, and not only when its turn comes."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from sqlalchemy import select

from fleetcast.control.artifact_queries import unknown_artifact
from fleetcast.model.errors import Refused
from fleetcast.model.ids import ArtifactName, Digest, RegionName
from fleetcast.model.messages.artifacts import Replicating
from fleetcast.rollouts import demands, inventory
from fleetcast.schema.tables import artifacts
from fleetcast.stores.database import Database

log = structlog.get_logger(__name__)


async def replicate(database: Database, name: ArtifactName, wanted: Sequence[RegionName]) -> Replicating:
    """Ask these regions; none named: all that no person has drained.

    Raises:
        NotFound: no such artifact, no such region.
        Refused: no deployment ever wanted it, or its copies were collected, so that no region knows it.
    """
    async with database.transaction() as tx:
        row = (await tx.execute(select(artifacts).where(artifacts.c.name == name))).one_or_none()
        if row is None:
            raise unknown_artifact(name)
        if row.published_at is None:
            raise Refused("never_wanted", f"no region is to have {name}: its next deployment has it copied")
        named = [await inventory.known_region(tx, region) for region in wanted]
        known = named or [
            region for region in await inventory.known_regions(tx) if not region.drained or region.silent_at_ms is not None
        ]
        regions = tuple(region.name for region in known)
        await demands.demand(tx, Digest(row.digest), regions)
    log.info("copies_demanded", artifact=name, digest=row.digest, regions=regions)
    return Replicating(name, Digest(row.digest), regions)
