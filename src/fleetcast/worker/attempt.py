"""One attempt at one build, from the claim to the word that control takes about it.

However it goes, nothing of it is left on this machine: no process, no file.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from fleetcast.artifacts.signing import PrivateKey
from fleetcast.artifacts.tree import remove_tree
from fleetcast.client.builds import Builds
from fleetcast.model.build import BuildStatus, Recipe
from fleetcast.model.errors import FleetcastError, Invalid, NotFound, Stale, Unavailable
from fleetcast.model.limits import (
    BUILD_FINISH_S_MAX,
    BUILD_HAND_BACK_S_MAX,
    BUILD_SOURCE_S_MAX,
    BUILD_WATCH_INTERVAL_S_MIN,
)
from fleetcast.model.messages.builds import ClaimedBuild
from fleetcast.stores.obstacles import obstacle
from fleetcast.worker.building import Building
from fleetcast.worker.leftovers import end_leftovers
from fleetcast.worker.log import AttemptLog
from fleetcast.worker.patience import until_answered
from fleetcast.worker.publish import Publisher
from fleetcast.worker.recipe import RECIPE_NAME, complete_recipe, parse_recipe
from fleetcast.worker.source import Source, shown_repository
from fleetcast.worker.workspace import Held, Workspace

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What control is told of an attempt that did not succeed."""

    reason: str
    hand_back: bool
    """True: not the build's fault, let another worker try."""


def verdict_of(error: BaseException) -> Verdict | None:
    """What an error says about the build; ``None``: the attempt is void and nobody wants to hear of it."""
    match error:
        case Stale():
            return None
        case Unavailable():
            return Verdict(error.message, hand_back=True)
        case NotFound(code="no_upload"):
            return Verdict(f"the main store dropped its upload: {error.message}", hand_back=True)
        case FleetcastError():
            return Verdict(error.message, hand_back=False)
        case OSError():
            return Verdict(f"this worker failed: {obstacle(error).message}", hand_back=True)
        case _:
            return Verdict(f"this worker failed: {type(error).__name__}: {error}", hand_back=True)


class Attempt:
    """Carries out one claim."""

    def __init__(
        self,
        building: Building,
        claimed: ClaimedBuild,
        builds: Builds,
        source: Source,
        workspace: Workspace,
        key: PrivateKey,
        rng: random.Random,
    ) -> None:
        self._building = building
        self._claimed = claimed
        self._builds = builds
        self._source = source
        self._key = key
        self._rng = rng
        self._directory = workspace.attempt(f"{claimed.build}-{claimed.attempt}", Held(claimed.build, claimed.token))
        self._tree = self._directory / "tree"
        self._log = AttemptLog(self._directory / "log")
        self._log_refused = False
        self._bound = log.bind(build=claimed.build, attempt=claimed.attempt, artifact=claimed.name)

    async def run(self, stop: asyncio.Event) -> bool:
        """Until the build has ended, the token is void, or ``stop`` is set: then the build is handed back.

        Returns whether this worker was in the way, so that the build was handed back.
        """
        verdict: Verdict | None = None
        work = asyncio.create_task(self._work())
        beating = asyncio.create_task(self._beat())
        watching = asyncio.create_task(self._watch())
        sending = asyncio.create_task(self._log.pump(self._send_log))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({work, beating, watching, sending, stopping}, return_when=asyncio.FIRST_COMPLETED)
            verdict = await self._verdict(work, stopping)
            if verdict is not None and (beating.done() or watching.done() or sending.done()):
                self._bound.warning("attempt_void", reason=verdict.reason)
            elif verdict is not None:
                await self._tell(verdict, BUILD_HAND_BACK_S_MAX if stop.is_set() else BUILD_FINISH_S_MAX, sending)
        finally:
            await _cancelled(work, beating, watching, sending, stopping)
            self._log.close()
            await asyncio.to_thread(end_leftovers, self._directory)
            await self._source.drop(self._claimed.repository, self._claimed.commit_sha, self._tree)
            await asyncio.to_thread(remove_tree, self._directory)
        return verdict is not None and verdict.hand_back

    async def _verdict(self, work: asyncio.Task[None], stopping: asyncio.Task[bool]) -> Verdict | None:
        if not work.done():
            await _cancelled(work)
            if stopping.done():
                return Verdict("its worker was stopped", hand_back=True)
            self._bound.warning("attempt_void")
            return None
        error = work.exception()
        if error is None:
            return None
        if not isinstance(error, FleetcastError | OSError):
            self._bound.error("attempt_broke", exc_info=error)
        return verdict_of(error)

    async def _work(self) -> None:
        claimed = self._claimed
        self._step("claimed")
        self._bound.info("attempt_started", repository=shown_repository(claimed.repository), commit=claimed.commit_sha)
        self._log.line(self._building.head())
        self._log.line(f"{claimed.name}, attempt {claimed.attempt} on {self._building.config.name}")
        self._log.line(f"source: {shown_repository(claimed.repository)} at {claimed.commit_sha}")
        async with _within(BUILD_SOURCE_S_MAX, "fetching and checking out the commit"):
            await self._source.check_out(claimed.repository, claimed.commit_sha, claimed.trunk, self._tree)
        self._step("checked_out")
        recipe = complete_recipe(claimed.recipe, self._committed_recipe())
        assert recipe.output is not None
        if recipe.build is not None:
            mirror = self._source.mirror(claimed.repository, claimed.commit_sha)
            async with _within(claimed.command_s_max, "the build command"):
                await self._building.run(claimed, recipe, self._directory, self._tree, mirror, self._log)
        self._step("built")
        self._log.line(f"output: {recipe.output}")
        async with _within(claimed.pack_upload_s_max, "packing and uploading"):
            output = self._output(recipe.output)
            self._log.finish()
            await self._log.drain()  # control takes no log of a build that has succeeded
            await Publisher(self._builds, claimed, self._key, self._rng, self._step).publish(output, recipe)

    def _step(self, step: str) -> None:
        """Say how far it is: claimed, checked_out, built, uploading, uploaded, committed."""
        self._bound.info("attempt_step", step=step)

    def _committed_recipe(self) -> Recipe | None:
        path = self._tree / RECIPE_NAME
        if path.is_symlink():
            raise Invalid("invalid_recipe", f"{RECIPE_NAME} is a symlink: commit the file itself")
        return parse_recipe(path.read_bytes()) if path.is_file() else None

    def _output(self, name: str) -> Path:
        """Where the output is, once it is certain that it lies in the worktree."""
        output = self._tree / name
        # What git itself put at the top of the worktree is about this machine, not about the commit.
        if (self._tree / ".git").is_file():
            (self._tree / ".git").unlink()
        try:
            inside = output.resolve().is_relative_to(self._tree.resolve())
        except RuntimeError:  # what pathlib has for a circle of symlinks
            raise Invalid("illegal_output", f"output {name!r} is a symlink that leads back to itself: remove it") from None
        if not inside:
            raise Invalid("illegal_output", f"output {name!r} leads out of the repository: copy what it points to")
        return output

    async def _beat(self) -> None:
        """Ends only by an error: the token is void, or control does not know the build."""
        while True:
            await asyncio.sleep(self._claimed.heartbeat_interval_s)
            await until_answered(
                lambda: self._builds.heartbeat(self._claimed.build, self._claimed.token),
                self._rng,
                longest_wait_s=self._claimed.heartbeat_interval_s,
            )

    async def _watch(self) -> None:
        """Ends only by :class:`Stale`, seconds after nobody wants the attempt any more; heartbeats would tell minutes later."""
        loop, claimed = asyncio.get_running_loop(), self._claimed
        status: str = BuildStatus.RUNNING
        while status == BuildStatus.RUNNING:
            again_at = loop.time() + BUILD_WATCH_INTERVAL_S_MIN
            try:
                answer = await until_answered(lambda: self._builds.watch(claimed.build, claimed.token), self._rng)
            except Stale:
                raise
            except FleetcastError as error:  # such as a control that is too old to be asked this
                self._bound.info("attempt_unwatched", reason=error.message)
                break
            status = answer.status
            await asyncio.sleep(again_at - loop.time())
        await asyncio.Event().wait()

    async def _send_log(self, offset: int, text: str) -> None:
        if self._log_refused:
            return
        try:
            await until_answered(
                lambda: self._builds.append_log(self._claimed.build, self._claimed.token, offset, text), self._rng
            )
        except Invalid as error:
            # A build may succeed without its log.
            self._log_refused = True
            self._bound.warning("log_refused", reason=error.message)

    async def _tell(self, verdict: Verdict, within_s: float, sending: asyncio.Task[None]) -> None:
        self._bound.warning("attempt_failed", reason=verdict.reason, hand_back=verdict.hand_back)
        with contextlib.suppress(OSError):  # no room for that either: control is told all the same
            self._log.finish()
            self._log.line(f"{'handed back' if verdict.hand_back else 'failed'}: {verdict.reason}")
        claimed = self._claimed
        draining = asyncio.create_task(self._log.drain())
        # Once nobody sends any more, the token being void, the log will never be told.
        await asyncio.wait({draining, sending}, timeout=within_s / 2, return_when=asyncio.FIRST_COMPLETED)
        if not draining.done():
            self._bound.warning("log_incomplete")
        await _cancelled(draining)
        try:
            async with asyncio.timeout(within_s):
                await until_answered(
                    lambda: self._builds.fail(claimed.build, claimed.token, verdict.reason, hand_back=verdict.hand_back),
                    self._rng,
                )
        except TimeoutError:
            self._bound.error("verdict_untold", reason=verdict.reason)
        except Stale:
            self._bound.warning("attempt_void")


@asynccontextmanager
async def _within(seconds: float, what: str) -> AsyncIterator[None]:
    """Bounds one step. Raises :class:`Invalid`: it took longer."""
    try:
        async with asyncio.timeout(seconds) as bound:
            yield
    except TimeoutError:
        if not bound.expired():
            raise
        raise Invalid("too_slow", f"{what} took longer than the {seconds:g} s it may") from None


async def _cancelled(*tasks: asyncio.Task[None] | asyncio.Task[bool]) -> None:
    """Cancel tasks and wait until they have ended; what they raise was looked at or does not matter any more."""
    for task in tasks:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
