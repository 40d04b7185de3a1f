"""A change-over: stop what runs, switch ``current``, start, wait for health; on failure, arrange for the way back. Between
these, the hooks of the releases that come and go. Where both releases are started with the same sockets the new one is started
and found healthy first, and nothing is down in between.

What is about to be done is on disk before it is done, and each step may be done again: an agent that was killed in the middle
begins the same change-over from its first step, and finds what it had started.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from fleetcast.agent import probing, spawning, switch
from fleetcast.agent.accounts import NoSuchAccount, account_of, give
from fleetcast.agent.config import AgentConfig
from fleetcast.agent.environment import hook_environment, service_environment
from fleetcast.agent.gate import Instance
from fleetcast.agent.health import Unhealthy, healthy
from fleetcast.agent.hooks import HookFailed, HookRunner
from fleetcast.agent.layout import ServiceKey, ServiceLayout
from fleetcast.agent.memory import ServiceMemory
from fleetcast.agent.permits import PermitDesk
from fleetcast.agent.probing import HealthCheck
from fleetcast.agent.processes import ServiceProcess
from fleetcast.agent.reconcile import Activate, ProcessStatus
from fleetcast.agent.releases import ReleaseStore
from fleetcast.agent.sockets import CannotListen, ServiceSockets
from fleetcast.agent.spawning import Account
from fleetcast.agent.state import Activation, Active, failed, given_up, leaving, passed
from fleetcast.agent.supervisor import FoundUnits, tidy
from fleetcast.agent.uninterrupted import in_time, to_the_end
from fleetcast.model.artifact import Root
from fleetcast.model.errors import Refused
from fleetcast.model.goal import ReleaseRef
from fleetcast.model.hooks import HookName
from fleetcast.model.ids import DeploymentId
from fleetcast.model.listening import HEALTH_VARIABLE, has_own_socket
from fleetcast.model.probe import filled_in
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
    sockets: ServiceSockets
    permits: PermitDesk
    hooks: HookRunner
    alarm: Callable[[str], None]
    """To be called with what a person should know and no deployment tells."""

    @property
    def health_log(self) -> Path:
        """What the newest attempt at a health check printed."""
        return self.layout.log / "health.log"

    @property
    def serves_beside(self) -> bool:
        """Whether what was in service before the change-over that is going on still is."""
        leaving = self.process.leaving
        return self.memory.state.activation is not None and leaving is not None and self._serving() == leaving

    @property
    def on_record(self) -> list[Instance]:
        """All that was started and never stopped, running or not; what keeps the sockets is among it."""
        started = (self.process.instance, self.process.leaving, self.sockets.keeper)
        return [instance for instance in started if instance is not None]

    async def end_leftovers(self, units: FoundUnits) -> None:
        """End what an agent that was killed has left running and nobody needs. To be called before anything else, until it
        succeeds: what still runs would tread on what is started.

        Raises:
            OSError, Refused: some of it survives SIGKILL, or its record cannot be removed.
        """
        await self.hooks.end_leftovers()
        await probing.end_leftovers(self.health_log)
        await self.sockets.end_leftovers()
        await units.tidy(self.layout.run, [instance.id for instance in self.on_record])

    async def settle(self) -> None:
        """Of two that run after a change-over, as an agent leaves them that is killed at its end, the one in service stays.

        Raises:
            Refused: the other one survives SIGKILL, or systemd does not end it.
        """
        state = self.memory.state
        if state.activation is None and state.active is not None and self.process.leaving is not None:
            serves = self._serving() == self.process.leaving
            await (self.process.come_back if serves else self.process.end_leaving)(self.config.stop_grace_s)

    async def run(self, order: Activate) -> None:
        """Carry it out to its end: active, or failed with the way back on record. Safe to cancel at any point.

        Raises:
            OSError, Refused: this machine is in the way (a full disk, a process that cannot be killed): to be tried again.
        """
        if not order.begun and not await self._prepared(order):
            return
        if not self._goes_beside(order.release):
            if order.needs_permit or self.serves_beside:
                await self.permits.obtain()
            self.permits.keep()
        activation = await self._begin(order)
        try:
            await self._bring_up(activation)
        except (Unhealthy, HookFailed) as failure:
            await self._failed(activation, str(failure), failure.output)
        else:
            await self._passed(activation)
        if self.memory.state.activation is None:
            self.permits.give_back()

    async def restart(self) -> None:
        """Start again what is active; nothing happens when it has nothing to start. What is left of it is ended first.

        Raises:
            OSError, Refused: this machine is in the way.
        """
        active = self.memory.state.active
        if active is not None:
            await self.process.stop(self.config.stop_grace_s)
            try:
                await self._start(active.activation, active.release)
            except (Unhealthy, HookFailed) as error:
                advice = "see what else runs on this machine, or deploy another release"
                raise Refused(
                    "not_started_again", f"{active.release.artifact} is not started again: {error}; {advice}"
                ) from error

    async def stop(self, *, drain: bool) -> None:
        """End all that runs of the service, and close its sockets. ``drain``: as far as it was in service it has the time to
        finish that its recipe gives it."""
        await self._end_all((self.process.leaving or self.process.instance) if drain else None, asyncio.Event())
        await self.sockets.keep_only(())
        await self.tidy()

    async def tidy(self) -> None:
        """End every unit that is on no record; with none on record, remove the units' files.

        Raises:
            Refused: systemd does not do that.
        """
        await tidy(self.layout.run, [instance.id for instance in self.on_record])

    async def deactivate(self, release: ReleaseRef, deployment: DeploymentId, *, coming: ReleaseRef | None) -> None:
        """Run that hook of what is in service and is to be stopped. That it fails is told, and holds up nothing."""
        if self.store.root(release.root) is None:
            return
        try:
            await self._hook(HookName.DEACTIVATE, release, deployment, leaving=release, coming=coming)
        except HookFailed as failure:
            log.warning("deactivate_failed", service=self.key.service, release=release.artifact, error=str(failure))
            self.alarm(f"{release.artifact}: {failure}")

    async def pre_fetch(self, release: ReleaseRef, deployment: DeploymentId | None) -> None:
        """Run that hook of a release of which only the root is here; ``deployment``: for which it is fetched, if for any.

        Raises:
            HookFailed: this machine is not ready for it.
        """
        running = leaving(self.memory.state, self._started())
        await self._hook(HookName.PRE_FETCH, release, deployment, leaving=running, coming=release)

    async def _prepared(self, order: Activate) -> bool:
        """Whether nothing speaks against stopping what runs."""
        state = self.memory.state
        running = leaving(state, self._started())
        try:
            self._account(self._root(order.release))
            await self._hook(HookName.PRE_ACTIVATE, order.release, order.deployment, leaving=running, coming=order.release)
        except HookFailed as failure:
            error, output = str(failure), failure.output
            log.error("activation_refused", service=self.key.service, release=order.release.artifact, error=error)
            await self.memory.change(lambda state: given_up(state, order.deployment, order.release.root, error, output))
            return False
        return True

    async def _hook(
        self,
        name: HookName,
        release: ReleaseRef,
        deployment: DeploymentId | None,
        *,
        leaving: ReleaseRef | None,
        coming: ReleaseRef | None,
    ) -> None:
        root = self._root(release)
        hook = root.hooks.get(name)
        if hook is not None:
            service = self._environment(release, root)
            environment = hook_environment(service, name, deployment, leaving=leaving, coming=coming)
            directory = self.layout.data if name is HookName.PRE_FETCH else self.layout.tree(release.digest)
            await self.hooks.run(name, hook, release.artifact, directory, environment, self._account(root))

    def _started(self) -> str:
        started = self.process.leaving or self.process.instance
        return started.activation if started else ""

    def _serving(self) -> Instance | None:
        """The process of what is in service, if it runs."""
        active = self.memory.state.active
        for instance in (self.process.leaving, self.process.instance):
            if instance is not None and active is not None and active.passed and instance.activation == active.activation:
                return instance if spawning.alive(instance.process) else None
        return None

    def _goes_beside(self, release: ReleaseRef) -> bool:
        """Whether it can be started while what is in service goes on."""
        root, serving = self.store.root(release.root), self._serving()
        shared = root is not None and root.sockets and serving is not None and serving.sockets
        return bool(shared and self.sockets.kept)

    async def _begin(self, order: Activate) -> Activation:
        begun = self.memory.state.activation
        if begun is not None and order.begun:
            return begun
        activation = Activation(
            _new_id(),
            order.release,
            order.deployment,
            order.generation,
            leaving=leaving(self.memory.state, self._started()),
        )
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
        hurry = asyncio.Event()
        if self._goes_beside(release):
            if not found:
                await to_the_end(self._start_beside(activation))
        else:
            if not found:
                await self._take_out(activation)
            await to_the_end(self._swap(activation, hurry, start=not found), hurry)
        await healthy(self.check(release), self.process)
        if self.process.leaving is not None:
            await self._take_out(activation)
            await to_the_end(self._take_over(activation, hurry), hurry)
        await to_the_end(self.sockets.keep_only(self._addresses(release)))
        went, deployment = activation.leaving, activation.deployment
        await self._hook(HookName.POST_ACTIVATE, release, deployment, leaving=went, coming=release)

    async def _take_out(self, activation: Activation) -> None:
        if activation.leaving is not None:
            await self.deactivate(activation.leaving, activation.deployment, coming=activation.release)

    async def _start_beside(self, activation: Activation) -> None:
        if self.process.leaving is None:
            self.process.step_aside()
        else:
            # One that was coming up, and is not wanted any more.
            await self.process.end_newest(self.config.stop_grace_s)
        await self._start(activation.id, activation.release)

    async def _take_over(self, activation: Activation, hurry: asyncio.Event) -> None:
        await asyncio.to_thread(switch.point, self.layout, activation.release.digest)
        grace_s = self.config.stop_grace_s
        if not await in_time(self.process.end_leaving(grace_s, drain=True), hurry, grace_s):
            await self.process.end_leaving(0.0)

    async def _swap(self, activation: Activation, hurry: asyncio.Event, *, start: bool) -> None:
        if start:
            await self._end_all(self._serving(), hurry)
            # What is not kept may be what the new one binds itself.
            await self.sockets.keep_only(self._addresses(activation.release))
        await asyncio.to_thread(switch.point, self.layout, activation.release.digest)
        if start:
            await self._start(activation.id, activation.release)

    async def _end_all(self, in_service: Instance | None, hurry: asyncio.Event) -> None:
        """What is in service has the time to finish that its recipe gives it; ``hurry`` leaves it no more than others have."""
        if not await in_time(self._end_each(in_service), hurry, self.config.stop_grace_s):
            await self.process.stop(0.0)

    async def _end_each(self, in_service: Instance | None) -> None:
        """What was never in service has nothing to finish, and nobody waits for it to do so."""
        newest, grace_s = self.process.instance, self.config.stop_grace_s
        if in_service is None:
            await self.process.stop(grace_s)
        else:
            await self.process.end_newest(grace_s, drain=newest == in_service)
            await self.process.end_leaving(grace_s, drain=newest != in_service)

    async def _passed(self, activation: Activation) -> None:
        active = Active(activation.release, activation.id, True, boots.boot(), boots.uptime_ms())
        await self.memory.change(lambda state: passed(state, active))
        log.info("activation_passed", service=self.key.service, release=activation.release.artifact)

    async def _failed(self, activation: Activation, error: str, output: tuple[str, ...]) -> None:
        log.error("activation_failed", service=self.key.service, release=activation.release.artifact, error=error)
        if self.serves_beside:
            await to_the_end(self.process.come_back(self.config.stop_grace_s))
            given = (activation.deployment, activation.release.root, error, output)
            await self.memory.change(lambda state: replace(given_up(state, *given), activation=None))
            return
        back = _new_id()
        await self.memory.change(lambda state: failed(state, activation, error, back, output))

    async def _start(self, activation: str, release: ReleaseRef) -> None:
        """Raises :class:`Unhealthy`: an address that it is to listen at cannot be had."""
        root = self._root(release)
        if not root.activate:
            return
        what = (activation, root.activate, self.layout.tree(release.digest), self._environment(release, root))
        account = self._account(root)
        if not root.sockets:
            await self.process.start(*what, account=account, drain_s=root.drain_s)
            return
        try:
            own = has_own_socket(root.health, root.probe)
            async with self.sockets.opened(self._addresses(release), own=own) as passed:
                await self.process.start(*what, passed, account, root.drain_s)
        except CannotListen as error:
            raise Unhealthy(str(error)) from error

    def _addresses(self, release: ReleaseRef) -> tuple[str, ...]:
        """Raises :class:`Unhealthy`: one names what is not set here."""
        root = self._root(release)
        environment = self._environment(release, root)
        try:
            return tuple(filled_in(address, environment) for address in root.sockets)
        except KeyError as error:
            raise Unhealthy(f"its sockets name ${error.args[0]}, which is not set") from error

    def check(self, release: ReleaseRef) -> HealthCheck:
        """How that release is asked whether it is well. Raises :class:`Refused`: its root is not here."""
        root, instance = self._root(release), self.process.instance
        own = {HEALTH_VARIABLE: instance.own_socket} if instance is not None and instance.own_socket else {}
        return HealthCheck(
            command=root.health,
            probe=root.probe,
            timeout_s=root.health_timeout_s,
            interval_s=(root.probe.interval_s if root.probe else 0.0) or self.config.health_interval_s,
            settle_s=self.config.settle_s,
            directory=self.layout.tree(release.digest),
            environment={**self._environment(release, root), **own},
            log=self.health_log,
            account=self._account(root),
        )

    def _environment(self, release: ReleaseRef, root: Root) -> dict[str, str]:
        account = self._account(root)
        seen = service_environment(self.key, self.layout, release, root, self.config.machine, self.config.environment)
        return {**seen, **account.environment} if account else seen

    def _account(self, root: Root) -> Account | None:
        """As whom a release's commands run; ``None``: as the agent.

        Raises:
            HookFailed: that cannot be done here.
        """
        try:
            account = account_of(root.user)
        except NoSuchAccount as error:
            raise HookFailed(str(error), ()) from error
        if account is not None:
            give(self.layout.data, account)
        return account

    def _root(self, release: ReleaseRef) -> Root:
        root = self.store.root(release.root)
        if root is None:
            raise Refused("root_missing", f"the signed root of {release.artifact} is not on this machine: deploy it again")
        return root


def _new_id() -> str:
    return uuid.uuid4().hex
