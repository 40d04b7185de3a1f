"""Reading the parts of one content for a bucket: from the bucket itself what older artifacts in it have, and only what is
missing from the main store. Every chunk is verified, wherever it came from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import structlog
from blake3 import blake3

from fleetcast.model.artifact import regional_content_blob
from fleetcast.model.errors import Corrupt, FleetcastError
from fleetcast.model.ids import Digest
from fleetcast.model.messages.grants import Grant
from fleetcast.replication.copy_plan import ChunkPlace, CopyPlan
from fleetcast.replication.lanes import Lane
from fleetcast.replication.reuse import NOWHERE, Reuse, Run, travelling
from fleetcast.stores.blobs import BlobStore

log = structlog.get_logger(__name__)


class PartReader:
    """Of one attempt at one artifact."""

    def __init__(self, bucket: BlobStore, plan: CopyPlan, reuse: Reuse, bases: Sequence[Digest], grant: Grant) -> None:
        """``bases``: the older artifacts that ``reuse`` knows, by number. ``grant``: of the main store's content."""
        self._bucket = bucket
        self._plan = plan
        self._reuse = reuse
        self._bases = bases
        self._grant = grant
        self.fetched_bytes = 0
        """From the main store."""
        self.reused_bytes = 0
        """From the bucket. Both count the chunks between two parts twice, as they are read."""

    async def read(self, lane: Lane, number: int, whose: str) -> memoryview:
        """One part, verified; good until the lane reads again. Raises :class:`Corrupt` and what the stores raise."""
        span = self._plan.span_of(number)
        view = lane.buffer[: span.end - span.start]
        places = tuple(self._plan.chunks_in(span))
        held = [place for run in self._reuse.runs(span, places) for place in await self._from_bucket(run, view, places)]
        good = set(await asyncio.to_thread(_verified, view, held))
        if len(good) < len(held):
            log.warning("base_decayed", chunks=len(held) - len(good))
        missing = [place for place in places if place.chunk not in good]
        await lane.read(self._grant, travelling(span, missing), view, whose)
        came = await asyncio.to_thread(_verified, view, missing)
        if bad := {place.chunk for place in missing}.difference(came):
            raise Corrupt("corrupt_source", f"chunk {min(bad)} of the main store's copy is not what was built")
        self.fetched_bytes += sum(place.end - place.start for place in missing)
        self.reused_bytes += sum(place.end - place.start for place in places if place.chunk in good)
        start = self._plan.start_of(number) - span.start
        return view[start : start + self._plan.size_of(number)]

    async def _from_bucket(self, run: Run, view: memoryview, places: Iterable[ChunkPlace]) -> Sequence[ChunkPlace]:
        """The chunks that were read; not verified yet. None: they are not in the bucket, or not any more."""
        if run.base == NOWHERE:
            return ()
        try:
            await self._bucket.read_into(regional_content_blob(self._bases[run.base]), run.offset, view[run.start : run.end])
        except FleetcastError as error:  # what else the bucket may have against it will show when the part is written
            log.info("base_gone", digest=self._bases[run.base], reason=error.message)
            self._reuse.drop(run.base)
            return ()
        return [place for place in places if run.start <= place.start < run.end]


def _verified(view: memoryview, places: Iterable[ChunkPlace]) -> list[int]:
    """The chunks among these that are what they should be."""
    return [place.chunk for place in places if blake3(view[place.start : place.end]).digest() == place.blake3]
