"""Leases of a bucket whose data port has a limit: how many there are, and who waits for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fleetcast.model.artifact import regional_content_blob
from fleetcast.model.ids import MachineId
from fleetcast.model.limits import ORIGIN_WAIT_S_MAX, RATE_BYTES_PER_S_MIN
from fleetcast.model.messages.agents import LeaseReply, LeaseRequest
from fleetcast.stores.rates import UNLIMITED

Eventually = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


class Asking:
    """Machines ask for leases of one artifact, of which the region's bucket holds all ``count`` pieces."""

    def __init__(self, agent: Any, built: Any) -> None:
        self._agent = agent
        self._root, self._path = built.record.release.root, f"/v1/swarms/{built.root.digest}/leases"
        self.count = len(built.root.manifest_pieces) + built.root.chunks

    async def __call__(self, name: str, wait_s: float = 0.0, held: tuple[int, ...] = (), want: int = 16) -> LeaseReply:
        missing = tuple((piece, piece + 1) for piece in range(self.count) if piece not in held)
        request = LeaseRequest(MachineId(name), self._root, missing, held, (), want, wait_s=wait_s)
        reply: LeaseReply = await self._agent.ask("POST", self._path, request, reply=LeaseReply)
        return reply


@pytest.fixture
async def ask(region: Any, control: Any, built: Any, eventually: Eventually) -> Asking:
    """The limit is as low as it can be."""
    region.config.origin.change(RATE_BYTES_PER_S_MIN)
    await control.put_record(built.record)
    blob = region.config.bucket / "blobs" / regional_content_blob(built.root.digest)

    async def copied() -> Any:
        return blob if blob.exists() else None

    await eventually(copied)
    return Asking(region.agent(), built)


async def _first(ask: Asking, eventually: Eventually) -> tuple[int, ...]:
    """What the first to ask is leased."""

    async def leased() -> Any:
        return (await ask("first")).pieces or None

    pieces: tuple[int, ...] = await eventually(leased)
    return pieces


async def test_leases_keep_to_the_limit_of_the_origin(ask: Asking, region: Any, eventually: Eventually) -> None:
    first = await _first(ask, eventually)
    assert len(first) < ask.count, "as many as are served in two seconds"
    region.config.origin.change(UNLIMITED)
    rest: list[int] = []
    while len(first) + len(rest) < ask.count:
        reply = await ask("m2", held=tuple(rest))
        assert reply.pieces
        rest += reply.pieces
    assert sorted((*first, *rest)) == list(range(ask.count))


async def test_who_has_to_wait_for_a_lease_is_held_until_there_is_one(ask: Asking, region: Any, eventually: Eventually) -> None:
    first = await _first(ask, eventually)
    while (reply := await ask("second")).pieces:
        pass
    assert reply.retry_after_s > 0
    began_at = time.monotonic()
    waiting = asyncio.create_task(ask("third", wait_s=ORIGIN_WAIT_S_MAX))
    region.config.origin.change(UNLIMITED)
    await ask("first", held=first, want=0)
    assert (await waiting).pieces
    assert time.monotonic() - began_at < ORIGIN_WAIT_S_MAX
