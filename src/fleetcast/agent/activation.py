"""A change-over: stop what runs, switch ``current``, start, wait for health; on failure, arrange for the way back.

What is about to be done is on disk before it is done, and each step may be done again: an agent that was killed in the middle
begins the same change-over from its first step, and finds what it had started.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, replace

import structlog

from fleetcast.agent import switch
from fleetcast.agent.config import AgentConfig
from fleetcast.agent.environment import service_environment
from fleetcast.agent.health import HealthCheck, Unhealthy, healthy
from fleetcast.agent.layout import ServiceKey, ServiceLayout
from fleetcast.agent.memory import ServiceMemory
from fleetcast.agent.permits import PermitDesk
from fleetcast.agent.processes import ServiceProcess
from fleetcast.agent.reconcile import Activate, ProcessStatus
from fleetcast.agent.releases import ReleaseStore
from fleetcast.agent.state import Activation, Active, failed, passed
from fleetcast.agent.uninterrupted import to_the_end
from fleetcast.model.artifact import Root
from fleetcast.model.errors import Refused
from fleetcast.model.goal import ReleaseRef
from fleetcast.stores import boots

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Activator:
    """The change-overs of one service; one at a time."""

    config: AgentConfig
    key: ServiceKey
    layout: ServiceLayout
    store: ReleaseStore
    memory: ServiceMemory
    process: ServiceProcess
    permits: PermitDesk

    async def run(self, order: Activate) -> None:
        """Carry it out to its end: active, or failed with the way back on record. Safe to cancel at any point.

        Raises:
            OSError, Refused: this machine is in the way (a full disk, a process that cannot be killed): to be tried again.
        """
        if order.needs_permit:
            await self.permits.obtain()
        self.permits.keep()
        activation = await self._begin(order)
        try:
            await self._bring_up(activation)
        except Unhealthy as failure:
            await self._failed(activation, str(failure))
        else:
            await self._passed(activation)
        if self.memory.state.activation is None:
            self.permits.give_back()

    async def restart(self) -> None:
        """Start again what is active; nothing happens when it has nothing to start. What is left of it is ended first."""
        active = self.memory.state.active
        if active is not None:
            await self.process.stop(self.config.stop_grace_s)
            self._start(active.activation, active.release)

    async def _begin(self, order: Activate) -> Activation:
        begun = self.memory.state.activation
        if begun is not None and order.begun:
            return begun
        activation = Activation(_new_id(), order.release, order.deployment, order.generation)
        await self.memory.change(lambda state: replace(state, activation=activation))
        log.info("activation_begun", service=self.key.service, release=order.release.artifact, reason=order.reason)
        return activation

    async def _bring_up(self, activation: Activation) -> None:
        release = activation.release
        found = self.process.instance is not None and self.process.instance.activation == activation.id
        if found and self.process.status() is ProcessStatus.DOWN and self.process.exit_code() is None:
            # It ended without a word while no agent looked, perhaps still at its gate: it gets another start.
            found = False
        # An agent that is told to stop in the middle must not leave the service down until it is started again.
        await to_the_end(self._swap(activation, start=not found))
        await healthy(self._check(release), self.process)

    async def _swap(self, activation: Activation, *, start: bool) -> None:
        if start:
            await self.process.stop(self.config.stop_grace_s)
        await asyncio.to_thread(switch.point, self.layout, activation.release.digest)
        if start:
            self._start(activation.id, activation.release)

    async def _passed(self, activation: Activation) -> None:
        active = Active(activation.release, activation.id, True, boots.boot(), boots.uptime_ms())
        await self.memory.change(lambda state: passed(state, active))
        log.info("activation_passed", service=self.key.service, release=activation.release.artifact)

    async def _failed(self, activation: Activation, error: str) -> None:
        log.error("activation_failed", service=self.key.service, release=activation.release.artifact, error=error)
        back = _new_id()
        await self.memory.change(lambda state: failed(state, activation, error, back))

    def _start(self, activation: str, release: ReleaseRef) -> None:
        root = self._root(release)
        if root.activate:
            self.process.start(activation, root.activate, self.layout.tree(release.digest), self._environment(release, root))

    def _check(self, release: ReleaseRef) -> HealthCheck:
        root = self._root(release)
        return HealthCheck(
            command=root.health,
            timeout_s=root.health_timeout_s,
            interval_s=self.config.health_interval_s,
            settle_s=self.config.settle_s,
            directory=self.layout.tree(release.digest),
            environment=self._environment(release, root),
            log=self.layout.log / "health.log",
        )

    def _environment(self, release: ReleaseRef, root: Root) -> dict[str, str]:
        return service_environment(self.key, self.layout, release, root, self.config.machine, self.config.environment)

    def _root(self, release: ReleaseRef) -> Root:
        root = self.store.root(release.root)
        if root is None:
            raise Refused("root_missing", f"the signed root of {release.artifact} is not on this machine: deploy it again")
        return root


def _new_id() -> str:
    return uuid.uuid4().hex
