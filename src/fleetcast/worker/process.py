"""The worker's process: what it opens, what it hands back of its predecessor's, its slots, and how it ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

import structlog

from fleetcast.artifacts.signing import load_private
from fleetcast.client.builds import Builds
from fleetcast.http.session import Session
from fleetcast.model.errors import FleetcastError, Refused
from fleetcast.model.limits import BUILD_HAND_BACK_S_MAX
from fleetcast.model.messages.builds import ClaimedBuild
from fleetcast.worker.attempt import Attempt
from fleetcast.worker.building import Building
from fleetcast.worker.config import WorkerConfig
from fleetcast.worker.load import follow_load
from fleetcast.worker.patience import until_answered
from fleetcast.worker.sandbox_probe import Probe, probe
from fleetcast.worker.slots import Slots, wait
from fleetcast.worker.source import Source
from fleetcast.worker.workspace import Held, Workspace

log = structlog.get_logger(__name__)


async def serve(
    config: WorkerConfig,
    stop: asyncio.Event,
    listening: Callable[[Mapping[str, str]], None],
    *,
    hand_back: asyncio.Event | None = None,
) -> None:
    """Build until ``stop`` is set, then drain: finish what runs, for ``drain_s_max`` or until ``hand_back`` is set; the rest
    is handed back, so that another worker has it at once. A worker has no address to tell.

    Raises:
        Invalid: the signing key cannot be used.
        Refused: another worker runs in this workspace, or builds cannot be run in the sandbox that they must be run in.
    """
    key = load_private(config.signing_key)
    workspace = Workspace(config.workspace)
    left = workspace.open()
    try:
        tried = await _sandbox(config)
        source = Source(config.workspace, config.mirrors_bytes_max)
        source.open()
        rng = random.Random()
        async with aclosing(Session(config.control_url, config.token)) as session:
            builds = Builds(session)

            def begin(slot: int, claimed: ClaimedBuild) -> Attempt:
                return Attempt(Building(config, tried, slot), claimed, builds, source, workspace, key, rng)

            listening({})
            await _hand_back(left, builds, stop, rng)
            slots = Slots(config, builds, begin, rng)
            beside = [] if config.scale is None else [follow_load(session, slots, config.scale)]
            await _build(slots, config, stop, hand_back or asyncio.Event(), beside)
    finally:
        workspace.close()


async def _build(
    slots: Slots,
    config: WorkerConfig,
    stop: asyncio.Event,
    hand_back: asyncio.Event,
    beside: Sequence[Coroutine[Any, Any, None]],
) -> None:
    now = asyncio.Event()
    building = asyncio.create_task(slots.run(stop, now))
    draining = asyncio.create_task(_drain(slots, config.drain_s_max, stop, hand_back, now))
    others = [asyncio.create_task(each) for each in beside]
    try:
        await asyncio.wait({building, *others}, return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            if task.done():  # by an error: it ends by itself never
                task.result()
        await building
    finally:
        for task in (building, draining, *others):
            task.cancel()
        await asyncio.gather(building, draining, *others, return_exceptions=True)


async def _drain(slots: Slots, within_s: float, stop: asyncio.Event, hand_back: asyncio.Event, now: asyncio.Event) -> None:
    """Set ``now`` when builds are not to be finished any more."""
    await stop.wait()
    if slots.busy and within_s > 0 and not hand_back.is_set():
        log.info("draining", builds=slots.busy, within_s=within_s, sooner="the same signal once more hands them back at once")
        await wait(hand_back, within_s)
    now.set()


async def _sandbox(config: WorkerConfig) -> Probe:
    """Raises :class:`Refused`: there must be one, and there is none."""
    if config.sandbox == "off":
        found = Probe(None, "worker.sandbox is off")
    else:
        found = await asyncio.to_thread(
            probe,
            readable=config.build_readable,
            hidden_files=(config.signing_key, *config.secret_files),
            hidden_directories=(config.workspace,),
            limits=config.build_limits,
        )
    if found.sandbox is not None:
        log.info("builds_sandboxed", how=found.says)
    elif config.sandbox == "required":
        raise Refused("no_sandbox", f"worker.sandbox is required, and there is none: {found.says}")
    else:
        log.warning("builds_not_sandboxed", reason=found.says)
    return found


async def _hand_back(left: Sequence[Held], builds: Builds, stop: asyncio.Event, rng: random.Random) -> None:
    """Tell control what the worker before this one had claimed when it was killed, so that nobody waits for its heartbeats.
    What cannot be told in ``BUILD_HAND_BACK_S_MAX`` the reaper finds out.
    """
    telling = asyncio.create_task(_tell_left(left, builds, rng))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({telling, stopping}, timeout=BUILD_HAND_BACK_S_MAX, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (telling, stopping):
            task.cancel()
        await asyncio.gather(telling, stopping, return_exceptions=True)


async def _tell_left(left: Sequence[Held], builds: Builds, rng: random.Random) -> None:
    for held in left:
        fail = partial(builds.fail, held.build, held.token, "its worker was killed", hand_back=True)
        try:
            await until_answered(fail, rng)
            log.warning("left_build_handed_back", build=held.build)
        except FleetcastError as error:
            log.info("left_build_not_held", build=held.build, reason=error.message)
