"""The worker's loop: claim, attempt, again."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial

import structlog

from fleetcast.artifacts.signing import PrivateKey, load_private
from fleetcast.client.builds import Builds
from fleetcast.http.session import Session
from fleetcast.model.errors import FleetcastError, Refused
from fleetcast.model.limits import BUILD_HAND_BACK_S_MAX, WORKER_BACKOFF_S_MAX
from fleetcast.model.messages.builds import ClaimedBuild
from fleetcast.stores.obstacles import obstacle
from fleetcast.worker.attempt import Attempt
from fleetcast.worker.backoff import delay_s
from fleetcast.worker.building import Building
from fleetcast.worker.config import WorkerConfig
from fleetcast.worker.patience import until_answered
from fleetcast.worker.sandbox_probe import Probe, probe
from fleetcast.worker.source import Source
from fleetcast.worker.workspace import Held, Workspace

log = structlog.get_logger(__name__)


async def serve(config: WorkerConfig, stop: asyncio.Event, listening: Callable[[Mapping[str, str]], None]) -> None:
    """Build until ``stop`` is set; a build under way is then handed back. A worker has no address to tell.

    Raises:
        Invalid: the signing key cannot be used.
        Refused: another worker runs in this workspace, or builds cannot be run in the sandbox that they must be run in.
    """
    key = load_private(config.signing_key)
    workspace = Workspace(config.workspace)
    left = workspace.open()
    try:
        tried = await _sandbox(config)
        source = Source(config.workspace)
        source.open()
        async with aclosing(Session(config.control_url, config.token)) as session:
            listening({})
            loop = _Loop(Building(config, tried), Builds(session), source, workspace, key)
            await loop.hand_back(left, stop)
            await loop.run(stop)
    finally:
        workspace.close()


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


class _Loop:
    def __init__(self, building: Building, builds: Builds, source: Source, workspace: Workspace, key: PrivateKey) -> None:
        self._building = building
        self._config = building.config
        self._builds = builds
        self._source = source
        self._workspace = workspace
        self._key = key
        self._rng = random.Random()

    async def hand_back(self, left: Sequence[Held], stop: asyncio.Event) -> None:
        """Tell control what the worker before this one had claimed when it was killed, so that nobody waits for its heartbeats.
        What cannot be told in ``BUILD_HAND_BACK_S_MAX`` the reaper finds out.
        """
        telling = asyncio.create_task(self._tell_left(left))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({telling, stopping}, timeout=BUILD_HAND_BACK_S_MAX, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (telling, stopping):
                task.cancel()
            await asyncio.gather(telling, stopping, return_exceptions=True)

    async def _tell_left(self, left: Sequence[Held]) -> None:
        for held in left:
            fail = partial(self._builds.fail, held.build, held.token, "its worker was killed", hand_back=True)
            try:
                await until_answered(fail, self._rng)
                log.warning("left_build_handed_back", build=held.build)
            except FleetcastError as error:
                log.info("left_build_not_held", build=held.build, reason=error.message)

    async def run(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        failures = handed_back = 0
        while not stop.is_set():
            asked_at = loop.time()
            try:
                claimed = await self._claim(stop)
                failures = 0
            except FleetcastError as error:
                failures += 1
                wait_s = delay_s(failures, self._rng, WORKER_BACKOFF_S_MAX)
                log.warning("claim_failed", reason=error.message, again_in_s=round(wait_s, 1))
                await _wait(stop, wait_s)
                continue
            if claimed is None:
                await _wait(stop, asked_at + self._config.poll_interval_s - loop.time())
                continue
            # What is in the way here, a full disk or a network that is away, may be over when it is tried again.
            handed_back = handed_back + 1 if await self._attempt(claimed, stop) else 0
            if handed_back:
                await _wait(stop, delay_s(handed_back, self._rng, WORKER_BACKOFF_S_MAX))

    async def _claim(self, stop: asyncio.Event) -> ClaimedBuild | None:
        """``None`` also when told to stop. A claim that control answers at that very moment is one that it hands back."""
        claiming = asyncio.create_task(self._builds.claim(self._config.name, self._config.claim_wait_s))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({claiming, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return claiming.result() if claiming.done() else None
        finally:
            for task in (claiming, stopping):
                task.cancel()
            await asyncio.gather(claiming, stopping, return_exceptions=True)

    async def _attempt(self, claimed: ClaimedBuild, stop: asyncio.Event) -> bool:
        """Whether this worker was in the way."""
        try:
            attempt = Attempt(self._building, claimed, self._builds, self._source, self._workspace, self._key, self._rng)
        except OSError as error:
            return await self._not_begun(claimed, f"this worker failed: {obstacle(error).message}")
        try:
            return await attempt.run(stop)
        except (OSError, FleetcastError) as error:
            # Of this machine, such as a full disk: the reaper gives the build to somebody else.
            log.error("attempt_broke", build=claimed.build, error=str(error))
            return True

    async def _not_begun(self, claimed: ClaimedBuild, reason: str) -> bool:
        log.error("attempt_not_begun", build=claimed.build, reason=reason)
        with contextlib.suppress(FleetcastError):  # untold: the reaper decides
            await self._builds.fail(claimed.build, claimed.token, reason, hand_back=True)
        return True


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    """Until ``stop``, at most ``seconds``."""
    try:
        async with asyncio.timeout(max(seconds, 0)):
            await stop.wait()
    except TimeoutError:
        return
