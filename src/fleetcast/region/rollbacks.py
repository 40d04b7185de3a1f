"""Going back at this region alone, past control; and keeping that up until control says that somebody has deployed since.

Who went back is written first, then the goal, by compare-and-swap: one without the other says nothing. All of it is in the
regional store, so that another process of the region, or the next one, stands by it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Collection
from typing import Final

import structlog

from fleetcast.http import messages
from fleetcast.model.artifact import goal_key, past_key, rollback_key
from fleetcast.model.errors import Conflict, FleetcastError, NotFound, Refused
from fleetcast.model.goal import Goal, ReleaseRef
from fleetcast.model.ids import DeploymentId, Digest, RegionName, ServiceName
from fleetcast.model.limits import GOAL_LIFETIME_S, REGION_GOAL_LOOK_S, REGION_ROLLBACKS_MAX
from fleetcast.model.lines import one_line
from fleetcast.model.messages.region_rollbacks import RegionRollbackRequest, RegionRollbackStatus
from fleetcast.model.region_rollback import RegionRollback, StandingRollback
from fleetcast.region.breaking_glass import Known, chosen, gone_back, only, renewed
from fleetcast.region.machines import MachineBook
from fleetcast.region.past import Past, remembered
from fleetcast.region.rollup import roll_up
from fleetcast.region.view import RegionView
from fleetcast.stores.kv import KeyValueStore

log = structlog.get_logger(__name__)

_ID_BYTES: Final = 8
_TRIES: Final = 5
_LIFETIME_MS: Final = GOAL_LIFETIME_S * 1000


class RegionRollbacks:
    """Those of one region. ``is_complete``: whether the region's bucket has an artifact; ``now_ms``: this host's clock, UTC."""

    def __init__(
        self,
        region: RegionName,
        store: KeyValueStore,
        view: RegionView,
        machines: MachineBook,
        is_complete: Callable[[Digest], bool],
        now_ms: Callable[[], int],
    ) -> None:
        self._region = region
        self._store = store
        self._view = view
        self._machines = machines
        self._is_complete = is_complete
        self._now_ms = now_ms

    async def go_back(self, request: RegionRollbackRequest) -> RegionRollbackStatus:
        """Have this region's machines go back, now.

        Raises:
            NotFound: the region has no goal for the service, or no such release.
            Refused: there is nothing to go back to, or too many rollbacks stand already.
            Conflict: the goal was written by others again and again meanwhile.
        """
        environment = request.environment or self._environment_of(request.service)
        if len(self._view.rollbacks) >= REGION_ROLLBACKS_MAX and self._view.rollback(environment, request.service) is None:
            raise Refused("too_many_rollbacks", f"{REGION_ROLLBACKS_MAX} services are rolled back in this region already")
        for _ in range(_TRIES):
            try:
                rollback, goal = await self._attempt(request, environment)
            except Conflict:
                continue
            log.warning(
                "rolled_back_here",
                service=goal.service,
                environment=environment,
                deployment=goal.deployment,
                target=goal.target.artifact,
                by=rollback.by,
                why=rollback.why,
            )
            return self._status(rollback, goal)
        raise Conflict("goal_moved_on", f"the goal of {request.service} is being written by others: do this again")

    def status(self, environment: str, service: ServiceName) -> RegionRollbackStatus:
        """How far the region's machines are. Raises :class:`NotFound` where no rollback stands."""
        rollback, goal = self._view.rollback(environment, service), self._view.goal(environment, service)
        if rollback is None or goal is None:
            raise NotFound("no_rollback", f"no rollback of {service} in {environment} stands at this region")
        return self._status(rollback, goal)

    def standing(self) -> tuple[StandingRollback, ...]:
        """For control."""
        now_ms = self._now_ms()
        found = [
            StandingRollback(rollback, goal.generation, max(0, now_ms - rollback.at_ms))
            for rollback, goal in self._view.rollbacks
        ]
        return tuple(found[:REGION_ROLLBACKS_MAX])

    async def let_go(self, over: Collection[DeploymentId]) -> bool:
        """Somebody has deployed since: from now on control's goals are taken again. Returns whether there was any."""
        found = [rollback for rollback, _ in self._view.rollbacks if rollback.deployment in over]
        for rollback in found:
            key = rollback_key(rollback.environment, rollback.service)
            entry = await self._store.get(key)
            if entry is not None and messages.decode(entry.value, RegionRollback) == rollback:
                await self._store.delete(key, expected=entry.mod_revision)
                log.info("rollback_is_over", service=rollback.service, environment=rollback.environment)
        return bool(found)

    async def run(self) -> None:
        """Renew what stands until cancelled."""
        while True:
            try:
                await self.renew()
            except FleetcastError as error:
                log.warning("goal_not_renewed", error=error.message)
            await asyncio.sleep(REGION_GOAL_LOOK_S)

    async def renew(self) -> None:
        """Control does not renew these goals: it has others. Raises :class:`Unavailable`."""
        for rollback, goal in self._view.rollbacks:
            longer = renewed(goal, self._now_ms(), _LIFETIME_MS)
            entry = await self._store.get(goal_key(goal.environment, goal.service))
            if longer is not None and entry is not None and messages.decode(entry.value, Goal) == goal:
                await self._store.put(
                    goal_key(goal.environment, goal.service), messages.encode(longer), expected=entry.mod_revision
                )
                log.info("goal_renewed", service=goal.service, environment=goal.environment, deployment=rollback.deployment)

    def _environment_of(self, service: ServiceName) -> str:
        machines = self._machines.everybody(time.monotonic())
        return only((held.goal for held in self._view.goals), service, self._region, machines).environment

    async def _attempt(self, request: RegionRollbackRequest, environment: str) -> tuple[RegionRollback, Goal]:
        """Raises :class:`Conflict` when the goal was written by somebody else meanwhile."""
        key = goal_key(environment, request.service)
        entry = await self._store.get(key)
        if entry is None:
            where = f" in {environment}" if request.environment else ""
            raise NotFound("unknown_service", f"this region has no goal for a service {request.service}{where}: check the name")
        held, past = messages.decode(entry.value, Goal), await self._past(environment, request.service)
        target = chosen(Known(held, past, self._releases(request.service)), request.to)
        now_ms = self._now_ms()
        deployment = DeploymentId(secrets.token_hex(_ID_BYTES))
        goal = gone_back(held, target, deployment, now_ms, _LIFETIME_MS)
        rollback = RegionRollback(
            region=self._region,
            service=request.service,
            environment=environment,
            deployment=deployment,
            over=held.deployment,
            left=held.target,
            target=target,
            at_ms=now_ms,
            by=one_line(request.by),
            why=one_line(request.why),
        )
        await self._store.put(rollback_key(environment, request.service), messages.encode(rollback))
        await self._store.put(key, messages.encode(goal), expected=entry.mod_revision)
        await self._store.put(past_key(environment, request.service), messages.encode(remembered(past, goal)))
        return rollback, goal

    async def _past(self, environment: str, service: ServiceName) -> Past:
        entry = await self._store.get(past_key(environment, service))
        return () if entry is None else messages.decode(entry.value, tuple[ReleaseRef, ...])

    def _releases(self, service: ServiceName) -> tuple[ReleaseRef, ...]:
        """Of the service, whole in the region's bucket; the oldest first."""
        records = [record for records in self._view.artifacts().values() for record in records]
        of_it = [record.release for record in records if record.release.artifact.startswith(f"{service}/")]
        return tuple(release for release in of_it if self._is_complete(release.digest))

    def _status(self, rollback: RegionRollback, goal: Goal) -> RegionRollbackStatus:
        sums = roll_up(goal, self._machines.told(goal, time.monotonic()))
        silent = 0 if sums.cohort is None else sums.cohort.silent
        return RegionRollbackStatus(rollback, sums.selected, sums.active, sums.failed, silent, sums.failures, sums.waiting)
