"""A region went back past control: what control makes of that when it hears of it, and what it writes from then on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from fleetcast.model.deployment import DeploymentState
from fleetcast.model.event import EventKind
from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal, ReleaseRef
from fleetcast.model.ids import ArtifactName, DeploymentId, Digest, RegionName, ServiceName
from fleetcast.model.machine import Machine
from fleetcast.model.messages.deployments import DeployRequest
from fleetcast.model.messages.regions import RegionReport
from fleetcast.model.plan import Policy, Stage
from fleetcast.model.region_rollback import RecordedRollback, RegionRollback, StandingRollback
from fleetcast.retention.facts import protected_releases
from fleetcast.rollouts import region_rollbacks
from fleetcast.rollouts.generations import after
from fleetcast.rollouts.intake import record_report
from fleetcast.rollouts.removal import remove_service
from fleetcast.schema.tables import deployments, events, goals
from paper_company import sha

if TYPE_CHECKING:
    from conftest import Company

WEB = ServiceName("web")
AGES_MS = 3_600_000
"""How long ago it was made: everything that a test triggered before is moved to earlier than that."""


def release(letter: str) -> ReleaseRef:
    return ReleaseRef(ArtifactName(f"web/{letter * 40}"), Digest(letter * 64), Digest(letter * 64))


def went_back(
    goal: Goal, region: str = "eu", name: str = "here", *, age_ms: int = AGES_MS, generation: Generation | None = None
) -> StandingRollback:
    rollback = RegionRollback(
        region=RegionName(region),
        service=WEB,
        environment="production",
        deployment=DeploymentId(name),
        over=goal.deployment,
        left=goal.target,
        target=release("a"),
        at_ms=1,
        by="ada@night",
        why="checkout is down",
    )
    return StandingRollback(rollback, generation or goal.generation.raised(10**12), age_ms)


async def tell(company: Company, *told: StandingRollback, region: str = "eu") -> tuple[DeploymentId, ...]:
    """A report of the region; which of them are over."""
    machines = tuple(Machine(one, RegionName(region)) for one in company.machines[region])  # type: ignore[arg-type]
    await record_report(company.database, RegionReport(RegionName(region), machines, (), (), rollbacks=told))
    async with company.database.reading() as reading:
        return await region_rollbacks.over(reading, told)


async def wanted(company: Company) -> Goal:
    goal = await company.goal()
    assert goal is not None
    return goal


async def age(company: Company) -> None:
    """All that was triggered so far was before the rollback."""
    async with company.database.transaction() as tx:
        await tx.execute(update(deployments).values(created_at=deployments.c.created_at - 2 * AGES_MS))


async def recorded(company: Company) -> tuple[RecordedRollback, ...]:
    async with company.database.reading() as reading:
        return await region_rollbacks.list_rollbacks(reading, WEB)


async def said(company: Company, kind: EventKind) -> list[str]:
    async with company.database.reading() as reading:
        return list((await reading.execute(select(events.c.text).where(events.c.kind == kind))).scalars())


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5))),
    st.tuples(st.integers(0, 5), st.integers(0, 5)),
    st.integers(0, 9),
)
def test_the_next_goal_is_above_everything_anybody_wrote(
    elsewhere: Iterable[tuple[int, int]], last: tuple[int, int], now_ms: int
) -> None:
    made = [Generation(*each) for each in elsewhere]
    following = after(Generation(*last), made, now_ms)
    assert all(following > each for each in (*made, Generation(*last)))
    overtaken = [each for each in made if each > Generation(*last)]
    assert all(following.epoch > each.epoch for each in overtaken), "higher than what a region may still renew"
    if not overtaken:
        assert following == Generation(*last).next()


async def test_it_is_on_record_with_who_and_why_and_nothing_is_written(company: Company) -> None:
    await company.succeed("a")
    await company.succeed("b")
    await age(company)
    before = await wanted(company)
    told = went_back(before)
    for _ in range(3):
        assert await tell(company, told) == ()
        await company.step()
    assert await wanted(company) == before
    (found,) = await recorded(company)
    assert (found.rollback, found.over_at_ms) == (told.rollback, None)
    (text,) = await said(company, EventKind.REGION_ROLLED_BACK)
    left, to = before.target.artifact, told.rollback.target.artifact
    assert text == f"eu was rolled back from {left} to {to} past control by ada@night: checkout is down"
    async with company.database.reading() as reading:
        assert (await protected_releases(reading))[Digest("a" * 64)] == "region eu was rolled back to it"


async def test_goals_of_other_regions_are_renewed_below_it(company: Company) -> None:
    await company.succeed("b")
    await age(company)
    told = went_back(await wanted(company))
    await tell(company, told)
    async with company.database.transaction() as tx:
        await tx.execute(update(goals).values(expires_at=0))
    before = await wanted(company)
    await company.step()
    renewed = await wanted(company)
    assert before.generation < renewed.generation < told.generation
    assert renewed.deployment == before.deployment
    assert await tell(company, told) == (), "nobody has deployed"


@pytest.mark.parametrize("what", ["deploy", "rollback", "remove"])
async def test_whatever_somebody_asks_for_next_goes_everywhere(company: Company, what: str) -> None:
    await company.succeed("a")
    await company.succeed("b")
    await age(company)
    told = went_back(await wanted(company))
    await tell(company, told)
    if what == "remove":
        async with company.database.transaction() as tx:
            await remove_service(tx, WEB, goal_lifetime_s=3600)
    else:
        await (company.deploy("a") if what == "deploy" else company.rollback())
    await company.step()
    goal = await wanted(company)
    assert goal.generation.epoch > told.generation.epoch
    assert goal.removed == (what == "remove")
    assert await tell(company, told) == (told.rollback.deployment,)
    (found,) = await recorded(company)
    assert found.over_at_ms is not None
    assert found.over_why == ("the service was removed" if what == "remove" else f"{what} {goal.deployment}")
    assert await said(company, EventKind.REGION_FOLLOWS_AGAIN) == [found.over_why]


async def test_what_was_deployed_after_it_and_before_control_heard_of_it_is_written_again_above_it(company: Company) -> None:
    """The region was cut off, and control was not."""
    await company.succeed("a")
    await age(company)
    told = went_back(await wanted(company))
    later = await company.succeed("b")
    unaware = await wanted(company)
    assert unaware.generation < told.generation
    assert await tell(company, told) == (), "regions cannot read it yet"
    await company.step()
    assert await tell(company, told) == (told.rollback.deployment,)
    goal = await wanted(company)
    assert (goal.deployment, goal.target) == (later, unaware.target)
    assert goal.generation.epoch > told.generation.epoch


async def test_one_that_was_restored_above_it_waits_for_somebody_too(company: Company) -> None:
    """After a backup was put back control's goals are the higher ones, and say nothing new."""
    await company.succeed("b")
    await age(company)
    before = await wanted(company)
    told = went_back(before, generation=Generation(before.generation.epoch, before.generation.counter - 1))
    assert await tell(company, told) == ()
    await company.step()
    assert await wanted(company) == before


@pytest.mark.parametrize(
    ("regions", "state", "reason"),
    [
        (("eu",), DeploymentState.FAILED, "machines in us keep to its goal as it stands"),
        (("eu", "us"), DeploymentState.ROLLED_BACK, "us was rolled back to"),
    ],
)
async def test_a_deployment_under_way_ends_as_what_is_true_and_writes_nothing(
    company: Company, regions: tuple[str, ...], state: DeploymentState, reason: str
) -> None:
    await company.succeed("a")
    going = await company.deploy("b")
    await company.make("b")
    await company.step()
    await age(company)
    before = await wanted(company)
    for region in regions:
        await tell(company, went_back(before, region, f"in-{region}"), region=region)
    await company.step()
    shown = await company.show(going)
    assert (shown.state, shown.rolled_back_by) == (state, None)
    assert "eu was rolled back to web/" in shown.reason
    assert "past control by ada@night" in shown.reason
    assert reason in shown.reason
    assert await wanted(company) == before


async def test_no_wave_follows(company: Company) -> None:
    await company.succeed("a")
    policy = Policy(stages=(Stage("canary", count=1), Stage("everyone")))
    going = (await company.triggers.deploy(DeployRequest(WEB, sha("b"), plan=policy))).id
    await company.make("b")
    await company.step()
    await age(company)
    before = await wanted(company)
    await tell(company, went_back(before))
    await company.step()
    assert await company.state(going) is DeploymentState.FAILED
    assert await wanted(company) == before


@pytest.mark.parametrize("built", [False, True])
async def test_what_had_reached_nobody_is_aborted(company: Company, built: bool) -> None:
    await company.succeed("a")
    going = await company.deploy("b")
    if built:
        await company.claim()
        await company.finish("b")
    await company.step()
    await age(company)
    before = await wanted(company)
    await tell(company, went_back(before))
    await company.step()
    shown = await company.show(going)
    assert shown.state is DeploymentState.ABORTED
    assert "deploy again to go on" in shown.reason
    await company.step()
    assert await wanted(company) == before


async def test_one_further_back_takes_the_place_of_the_one_before(company: Company) -> None:
    await company.succeed("b")
    await age(company)
    goal = await wanted(company)
    first = went_back(goal, name="first", age_ms=AGES_MS)
    await tell(company, first)
    second = went_back(goal, name="second", age_ms=AGES_MS // 2)
    assert await tell(company, second) == ()
    newest, oldest = await recorded(company)
    assert (newest.rollback, newest.over_at_ms) == (second.rollback, None)
    assert (oldest.rollback, oldest.over_why) == (first.rollback, "it was rolled back once more there")


async def test_what_a_region_does_not_tell_any_more_is_not_over_for_that(company: Company) -> None:
    """Another of its processes may not have heard of it yet."""
    await company.succeed("b")
    await age(company)
    told = went_back(await wanted(company))
    await tell(company, told)
    await tell(company)
    assert await tell(company, told) == ()
    assert len(await said(company, EventKind.REGION_ROLLED_BACK)) == 1
