"""Looking into regional buckets: through the data port that each region names at its hello."""

from __future__ import annotations

from fleetcast.model.ids import RegionName
from fleetcast.rollouts.inventory import known_regions
from fleetcast.stores.blobs import BlobReader
from fleetcast.stores.data_port_blobs import DataPortBlobs
from fleetcast.stores.database import Database


class RegionalBuckets:
    """Every known region's bucket, as of the last :meth:`refresh`. A region that moved is found at its new address then."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._readers: dict[RegionName, tuple[tuple[str, str], DataPortBlobs]] = {}

    def __call__(self, region: RegionName) -> BlobReader | None:
        """``None``: the region never said hello."""
        known = self._readers.get(region)
        return known[1] if known is not None else None

    async def refresh(self) -> None:
        """Take over what regions said since, here or to another control process."""
        async with self._database.reading() as reading:
            regions = await known_regions(reading)
        for region in regions:
            address = (region.data_url, region.data_key)
            known = self._readers.get(region.name)
            if known is None or known[0] != address:
                self._readers[region.name] = (address, DataPortBlobs(region.data_url, bytes.fromhex(region.data_key)))
