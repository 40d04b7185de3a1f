"""The loop that deletes from the bucket what was collected: copies of which the region has no record, and that control says may
go. What a copier left half done goes with them.

A record that vanished is not enough: a key-value store may have lost it. And a copy is never deleted while there is a record of
it, whatever control said before.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence
from typing import Final, Protocol

import structlog

from fleetcast.model.artifact import regional_content_blob, regional_manifest_blob
from fleetcast.model.errors import FleetcastError
from fleetcast.model.ids import Digest, RegionName
from fleetcast.model.limits import SURPLUS_ASKED_MAX, SURPLUS_INTERVAL_S, SURPLUS_RETRY_S
from fleetcast.model.messages.regions import Surplus, SurplusJudged
from fleetcast.region.copy_turns import CopyTurns
from fleetcast.region.view import RegionView
from fleetcast.replication.copier import NOTES_PREFIX
from fleetcast.stores.blobs import BlobStore
from fleetcast.stores.kv import KeyValueStore

log = structlog.get_logger(__name__)

_COPIES: Final = "artifacts/"
"""Prefix of all keys of copies in the bucket."""
_COPY: Final = re.compile(r"artifacts/(?P<digest>[0-9a-f]{64})/")


class SurplusDoor(Protocol):
    async def surplus(self, surplus: Surplus) -> SurplusJudged:
        """As :meth:`fleetcast.client.regions.Regions.surplus`."""
        ...


class Collecting:
    """One of a region: by asking again it says that nothing of what it was told before is still being deleted."""

    def __init__(
        self,
        region: RegionName,
        control: SurplusDoor,
        view: RegionView,
        bucket: BlobStore,
        notes: KeyValueStore,
        turns: CopyTurns,
        interval_s: float = SURPLUS_INTERVAL_S,
    ) -> None:
        """``notes``: where the copier keeps its own."""
        self._region = region
        self._control = control
        self._view = view
        self._bucket = bucket
        self._notes = notes
        self._turns = turns
        self._interval_s = interval_s
        self._told = True
        """Something may have been told to be deleted that is not yet known to be: of the process before, for a start."""
        self._changed = asyncio.Event()
        view.on_records.append(self._changed.set)

    async def run(self) -> None:
        """Look now and then, and when records have changed, until cancelled."""
        pause_s, failing = float(SURPLUS_RETRY_S), ""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()
            pause_s = float(SURPLUS_RETRY_S) if self._changed.is_set() else min(2 * pause_s, self._interval_s)
            self._changed.clear()
            try:
                await self.turn()
                failing = ""
            except FleetcastError as error:
                if error.message != failing:
                    log.warning("collecting_failed", error=error.message)
                failing = error.message

    async def turn(self) -> None:
        """Ask about all copies without a record, and delete those that may go. Raises :class:`Unavailable`."""
        surplus = await self._surplus()
        for start in range(0, len(surplus), SURPLUS_ASKED_MAX):
            await self._delete((await self._ask(surplus[start : start + SURPLUS_ASKED_MAX])).delete)
        if self._told:
            await self._ask(())

    async def _ask(self, digests: Sequence[Digest]) -> SurplusJudged:
        self._told = True  # also where the answer is lost
        judged = await self._control.surplus(Surplus(self._region, tuple(digests)))
        self._told = bool(judged.delete)
        return judged

    async def _surplus(self) -> list[Digest]:
        """Copies without a record, whole or half."""
        keys = [blob.key async for blob in self._bucket.list(_COPIES)]
        keys += [upload.key for upload in await self._bucket.uploads(_COPIES)]
        held = {Digest(found["digest"]) for key in keys if (found := _COPY.match(key)) is not None}
        return sorted(held - self._view.artifacts().keys())

    async def _delete(self, digests: Sequence[Digest]) -> None:
        for digest in digests:
            with self._turns.deleting(digest) as alone:
                if not alone or digest in self._view.artifacts():
                    continue
                for upload in await self._bucket.uploads(f"{_COPIES}{digest}/"):
                    await self._bucket.abort(upload.key, upload.id)
                await self._notes.delete(NOTES_PREFIX + digest)
                await self._bucket.delete(regional_content_blob(digest))
                await self._bucket.delete(regional_manifest_blob(digest))
            log.info("copy_deleted", digest=digest)
