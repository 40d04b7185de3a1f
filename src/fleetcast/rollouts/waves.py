"""How far a deployment is with its waves, in SQL."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.deployment import Deployment, DeploymentState
from fleetcast.model.event import EventKind
from fleetcast.model.generation import Generation
from fleetcast.model.ids import DeploymentId, RegionName
from fleetcast.model.limits import MACHINE_SILENCE_S_MAX
from fleetcast.model.plan import Plan, Policy, WavePicture
from fleetcast.rollouts.check_asks import prepare
from fleetcast.rollouts.cohorts import Opening
from fleetcast.rollouts.counting import meant
from fleetcast.rollouts.deployments import deployment_rows
from fleetcast.rollouts.gate import GateLimits, RegionFacts
from fleetcast.rollouts.wave_gate import RegionWave, WaveFacts
from fleetcast.rollouts.wave_plan import left_s, outline
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.events import record_event
from fleetcast.schema.rollout_tables import rollouts
from fleetcast.schema.tables import deployments
from fleetcast.stores.database import read_clock_ms


def wave_facts(row: AnyRow, regions: Sequence[RegionFacts], silent: Set[RegionName] = frozenset()) -> WaveFacts | None:
    """Of a row of :func:`~fleetcast.rollouts.deployments.deployment_rows`; ``None``: it has no waves, or none was let in.

    ``regions``: those that count. What one has reported counts by this wave's goal or a later one, and not for long.
    ``silent``: those that do not count because they say nothing. One that was let in before is waited for all the same: it may
    be the release that has silenced it. A person who drains it says otherwise.
    """
    if row.plan is None or row.wave is None:
        return None
    let_in_by = Generation(row.wave_epoch, row.wave_counter)
    inside = []
    for region in regions:
        expected = min(row.wave_expected.get(region.region, 0), region.expected)
        told = region.cohort
        lately = region.report_age_s <= MACHINE_SILENCE_S_MAX
        if told is not None and (told.generation < let_in_by or not lately):
            told = None
        if expected or (told is not None and told.inside):
            mute = row.wave_silent.get(region.region, 0)
            old = lately and region.cohort is None
            inside.append(RegionWave(region.region, expected, told, mute, region.failures, region.waiting, old))
    inside += [RegionWave(region, row.wave_expected[region], None) for region in sorted(silent & row.wave_expected.keys())]
    return WaveFacts(
        plan=row.plan,
        number=row.wave,
        wave_at_ms=row.wave_at,
        healthy_at_ms=row.healthy_at,
        promoted=row.promoted_wave == row.wave,
        paused_at_ms=row.paused_at,
        fleet=sum(region.expected for region in regions),
        regions=tuple(inside),
    )


async def record_wave(tx: AsyncConnection, row: AnyRow, plan: Plan, opening: Opening, generation: Generation, now: int) -> None:
    """This wave is let in by the goal of ``generation``, which ``tx`` writes."""
    for number in opening.skipped:
        _told(tx, row, f"{plan.title(number)} skipped: it means no machine")
    await tx.execute(
        update(rollouts)
        .where(rollouts.c.deployment == row.id)
        .values(
            plan=plan,
            wave=opening.number,
            wave_at=now,
            wave_epoch=generation.epoch,
            wave_counter=generation.counter,
            wave_expected=opening.expected,
            wave_silent=opening.silent,
            healthy_at=None,
        )
    )
    await prepare(tx, row.id, plan, opening.number)
    machines = ", ".join(f"{count} of {region}" for region, count in opening.expected.items())
    _told(tx, row, f"{plan.title(opening.number)} is let in: inside are now {machines or 'no machines'}")


async def record_health(tx: AsyncConnection, row: AnyRow, healthy_at_ms: int | None) -> None:
    """Since when everybody inside is healthy."""
    if row.healthy_at != healthy_at_ms:
        await tx.execute(update(rollouts).where(rollouts.c.deployment == row.id).values(healthy_at=healthy_at_ms))


def record_passed(tx: AsyncConnection, row: AnyRow, figures: str) -> None:
    """The wave has passed, with the figures that decided it."""
    _told(tx, row, figures)


async def wave_pictures(reading: AsyncConnection, deployment: DeploymentId) -> tuple[WavePicture, ...]:
    """For people to look at; none where everybody is let in at once, or nobody is yet."""
    row = (await reading.execute(select(rollouts).where(rollouts.c.deployment == deployment))).one_or_none()
    if row is None or row.plan is None:
        return ()
    return tuple(
        WavePicture(wave.name, _standing(number, row.wave), sum(wave.machines.values()), wave.bake_s, wave.reason)
        for number, wave in enumerate(row.plan.waves)
    )


async def bounded(reading: AsyncConnection, shown: Deployment, limits: GateLimits) -> Deployment:
    """With the bound within which it ends from now on."""
    if shown.state.ended:
        return shown
    row = (await reading.execute(deployment_rows().where(deployments.c.id == shown.id))).one()
    policy = Policy() if row.policy is None else row.policy
    plan = row.plan
    if plan is None:
        # Machines are counted, not looked at one by one: there may be 100,000 of them, and most who trigger are not told.
        there = await meant(reading, row.selector) if policy.all_stages else {}
        plan = outline(policy, there.keys())
    bound_s = left_s(
        shown.state,
        plan,
        row.wave or 0,
        _gone_s(row, shown.state, await read_clock_ms(reading)),
        replicate_s_max=limits.replicate_s_max,
        wave_s_max=limits.distribute_s_max,
    )
    return replace(shown, bound_s=bound_s)


def _gone_s(row: AnyRow, state: DeploymentState, now_ms: int) -> float:
    """For how long the present wave has been in or, before the first, the release on its way. The time for which the wave is
    paused or held is given back to it, once for each, when that is over."""
    if state is not DeploymentState.DISTRIBUTING:
        return 0.0 if row.built_at is None else max(0, now_ms - row.built_at) / 1000
    given_back_ms = sum(now_ms - since for since in (row.paused_at, row.held_at) if since is not None)
    gone_ms: int = now_ms - (row.wave_at or row.goal_at) - given_back_ms
    return gone_ms / 1000


def _standing(number: int, under_way: int) -> str:
    return "passed" if number < under_way else "under way" if number == under_way else "to come"


def _told(tx: AsyncConnection, row: AnyRow, text: str) -> None:
    state = DeploymentState.DISTRIBUTING
    record_event(tx, EventKind.DEPLOYMENT_WAVE, row.id, service=row.service, state=state, text=text)
