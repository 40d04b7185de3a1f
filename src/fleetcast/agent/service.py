"""One service on this machine: what is under way is what :mod:`fleetcast.agent.reconcile` says should be."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import structlog

from fleetcast.agent import retention, spawning
from fleetcast.agent.activation import Activator
from fleetcast.agent.config import AgentConfig
from fleetcast.agent.drift import DriftWatch
from fleetcast.agent.fetching import Fetcher, Untrusted
from fleetcast.agent.gate import Instance
from fleetcast.agent.hooks import HookRunner
from fleetcast.agent.layout import ServiceKey, ServiceLayout
from fleetcast.agent.logs import bound_log
from fleetcast.agent.memory import ServiceMemory
from fleetcast.agent.permits import PermitDesk
from fleetcast.agent.processes import ServiceProcess
from fleetcast.agent.reconcile import Activate, Decision, Fetch, Observed, available, reconcile
from fleetcast.agent.region import RegionClient
from fleetcast.agent.releases import ReleaseStore
from fleetcast.agent.retention import Surplus
from fleetcast.agent.retrying import retry_s
from fleetcast.agent.room_desk import RoomDesk
from fleetcast.agent.sharing import Sharing
from fleetcast.agent.sockets import ServiceSockets
from fleetcast.agent.standing import Clock, removal_report, service_report
from fleetcast.agent.state import Activation, Fetched, ServiceState, given_up
from fleetcast.agent.supervisor import FoundUnits, Supervisor
from fleetcast.agent.under_way import Trouble, UnderWay
from fleetcast.agent.uninterrupted import to_the_end
from fleetcast.agent.vitals import Vitals
from fleetcast.artifacts.signing import PublicKey
from fleetcast.model.deployment import ByteCounts
from fleetcast.model.errors import FleetcastError
from fleetcast.model.generation import FIRST
from fleetcast.model.goal import Goal, ReleaseRef
from fleetcast.model.ids import Digest, ServiceName
from fleetcast.model.limits import AGENT_TICK_S, DRIFT_REPAIR_PAUSE_S, SERVICE_LOG_BYTES_MAX
from fleetcast.model.machine import Machine
from fleetcast.model.permit import PermitRequest
from fleetcast.model.report import ServiceReport
from fleetcast.stores import boots

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the services of one machine have in common."""

    config: AgentConfig
    machine: Callable[[], Machine]
    """This machine, as it is labelled at the moment."""
    region: RegionClient
    sharing: Sharing
    room: RoomDesk
    supervisor: Supervisor
    keys: Sequence[PublicKey]
    rng: Random
    changed: Callable[[], None]
    """To be called when a report would read differently."""
    now_ms: Callable[[], int]
    """UTC, for when goals expire."""
    alarm: Callable[[str], None] = lambda _line: None
    """To be called with what a person should know."""


class ServiceDriver:
    """Drives one service. :meth:`run` is its one loop; a fetch and a change-over go on beside it, at most one of each."""

    def __init__(self, key: ServiceKey, layout: ServiceLayout, around: Surroundings) -> None:
        layout.make()
        self._key = key
        self._layout = layout
        self._around = around
        self._goal: Goal | None = None
        self._store = ReleaseStore(layout, around.keys)
        self._memory = ServiceMemory(layout.state)
        self._process = ServiceProcess(layout, around.supervisor)
        self._sockets = ServiceSockets(layout, around.supervisor)
        self._permits = PermitDesk(around.region, self._permit_request, around.rng)
        self._hooks = HookRunner(layout)
        shared = (around.region, around.sharing, around.room, around.keys)
        self._fetcher = Fetcher(key, layout, self._store, *shared, around.rng, around.alarm, self._pre_fetch)
        around.room.on_short.append(self.look)
        running = (self._process, self._sockets, self._permits, self._hooks)
        self._activator = Activator(around.config, key, layout, self._store, self._memory, *running, around.alarm)
        self._drift = DriftWatch(layout, self._store, self._settled, around.config.drift_look_s, self.look)
        self._vitals = Vitals(self._process, self._store, self._memory, self._activator, self.look)
        self._repair_again_ms = 0
        """Uptime before which nothing is repaired."""
        self._wake = asyncio.Event()
        self._fetch: UnderWay[Fetch] | None = None
        self._activation: UnderWay[Activate] | None = None
        self._watching: UnderWay[Instance] | None = None
        self._troubles = {kind: Trouble() for kind in ("service", "activation", "fetch", "repair")}

    async def find_again(self) -> None:
        """What is on disk, and share it. To be called before :meth:`run`."""
        await asyncio.to_thread(self._store.scan)
        for root_digest, root in self._store.roots():
            if root.digest in self._store.disk.releases:
                try:
                    await self._around.sharing.share(root, root_digest, self._layout.release(root.digest))
                except (FleetcastError, OSError) as error:
                    log.warning("release_not_shared", release=root.digest, error=str(error))

    def pursue(self, goal: Goal | None) -> None:
        """From now on this is the goal; ``None``: there is none, and everything stays as it is."""
        if goal != self._goal:
            self._goal = goal
            self._wake.set()

    def look(self) -> None:
        """Something outside of this service has changed: decide again."""
        self._wake.set()

    async def run(self, units: FoundUnits) -> None:
        """Until cancelled. What runs then goes on running. Nothing is done before what hooks and checks left running ended."""
        alone = False
        while not alone:
            async with self._guarded("service"):
                await self._activator.end_leftovers(units)
                alone = True
        watching = {asyncio.create_task(self._drift.run()), asyncio.create_task(self._vitals.watch.run())}
        try:
            while True:
                self._wake.clear()
                pause_s = float(AGENT_TICK_S)
                async with self._guarded("service"):
                    pause_s = await self._pass()
                self._around.changed()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._wake.wait()
        finally:
            for task in watching:
                task.cancel()
            await asyncio.wait(watching)
            await self._leave()

    def report(self, clock: Clock) -> ServiceReport | None:
        """How far this machine is with the goal; ``None`` without one."""
        goal = self._goal
        if goal is None:
            return None
        if goal.removed:
            return removal_report(goal, gone=self.gone, error=self._trouble())
        root = self._store.root(goal.target.root)
        down = self._vitals.trouble()
        active = self._memory.state.active
        return service_report(
            goal,
            self._memory.state,
            whole=self._store.disk.has(goal.target),
            content_size=root.content_size if root else 0,
            up=not down,
            serving=self._activator.serves_beside,
            fetch=self._fetcher.standing(),
            waiting_for=self._waiting_for(goal),
            error=self._trouble() or down,
            clock=clock,
            deaths=self._vitals.deaths.lately(active.activation) if active else 0,
            drift=self._drift.lines,
        )

    def _settled(self) -> Digest | None:
        """The release that is active, while nothing is being changed about it."""
        active = self._memory.state.active
        return active.release.digest if active is not None and self._memory.state.activation is None else None

    @property
    def gone(self) -> bool:
        """Whether nothing of this service is left here but what outlives its removal."""
        return self._memory.state == ServiceState() and not self._activator.on_record and self._store.empty

    def _trouble(self) -> str:
        return next((trouble.text for trouble in self._troubles.values() if trouble.text), "")

    def _waiting_for(self, goal: Goal) -> str:
        activation = self._memory.state.activation
        if activation is not None:
            return self._hooks.under_way or self._ends(activation) or f"{activation.release.artifact} to come up"
        if goal.expired(self._around.now_ms()):
            return "a goal that has not expired"
        return self._hooks.under_way or self._permits.waiting_for or "its wave"

    def _ends(self, activation: Activation) -> str:
        within_s, went = self._process.draining_s, activation.leaving
        return f"{went.artifact} to end, within {within_s:g} s" if within_s and went is not None else ""

    def _permit_request(self) -> PermitRequest:
        return PermitRequest(
            machine=self._around.config.machine.id,
            service=ServiceName(self._key.service),
            environment=self._key.environment,
            generation=self._goal.generation if self._goal else FIRST,
            available=self._activator.serves_beside or available(self._memory.state, self._vitals.status()),
        )

    async def _pass(self) -> float:
        """Look, decide, make it so. Returns for how many seconds nothing need be looked at again."""
        goal = self._goal
        if goal is not None and not goal.removed:
            await self._memory.change(lambda state: retention.learned(state, goal))
        await asyncio.to_thread(bound_log, self._process.log, SERVICE_LOG_BYTES_MAX)
        self._watch()
        if self._fetch is not None and self._fetch.over:
            self._fetch = None
        if self._activation is not None and self._activation.over:
            self._activation = None
        if self._activation is None:
            await self._activator.settle()
            await self._straighten()
        decision = reconcile(self._observe(await self._around.room.short_bytes()), self._around.now_ms())
        if not await self._follow_activation(decision):
            return 0.0
        await self._follow_fetch(decision)
        if decision.forget:
            await self._forget()
            return 0.0
        if decision.stop:
            await self._activator.stop(drain=goal is not None and goal.removed)
            self._wake.set()
        return await self._follow_restart(decision)

    def _observe(self, short_bytes: int) -> Observed:
        return Observed(
            machine=self._around.machine(),
            goal=self._goal,
            state=self._memory.state,
            disk=self._store.disk,
            fetching=self._fetch.order.release if self._fetch else None,
            process=self._vitals.look(),
            started=bool(self._activator.on_record),
            deaths=self._vitals.deaths.count,
            down_since_ms=self._vitals.deaths.since_ms,
            damaged=not self._around.config.observe and self._damaged(),
            waits_for_room=self._fetcher.waits_for_room,
            spare=self._store.spare(self._around.config.keep_more, short_bytes),
        )

    def _damaged(self) -> bool:
        settled = self._settled()
        return settled is not None and self._drift.damaged(settled) and boots.uptime_ms() >= self._repair_again_ms

    async def _straighten(self) -> None:
        if where := await self._drift.straighten(repair=not self._around.config.observe):
            self._around.alarm(f"{self._key.service}: {where}, and was put right")

    async def _follow_activation(self, decision: Decision) -> bool:
        """False: a change-over was ended. It may have begun in its last moment, so that everything is to be decided again."""
        wanted = decision.activate
        if self._activation is not None:
            if wanted is not None and wanted.continues(self._activation.order):
                return True
            await self._activation.end()
            self._activation = None
            return False
        if wanted is not None:
            self._activation = UnderWay(wanted, asyncio.create_task(self._change_over(wanted)))
        return True

    async def _forget(self) -> None:
        """The service is removed: nothing of it counts any more, neither what runs nor what it could go back to."""
        active, goal = self._memory.state.active, self._goal
        await self._activator.tidy()  # what never came up is not stopped, and may have left units' files
        if active is not None and goal is not None:
            await self._activator.deactivate(active.release, goal.deployment, coming=None)
        log.info("service_forgotten", service=self._key.service)
        await self._memory.change(lambda _: ServiceState())
        self._permits.give_back()

    async def _follow_fetch(self, decision: Decision) -> None:
        wanted = decision.fetch
        if self._fetch is not None:
            if wanted is not None and wanted.release == self._fetch.order.release:
                # Perhaps for another deployment by now, to which its bytes count.
                self._fetch.order = wanted if wanted.deployment else self._fetch.order
                if decision.collect:
                    await self._collect(decision.collect)
                return
            await self._fetch.end()
            self._fetch = None
        if decision.collect:
            await self._collect(decision.collect)
        if wanted is not None:
            bringing = self._repair(wanted.release) if wanted.repair else self._bring_in(wanted.release)
            self._fetch = UnderWay(wanted, asyncio.create_task(bringing))

    async def _follow_restart(self, decision: Decision) -> float:
        if decision.restart is None:
            return float(AGENT_TICK_S)
        left_ms = decision.restart.at_ms - boots.uptime_ms()
        if left_ms > 0:
            return min(left_ms / 1000, float(AGENT_TICK_S))
        log.warning("service_restarted", service=self._key.service, reason=decision.restart.reason)
        await self._activator.restart()
        self._vitals.watch.restarted()
        self._watch()
        return float(AGENT_TICK_S)

    async def _change_over(self, order: Activate) -> None:
        try:
            async with self._guarded("activation"):
                await self._activator.run(order)
        finally:
            self._wake.set()

    async def _bring_in(self, release: ReleaseRef) -> None:
        try:
            async with self._guarded("fetch"):
                try:
                    await self._fetcher.fetch(release, lambda counts: self._count(release, counts))
                except Untrusted as error:
                    await self._refuse(release, str(error))
        finally:
            self._wake.set()

    async def _repair(self, release: ReleaseRef) -> None:
        try:
            async with self._guarded("repair"):
                await self._fetcher.repair(release, lambda fresh: self._mend(release, fresh))
        finally:
            self._repair_again_ms = boots.uptime_ms() + DRIFT_REPAIR_PAUSE_S * 1000
            self._wake.set()

    async def _mend(self, release: ReleaseRef, fresh: Path) -> None:
        # Told here and not when the repair is over: it is ended as soon as nothing is damaged any more.
        if mended := await self._drift.mend(release.digest, fresh):
            said = "; ".join(mended)
            log.warning("release_repaired", service=self._key.service, release=release.artifact, lines=mended)
            self._around.alarm(f"{release.artifact} was changed on this machine ({said}), and was put right")

    async def _refuse(self, release: ReleaseRef, error: str) -> None:
        log.error("release_untrusted", service=self._key.service, release=release.artifact, error=error)
        if (goal := self._goal) is not None:
            await self._memory.change(lambda state: given_up(state, goal.deployment, release.root, error, ()))

    async def _pre_fetch(self, release: ReleaseRef) -> None:
        await self._activator.pre_fetch(release, self._fetch.order.deployment if self._fetch else None)

    async def _count(self, release: ReleaseRef, counts: ByteCounts) -> None:
        deployment = self._fetch.order.deployment if self._fetch else None
        if deployment is not None:
            await self._memory.change(lambda state: replace(state, fetched=Fetched(deployment, release.root, counts)))

    @contextlib.asynccontextmanager
    async def _guarded(self, kind: str) -> AsyncIterator[None]:
        """Around all work of this service: whatever goes wrong with it is logged and reported, and not tried again at once;
        the other services of this machine do not notice."""
        trouble = self._troubles[kind]
        try:
            yield
            trouble.over()
        except Exception as error:
            trouble.note(error)
            expected = isinstance(error, FleetcastError | OSError)
            log.error("service_trouble", service=self._key.service, kind=kind, error=trouble.text, exc_info=not expected)
            self._around.changed()
            await asyncio.sleep(retry_s(trouble.failures, self._around.rng))

    def _watch(self) -> None:
        """Wake up when the newest instance ends."""
        instance = self._process.instance
        if self._watching is not None:
            if self._watching.order == instance:
                return
            self._watching.task.cancel()
            self._watching = None
        if instance is not None:
            self._watching = UnderWay(instance, asyncio.create_task(self._await_end(instance)))

    async def _await_end(self, instance: Instance) -> None:
        await spawning.ended(instance.process)
        self._wake.set()

    async def _collect(self, surplus: Surplus) -> None:
        sharing = self._around.sharing
        free = frozenset(digest for digest in surplus.releases if not sharing.lock(digest).locked())
        # One that another service is copying from right now goes at the next look.
        for digest in free:
            async with sharing.lock(digest):
                await sharing.withdraw(digest, self._layout.release(digest))
        log.info("releases_discarded", service=self._key.service, releases=sorted(free), incoming=sorted(surplus.incoming))
        await to_the_end(self._store.discard(replace(surplus, releases=free)))

    async def _leave(self) -> None:
        for under_way in (self._fetch, self._activation, self._watching):
            if under_way is not None:
                await under_way.end()
        await self._permits.close()
