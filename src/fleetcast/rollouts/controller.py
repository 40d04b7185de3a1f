"""The rollout controller: brings every unfinished deployment one step nearer to its end, in a loop that may run twice.

A controller claims deployments by writing a token of its own into their rows, with an expiry; every step names the token in
the transaction that takes it, so one that was too slow changes nothing (law 1). Each step decides on facts read in the same
transaction; while a deployment waits, machines are counted once a turn. Goals are decided in SQL and published from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from sqlalchemy import or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement

from fleetcast.model.deployment import DeploymentKind, DeploymentState
from fleetcast.model.errors import FleetcastError, Stale
from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal
from fleetcast.model.ids import DeploymentId, Digest, ServiceName, Token
from fleetcast.model.limits import (
    DISTRIBUTE_S_MAX,
    GOAL_LIFETIME_S,
    REPLICATE_S_MAX,
    ROLLOUT_INTERVAL_S,
    ROLLOUT_LEASE_S,
    TOKEN_BYTES,
)
from fleetcast.rollouts.clock_jumps import DeploymentClock
from fleetcast.rollouts.cohorts import Alike, open_next, shut_out
from fleetcast.rollouts.counting import Counting, TurnCounts, meant
from fleetcast.rollouts.deployments import UNFINISHED, deployment_rows, end, move, release_of
from fleetcast.rollouts.entering import take_back
from fleetcast.rollouts.facts import baseline, built_artifact, completed_at, gather
from fleetcast.rollouts.gate import GateLimits, Step, next_step
from fleetcast.rollouts.goals import read_standing, write_goal
from fleetcast.rollouts.hold_facts import record_hold
from fleetcast.rollouts.inventory import alike
from fleetcast.rollouts.planner import ALL, Order, halted, plan, succeeded, widened
from fleetcast.rollouts.publishing import Publisher
from fleetcast.rollouts.region_rollbacks import deployed_over, next_generation
from fleetcast.rollouts.stuck import Stuck
from fleetcast.rollouts.unwanted import Builds, stop_unwanted
from fleetcast.rollouts.wave_plan import draw_up
from fleetcast.rollouts.waves import record_health, record_passed, record_wave
from fleetcast.schema.columns import AnyRow, limits_of
from fleetcast.schema.tables import deployments, releases
from fleetcast.stores.database import Database, now_ms, read_clock_ms
from fleetcast.stores.kv import KeyValueStore

log = structlog.get_logger(__name__)

_STEPS_MAX: Final = len(DeploymentState)
_PLACE_CHARS: Final = 16


class RolloutController:
    """Call :meth:`wake` when something was triggered, built, replicated or reported; otherwise it looks every
    ``interval_s``."""

    def __init__(
        self,
        database: Database,
        kv: KeyValueStore,
        builds: Builds,
        *,
        replicate_s_max: float = REPLICATE_S_MAX,
        distribute_s_max: float = DISTRIBUTE_S_MAX,
        goal_lifetime_s: float = GOAL_LIFETIME_S,
        interval_s: float = ROLLOUT_INTERVAL_S,
        lease_s: float = ROLLOUT_LEASE_S,
        place: str = "",
        on_step: Callable[[], None] = lambda: None,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """``on_step`` is called when deployments have gone on here and what that decided is published.

        ``place`` names what only one control process at a time can have, and its successor has again, such as the address
        it listens on; empty: nothing. What somebody claimed there before is taken over at the start, without a wait for the
        claim to expire.
        """
        self._database = database
        self._builds = builds
        self._publisher = Publisher(database, kv)
        self._limits = GateLimits(replicate_s_max, distribute_s_max)
        self._goal_lifetime_s = goal_lifetime_s
        self._interval_s = interval_s
        self._lease_ms = int(lease_s * 1000)
        self._on_step = on_step
        self._counts = TurnCounts()
        self._clock = DeploymentClock(database, self._lease_ms, steady)
        self._place = f"{hashlib.sha256(place.encode()).hexdigest()[:_PLACE_CHARS]}." if place else ""
        self._token = Token(self._place + secrets.token_hex(TOKEN_BYTES))
        self._stuck = Stuck(database, self._token, distribute_s_max, steady)
        self._woken = asyncio.Event()
        self._obstacle = ""

    @property
    def obstacle(self) -> str:
        """Why no deployment goes on here just now, or one of them or a goal does not, in one line; empty: they do."""
        return self._obstacle or self._stuck.obstacle or self._publisher.obstacle

    def wake(self) -> None:
        """Look now. From the event loop of :meth:`run`."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Step until ``stop``; an engine that is away is tried again at the next turn."""
        waker = asyncio.create_task(self._wake_at(stop))
        restored = False
        try:
            while not stop.is_set():
                self._woken.clear()
                try:
                    if not restored:
                        await self.inherit()
                        await self._publisher.restore()
                        restored = True
                    await self.step()
                    self._obstacle = ""
                except (FleetcastError, SQLAlchemyError) as error:
                    log.warning("rollout_step_failed", error=str(error))
                    self._obstacle = error.message if isinstance(error, FleetcastError) else "its database cannot be used"
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), self._interval_s)
            await self._release()
        finally:
            waker.cancel()

    async def inherit(self) -> None:
        """Take over what was claimed at our place: whoever did so is gone. Should it live after all, its next step is refused
        (law 1), so that this can cost time and nothing else.
        """
        if not self._place:
            return
        await self._claim(deployments.c.token.startswith(self._place))

    async def step(self) -> None:
        """Advance every unfinished deployment as far as it goes now, and publish what was decided.

        Newest first: of two that are both ready, the older one never gets to write its goal. One whose step raises holds up
        no other; after ``distribute_s_max`` of that it has FAILED.
        """
        stepped = False
        await self._clock.set_right()
        claimed = await self._claimed()
        self._stuck.only(claimed)
        self._counts.begin(list(claimed.values()).count(DeploymentState.DISTRIBUTING))
        for deployment in claimed:
            stepped |= await self._stuck.apart(deployment, self._advance)
        await self._publisher.renew(self._goal_lifetime_s)
        await self._publisher.publish()
        if stepped:
            self._on_step()

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._woken.set()

    async def _claimed(self) -> dict[DeploymentId, DeploymentState]:
        """Unfinished deployments that are ours now, newest trigger first, and how far they are."""
        unfinished = deployments.c.state.in_(UNFINISHED)
        ours = deployments.c.token == self._token
        free = or_(deployments.c.token.is_(None), deployments.c.claim_expires_at < now_ms())
        ageing = ours & (deployments.c.claim_expires_at < now_ms() + self._lease_ms // 2)
        async with self._database.reading() as reading:
            due = (await reading.execute(select(deployments.c.id).where(unfinished, free | ageing).limit(1))).first()
        if due is not None:
            await self._claim(free | ageing)
        async with self._database.reading() as reading:
            held = select(deployments.c.id, deployments.c.state).where(unfinished, ours)
            rows = await reading.execute(held.order_by(deployments.c.sequence.desc(), deployments.c.id))
            return {DeploymentId(row.id): DeploymentState(row.state) for row in rows}

    async def _claim(self, which: ColumnElement[bool]) -> None:
        """Of those that are unfinished."""
        claim = {"token": self._token, "claim_expires_at": now_ms() + self._lease_ms}
        async with self._database.transaction() as tx:
            await tx.execute(update(deployments).where(deployments.c.state.in_(UNFINISHED), which).values(claim))

    async def _release(self) -> None:
        """Let another controller go on at once."""
        with contextlib.suppress(FleetcastError, SQLAlchemyError):
            async with self._database.transaction() as tx:
                await tx.execute(
                    update(deployments).where(deployments.c.token == self._token).values(token=None, claim_expires_at=None)
                )

    async def _advance(self, deployment: DeploymentId) -> bool:
        """As far as it goes now. Returns whether it took a step."""
        for taken in range(_STEPS_MAX):
            async with self._database.reading() as reading:
                row, step, _ = await self._decide(reading, deployment, self._counts.meant)
                if _nothing_new(row, step):
                    return taken > 0
                # Where machines are many this takes a while: outside of the transaction that all others wait for.
                fleet = await _fleet(reading, row) if _lets_in(row, step) else None
            moves = _moves(row, step)
            async with self._database.transaction() as tx:
                row, step, now = await self._decide(tx, deployment, meant if moves else self._counts.meant)
                if (_lets_in(row, step) and fleet is None) or (_moves(row, step) and not moves):
                    return True  # it has become ready only now: at the next turn
                await self._take(tx, row, step, fleet, now)
            log.info("deployment_step", deployment=deployment, service=row.service, state=step.state, reason=step.reason)
            if step.state == row.state or step.state.ended:
                break
        return True

    async def _decide(self, reading: AsyncConnection, deployment: DeploymentId, counting: Counting) -> tuple[AnyRow, Step, int]:
        ours = deployment_rows().where(
            deployments.c.id == deployment, deployments.c.token == self._token, deployments.c.state.in_(UNFINISHED)
        )
        row = (await reading.execute(ours)).one_or_none()
        if row is None:
            raise Stale("stale_deployment", f"deployment {deployment} is not ours any more")
        now = await read_clock_ms(reading)
        return row, next_step(await gather(reading, row, counting), self._limits, now), now

    async def _take(self, tx: AsyncConnection, row: AnyRow, step: Step, fleet: Sequence[Alike] | None, now: int) -> None:
        if not step.state.ended:
            await record_hold(tx, row, step.held_at_ms, step.reason, now)
        if step.next_wave and fleet is not None:
            await move(tx, row, step.state, reason=step.reason)
            record_passed(tx, row, step.reason)
            await self._widen(tx, row, fleet, now)
        elif step.state == row.state:
            await move(tx, row, step.state, reason=step.reason)
            await record_health(tx, row, step.healthy_at_ms)
        elif step.state is DeploymentState.REPLICATING:
            made = await built_artifact(tx, row)
            assert made is not None
            await move(tx, row, step.state, reason=step.reason, artifact_id=made.id, built_at=made.finished_at)
        elif step.state is DeploymentState.DISTRIBUTING:
            await self._set_going(tx, row, fleet, now)
        elif step.state is DeploymentState.ROLLED_BACK and not step.past_control:
            await self._take_back(tx, row, step.reason, now)
        else:
            if row.plan is not None and step.state is DeploymentState.SUCCEEDED:
                record_passed(tx, row, step.reason)
            await self._end(tx, row, step.state, step.reason)
            if step.state is DeploymentState.SUCCEEDED:
                await self._settle(tx, row, now)
            elif step.halt:
                await self._halt(tx, row, now)

    async def _set_going(self, tx: AsyncConnection, row: AnyRow, fleet: Sequence[Alike] | None, now: int) -> None:
        """Decide on the deployment's goal, and end everything older of the same service and environment with it.

        ``fleet``: of one that goes in waves.
        """
        service, rollback = ServiceName(row.service), row.kind == DeploymentKind.ROLLBACK
        standing = await read_standing(tx, service, row.environment)
        assert standing is not None
        order = Order(
            deployment=DeploymentId(row.id),
            service=service,
            environment=row.environment,
            rollback=rollback,
            selector=row.selector,
            target=release_of(row),
            limits=limits_of(row),
        )
        generation = await next_generation(tx, standing, now)
        before = await baseline(tx, service, row.environment)
        out = shut_out(row.skipped or ())
        goal = plan(order, generation, standing.goal, before, self._expiry(now), (*out, *ALL))
        if fleet is not None:
            drawn = draw_up(row.policy, fleet)
            opening = open_next(drawn, -1, out, fleet)
            goal = plan(order, generation, standing.goal, before, self._expiry(now), opening.cohorts)
            await record_wave(tx, row, drawn, opening, generation, now)
        await write_goal(tx, goal, row.sequence, over=standing.generation)
        await deployed_over(tx, service, row.environment, row.created_at, f"{row.kind} {row.id}", now)
        replicated_at = row.built_at
        if not rollback:
            replicated_at = max(row.built_at, await completed_at(tx, Digest(row.artifact_digest)) or now)
        await move(
            tx, row, DeploymentState.DISTRIBUTING, reason="the goal is written", goal_at=now, replicated_at=replicated_at
        )
        if row.skipped:
            # A release by what this deployment waited for: one that goes back to it waits for no bucket either.
            incomplete = releases.c.digest == row.artifact_digest, releases.c.completed_at.is_(None)
            await tx.execute(update(releases).where(*incomplete).values(completed_at=now))
        await self._replace_older(tx, row)
        if rollback:
            await _mark_rolled_back(tx, row)

    async def _replace_older(self, tx: AsyncConnection, row: AnyRow) -> None:
        older = deployment_rows().where(
            deployments.c.service == row.service,
            deployments.c.environment == row.environment,
            deployments.c.sequence < row.sequence,
            deployments.c.state.in_(UNFINISHED),
        )
        what = "rollback" if row.kind == DeploymentKind.ROLLBACK else "deployment"
        for old in (await tx.execute(older)).all():
            taken_back = row.kind == DeploymentKind.ROLLBACK and old.state == DeploymentState.DISTRIBUTING
            state = DeploymentState.ROLLED_BACK if taken_back else DeploymentState.SUPERSEDED
            await self._end(tx, old, state, f"{what} {row.id} took its place while it was {old.state}")

    async def _end(self, tx: AsyncConnection, row: AnyRow, state: DeploymentState, reason: str) -> None:
        await end(tx, row, state, reason + await stop_unwanted(tx, self._builds, row, state))

    async def _widen(self, tx: AsyncConnection, row: AnyRow, fleet: Sequence[Alike], now: int) -> None:
        """Let in the next wave: one write, however many machines it means."""
        before = await _own_goal(tx, row)
        opening = open_next(row.plan, row.wave, before.cohorts, fleet)
        goal = await self._rewrite(tx, row, lambda goal, *more: widened(goal, opening.cohorts, *more), now)
        await record_wave(tx, row, row.plan, opening, goal.generation, now)

    async def _take_back(self, tx: AsyncConnection, row: AnyRow, why: str, now: int) -> None:
        """End a deployment that proved sick, and have its machines go back: by a rollback like any other."""
        back = await take_back(tx, row)
        if back is None:
            why += "; there is no other release to go back to, so machines keep what they run"
            await self._end(tx, row, DeploymentState.FAILED, why)
        else:
            rollback, target = back
            await self._end(
                tx, row, DeploymentState.ROLLED_BACK, f"{why}; rollback {rollback} goes back to {target.artifact_name}"
            )
            await tx.execute(update(deployments).where(deployments.c.id == row.id).values(rolled_back_by=rollback))
            self._woken.set()  # it is ours to carry out, and nobody is to wait for the next look
        await self._halt(tx, row, now)

    async def _halt(self, tx: AsyncConnection, row: AnyRow, now: int) -> None:
        """From now on nobody switches over to this deployment's release any more."""
        await self._rewrite(tx, row, halted, now)

    async def _settle(self, tx: AsyncConnection, row: AnyRow, now: int) -> None:
        """After success the target is what an empty machine takes."""
        await self._rewrite(tx, row, succeeded, now)

    async def _rewrite(
        self, tx: AsyncConnection, row: AnyRow, change: Callable[[Goal, Generation, int], Goal], now: int
    ) -> Goal:
        """Write what ``change`` makes of the deployment's goal, the next generation and the expiry."""
        before = await _own_goal(tx, row)
        goal = change(before, before.generation.next(), self._expiry(now))
        await write_goal(tx, goal, row.sequence, over=before.generation)
        return goal

    def _expiry(self, now: int) -> int:
        return now + int(self._goal_lifetime_s * 1000)


async def _own_goal(tx: AsyncConnection, row: AnyRow) -> Goal:
    """The last one that this deployment has written."""
    standing = await read_standing(tx, ServiceName(row.service), row.environment)
    assert standing is not None
    assert standing.goal is not None
    assert standing.goal.deployment == row.id
    return standing.goal


def _nothing_new(row: AnyRow, step: Step) -> bool:
    known = (row.state, row.reason, row.healthy_at, row.held_at)
    return not step.next_wave and (step.state, step.reason, step.healthy_at_ms, step.held_at_ms) == known


def _moves(row: AnyRow, step: Step) -> bool:
    return step.next_wave or step.state != row.state


def _lets_in(row: AnyRow, step: Step) -> bool:
    """Whether a step lets in a wave, for which it has to be known who is there."""
    begins = row.state == DeploymentState.REPLICATING and step.state is DeploymentState.DISTRIBUTING
    return step.next_wave or (begins and row.policy is not None and bool(row.policy.all_stages))


async def _fleet(reading: AsyncConnection, row: AnyRow) -> Sequence[Alike]:
    found = await alike(reading, row.selector, DeploymentId(row.id))
    return [each for each in found if each.like.region not in (row.skipped or ())]


async def _mark_rolled_back(tx: AsyncConnection, row: AnyRow) -> None:
    """Everything that reached machines after the release we go back to."""
    await tx.execute(
        update(deployments)
        .where(
            deployments.c.service == row.service,
            deployments.c.environment == row.environment,
            deployments.c.sequence > row.back_to_sequence,
            deployments.c.sequence < row.sequence,
            deployments.c.goal_at.is_not(None),
            deployments.c.rolled_back_by.is_(None),
            deployments.c.state != DeploymentState.SUPERSEDED,
        )
        .values(rolled_back_by=row.id)
    )
