"""What holds a deployment back although it could go on, and for how long."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from fleetcast.model.deployment import DeploymentState
from fleetcast.model.errors import NotFound, Refused, Unprocessable
from fleetcast.model.freeze import Freeze
from fleetcast.model.ids import DeploymentId, ServiceName
from fleetcast.model.limits import FREEZES_MAX, HOLD_S_MAX
from fleetcast.model.messages.deployments import DeployRequest
from fleetcast.model.messages.freezes import FreezeOrder
from fleetcast.model.plan import Policy, Stage
from fleetcast.rollouts.approvals import approve
from fleetcast.rollouts.company_freezes import list_freezes, put_freeze, remove_freeze
from fleetcast.rollouts.deployments import get_deployment
from fleetcast.rollouts.gate import Facts, GateLimits, next_step
from fleetcast.rollouts.holding_back import pause, resume
from fleetcast.rollouts.holds import Holds, bound_by, held
from fleetcast.rollouts.time_zones import zoned
from fleetcast.rollouts.waves import bounded
from fleetcast.schema.rollout_tables import rollouts
from fleetcast.schema.tables import events
from paper_company import WEB, Company, sha
from played_fleet import Fleet

ENDLESS = Freeze("migration", ends="2099-01-01")
TWO = Policy(stages=(Stage("one", count=1), Stage("everyone", approvals=1)))
DAY_MS = 24 * 3600 * 1000

holds = st.builds(
    Holds,
    st.sampled_from([(), zoned([ENDLESS])]),
    st.integers(0, 2),
    st.integers(0, 2),
    st.none() | st.integers(0, 20 * DAY_MS),
)
states = st.sampled_from([DeploymentState.BUILDING, DeploymentState.REPLICATING])
facts = st.builds(
    lambda state, hold, deployable: Facts(state, 1, 0, None, True, 0, deployable, "", None, holds=hold),
    states,
    holds,
    st.booleans(),
)


@given(facts, st.integers(0, 20 * DAY_MS))
def test_nothing_is_let_in_that_is_held(one: Facts, now_ms: int) -> None:
    step = next_step(one, GateLimits(10**9, 60), now_ms)
    if step.state is DeploymentState.DISTRIBUTING:
        assert not one.holds.freezes
        assert one.holds.approved >= one.holds.approvals


@given(holds, st.booleans(), st.integers(0, 20 * DAY_MS))
def test_every_hold_ends_within_its_bound(one: Holds, ready: bool, now_ms: int) -> None:
    hold = held(one, ready, now_ms)
    if hold is not None:
        assert hold.since_ms <= now_ms
        later = held(replace(one, since_ms=hold.since_ms), False, hold.since_ms + HOLD_S_MAX * 1000 + 1)
        assert later is not None
        assert later.too_long, "whether it is ready at the moment or not"


def test_a_plan_of_its_own_is_no_way_round_what_holds_the_services() -> None:
    services = Policy(approvals=1, freezes=(ENDLESS,), stages=(Stage(percent=1), Stage(approvals=2)))
    assert bound_by(Policy(self_approval=True), services) == Policy(approvals=2, freezes=(ENDLESS,))
    own = Policy(approvals=3, self_approval=True)
    assert bound_by(own, Policy()) == own
    assert bound_by(own, replace(services, self_approval=True)).self_approval


async def _freeze(company: Company, *services: ServiceName) -> None:
    async with company.database.transaction() as tx:
        await put_freeze(tx, FreezeOrder("all", ENDLESS, services), "carol")


async def _age(company: Company, deployment: DeploymentId, seconds: float) -> None:
    async with company.database.transaction() as tx:
        ours = rollouts.c.deployment == deployment
        await tx.execute(update(rollouts).where(ours).values(held_at=rollouts.c.held_at - int(seconds * 1000)))


async def _events(company: Company, deployment: DeploymentId) -> list[str]:
    async with company.database.reading() as reading:
        rows = await reading.execute(select(events).where(events.c.subject == deployment).order_by(events.c.id))
        return [f"{row.kind}: {row.text}" for row in rows]


async def _deploy(company: Company, commit: str, by: str = "", **more: object) -> DeploymentId:
    request = replace(DeployRequest(WEB, sha(commit)), **more)
    deployment = (await company.triggers.deploy(request, by=by)).id
    await company.make(commit)
    await company.step()
    return deployment


async def test_a_frozen_deployment_is_built_and_waits_and_is_not_kept_for_ever(company: Company) -> None:
    await _freeze(company)
    deployment = await _deploy(company, "b")
    shown = await company.show(deployment)
    said = "complete in every region; frozen until 2099-01-01 00:00 UTC (migration)"
    assert (shown.state, shown.reason) == (DeploymentState.REPLICATING, said)
    assert (await _events(company, deployment))[-1] == f"deployment.held: {said}"
    await _age(company, deployment, HOLD_S_MAX - 60)
    await company.step()
    assert await company.state(deployment) is DeploymentState.REPLICATING
    await _age(company, deployment, 120)
    await company.step()
    shown = await company.show(deployment)
    assert shown.state is DeploymentState.FAILED
    assert shown.reason == ("complete in every region; held back for 7 days: frozen until 2099-01-01 00:00 UTC (migration)")
    assert await company.goal() is None


async def test_a_freeze_of_other_services_holds_nobody_else(company: Company) -> None:
    async with company.database.transaction() as tx:
        with pytest.raises(NotFound, match="there is no service 'other'"):
            await put_freeze(tx, FreezeOrder("other", ENDLESS, (ServiceName("other"),)), "carol")
    await _freeze(company, WEB)
    deployment = await _deploy(company, "b")
    assert await company.state(deployment) is DeploymentState.REPLICATING
    async with company.database.transaction() as tx:
        await remove_freeze(tx, "all", "carol")
    await company.step()
    assert await company.state(deployment) is DeploymentState.DISTRIBUTING
    assert (await _events(company, deployment))[-2].startswith("deployment.held: held no more, after")


async def test_overridden_it_goes_through_and_that_is_recorded(company: Company) -> None:
    await _freeze(company)
    deployment = await _deploy(company, "b", "bob", override_freeze="the shop is down")
    shown = await company.show(deployment)
    assert shown.state is DeploymentState.DISTRIBUTING
    assert (shown.by, shown.override_freeze) == ("bob", "the shop is down")
    triggered = f"deployment.triggered: deploy of {sha('b')} by bob, whatever is frozen: the shop is down"
    assert (await _events(company, deployment))[0] == triggered
    with pytest.raises(Unprocessable, match="say why, with --override-freeze"):
        await _deploy(company, "c", override_freeze="two\nlines")


async def test_what_is_wrong_with_a_freeze_is_refused(company: Company) -> None:
    async with company.database.transaction() as tx:
        with pytest.raises(Unprocessable, match="the freeze cannot be taken: freeze 1: it never ends"):
            await put_freeze(tx, FreezeOrder("a", Freeze("x")), "carol")
        with pytest.raises(Unprocessable, match="does not know the time zone Moon"):
            await put_freeze(tx, FreezeOrder("a", Freeze("x", hours="10:00-11:00", zone="Moon")), "carol")
        for number in range(FREEZES_MAX):
            await put_freeze(tx, FreezeOrder(f"f{number}", ENDLESS), "carol")
        await put_freeze(tx, FreezeOrder("f0", Freeze("other", ends="2098-01-01")), "dave")
        with pytest.raises(Refused, match="fleetcast freeze remove NAME makes room"):
            await put_freeze(tx, FreezeOrder("one-more", ENDLESS), "carol")
        with pytest.raises(NotFound, match="there is no freeze 'none'"):
            await remove_freeze(tx, "none", "carol")
    async with company.database.reading() as reading:
        first = (await list_freezes(reading))[0]
    assert (first.name, first.freeze.reason, first.by, first.in_force) == ("f0", "other", "dave", True)


async def _approve(company: Company, deployment: DeploymentId, by: str) -> None:
    async with company.database.transaction() as tx:
        await approve(tx, deployment, by)


async def test_nobody_approves_their_own_or_twice(company: Company) -> None:
    deployment = await _deploy(company, "b", "alice", plan=Policy(approvals=2))
    with pytest.raises(Refused, match=r"alice triggered deployment .*: somebody else has to approve it"):
        await _approve(company, deployment, "alice")
    for _ in range(2):
        await _approve(company, deployment, "bob")
    await company.step()
    assert (await company.show(deployment)).reason == "complete in every region; waiting for approval by 1 more"
    await _approve(company, deployment, "carol")
    await company.step()
    assert await company.state(deployment) is DeploymentState.DISTRIBUTING
    told = [text for text in await _events(company, deployment) if "approved" in text]
    assert told == [
        "deployment.approved: its first machine approved by bob: 1 of 2",
        "deployment.approved: its first machine approved by carol: 2 of 2",
    ]
    with pytest.raises(Refused, match="waits for nobody's approval"):
        await _approve(company, deployment, "carol")


async def test_ones_own_where_the_plan_allows_it(company: Company) -> None:
    deployment = await _deploy(company, "b", "alice", plan=Policy(approvals=1, self_approval=True))
    await _approve(company, deployment, "alice")
    await company.step()
    assert await company.state(deployment) is DeploymentState.DISTRIBUTING


async def test_what_is_missing_approval_is_not_kept_for_ever(company: Company) -> None:
    deployment = await _deploy(company, "b", plan=Policy(approvals=1))
    await _age(company, deployment, HOLD_S_MAX + 1)
    await company.step()
    shown = await company.show(deployment)
    assert shown.state is DeploymentState.FAILED
    assert shown.reason == "complete in every region; held back for 7 days: waiting for approval by 1 more"


async def test_refused_before_its_first_machine_nothing_was_written(company: Company) -> None:
    deployment = await _deploy(company, "b", "alice", plan=Policy(approvals=1))
    with pytest.raises(Unprocessable, match="say why, with --reason"):
        await company.triggers.refuse(deployment, "", "bob")
    shown = await company.triggers.refuse(deployment, "not today", "bob")
    assert (shown.state, shown.reason) == (
        DeploymentState.ABORTED,
        "refused by bob (not today) while REPLICATING",
    )
    assert await company.goal() is None
    with pytest.raises(Refused, match="ABORTED already"):
        await company.triggers.refuse(deployment, "not today", "bob")


async def _until(company: Company, fleet: Fleet, deployment: DeploymentId, said: str) -> None:
    for _ in range(10):
        await fleet.turn()
        await company.step()
        if said in (await company.show(deployment)).reason:
            return
    raise AssertionError((await company.show(deployment)).reason)


async def _earlier(company: Company, deployment: DeploymentId, ms: int) -> None:
    """All that its wave has seen happened so much earlier."""
    seen = (rollouts.c.wave_at, rollouts.c.healthy_at, rollouts.c.held_at, rollouts.c.paused_at)
    async with company.database.transaction() as tx:
        ours = rollouts.c.deployment == deployment
        await tx.execute(update(rollouts).where(ours).values({column: column - ms for column in seen}))


async def test_a_wave_that_was_held_is_not_late_for_it(company: Company) -> None:
    """It is as long held as it takes; then somebody who is not well yet has the time that was left."""
    fleet = Fleet(company)
    await fleet.join({"eu": 2, "us": 1})
    deployment = await _deploy(company, "b", plan=TWO)
    await _until(company, fleet, deployment, "waiting for approval by 1 more")
    await _earlier(company, deployment, 2 * DAY_MS)
    (canary,) = [played for played in fleet.machines.values() if played.runs == "b"]
    canary.down = True
    await _until(company, fleet, deployment, "0 of 1 healthy")
    await _approve(company, deployment, "bob")
    await company.step()
    assert await company.state(deployment) is DeploymentState.DISTRIBUTING
    canary.down = False
    await _until(company, fleet, deployment, "wave 2 of 2")


async def _bound_s(company: Company, deployment: DeploymentId) -> float:
    """Within what it has ended, as whoever steps in is told."""
    async with company.database.reading() as reading:
        shown = await bounded(reading, await get_deployment(reading, deployment), GateLimits(900, 1800))
    assert shown.bound_s is not None
    return shown.bound_s


async def test_while_a_wave_is_held_or_paused_the_time_that_is_left_stands_still(company: Company) -> None:
    fleet = Fleet(company)
    await fleet.join({"eu": 2, "us": 1})
    deployment = await _deploy(company, "b", plan=TWO)
    await _until(company, fleet, deployment, "waiting for approval by 1 more")
    held_s = await _bound_s(company, deployment)
    assert 1800 < held_s <= 2 * 1800, "what is left of the first wave, and the second"
    await _earlier(company, deployment, 2 * DAY_MS)
    assert await _bound_s(company, deployment) == held_s

    async with company.database.transaction() as tx:
        await pause(tx, deployment)
    await _approve(company, deployment, "bob")
    await company.step()
    assert (await company.show(deployment)).reason.endswith("; paused")
    paused_s = await _bound_s(company, deployment)
    assert paused_s >= held_s
    await _earlier(company, deployment, DAY_MS // 2)
    assert await _bound_s(company, deployment) == paused_s
    async with company.database.transaction() as tx:
        await resume(tx, deployment)
    assert 1800 < await _bound_s(company, deployment) <= paused_s
