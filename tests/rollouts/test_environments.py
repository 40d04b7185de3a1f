"""Services with several environments, and releases that go from one to the next."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from sqlalchemy import select

from fleetcast.control.registration import register, register_environment
from fleetcast.model.artifact import goal_key
from fleetcast.model.build import Recipe
from fleetcast.model.deployment import DeploymentState
from fleetcast.model.errors import NotFound, Refused, Unprocessable
from fleetcast.model.goal import Goal
from fleetcast.model.ids import DeploymentId, Digest, RegionName, ServiceName
from fleetcast.model.machine import Selector
from fleetcast.model.messages.deployments import DeployRequest, RetryRequest, RollbackRequest
from fleetcast.model.messages.environments import EnvironmentSpec, PromoteRequest, Promotion
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.plan import Policy, Preset
from fleetcast.model.push import OnPush
from fleetcast.rollouts import promotions
from fleetcast.rollouts.deployments import newest_of_each
from fleetcast.rollouts.environments import environments_of
from fleetcast.rollouts.removal import remove_environment, remove_service
from fleetcast.schema.tables import artifacts, events, jobs
from paper_company import sha

if TYPE_CHECKING:
    from conftest import Company

WEB = ServiceName("web")
EU, US = RegionName("eu"), RegionName("us")
STAGING = EnvironmentSpec(WEB, "staging", Selector(regions=(US,)))
"""One machine; two are production's."""
SPEC = ServiceSpec(WEB, "/repo", recipe=Recipe(build="make", output="out"), selector=Selector(regions=(EU,)))


@pytest.fixture
async def both(company: Company) -> Company:
    await register(company.database, SPEC)
    await register_environment(company.database, STAGING)
    return company


async def deploy(company: Company, commit: str, environment: str | None = "staging", **more: Any) -> DeploymentId:
    return (await company.triggers.deploy(DeployRequest(WEB, sha(commit), environment=environment, **more))).id


async def finish(company: Company, deployment: DeploymentId) -> None:
    """Its release is on its machines."""
    await company.step()
    where = (await company.show(deployment)).environment
    await company.active(deployment, {"us": 1} if where == "staging" else {"eu": 2})
    await company.step()
    assert await company.state(deployment) is DeploymentState.SUCCEEDED


async def stage(company: Company, commit: str) -> DeploymentId:
    """``commit``, built and deployed to staging."""
    deployment = await deploy(company, commit)
    await company.make(commit)
    await finish(company, deployment)
    return deployment


async def promote(company: Company, **more: Any) -> DeploymentId:
    return (await company.triggers.promote(PromoteRequest(WEB, "staging", "production", **more))).id


async def look(company: Company) -> Promotion:
    async with company.database.reading() as reading:
        return await promotions.preview(reading, WEB, "staging", "production")


async def goal(company: Company, environment: str) -> Goal:
    entry = await company.kv.get(goal_key(environment, WEB))
    assert entry is not None
    return msgspec.json.decode(entry.value, type=Goal)


async def count(company: Company, table: Any) -> int:
    async with company.database.reading() as reading:
        return len((await reading.execute(select(table))).all())


async def test_each_environment_has_a_goal_plan_and_machines_of_its_own(both: Company) -> None:
    await register_environment(both.database, replace(STAGING, plan=Policy(Preset.CANARY), max_unavailable=1))
    staged = await deploy(both, "a")
    await both.make("a")
    await both.step()
    there = await goal(both, "staging")
    assert (there.selector, there.limits.max_unavailable) == (STAGING.selector, 1)
    assert (await both.show(staged)).plan == "canary"
    assert await both.goal() is None, "production is not concerned"
    produced = await deploy(both, "a", None)
    await both.step()
    assert (await goal(both, "production")).selector == SPEC.selector
    assert [(await both.show(each)).sequence for each in (staged, produced)] == [1, 1]
    async with both.database.reading() as reading:
        assert [one.environment for one in await newest_of_each(reading)] == ["production", "staging"]


async def test_a_promotion_deploys_exactly_what_runs_there_and_builds_nothing(both: Company) -> None:
    await finish(both, await _produced(both, "a"))
    staged = await stage(both, "b")
    found = await look(both)
    assert (found.commit_sha, found.replaces and found.replaces.commit_sha) == (sha("b"), sha("a"))
    built = await count(both, jobs), await count(both, artifacts)
    promoted = await promote(both, digest=found.release.digest)
    await finish(both, promoted)
    shown, source = await both.show(promoted), await both.show(staged)
    assert (shown.release, shown.promoted_from, shown.build, shown.build_s) == (source.release, "staging", None, 0)
    assert (await goal(both, "production")).target == (await goal(both, "staging")).target
    assert (await count(both, jobs), await count(both, artifacts)) == built
    assert (await look(both)).there_already
    with pytest.raises(Refused, match=r"runs web/b.* already"):
        await promote(both)


async def _produced(company: Company, commit: str) -> DeploymentId:
    deployment = await deploy(company, commit, None)
    await company.make(commit)
    return deployment


async def test_only_what_an_environment_runs_throughout_goes_on(both: Company) -> None:
    with pytest.raises(Refused, match="runs nothing yet"):
        await promote(both)
    first = await stage(both, "a")
    second = await deploy(both, "b")
    assert (await look(both)).commit_sha == sha("a"), "what is being built does not run yet"
    await both.make("b")
    await both.step()
    with pytest.raises(Refused, match=f"{second}, which is DISTRIBUTING: fleetcast watch {second}"):
        await promote(both)
    await both.triggers.abort(second)
    with pytest.raises(Refused, match="ABORTED: deploy there, or roll back"):
        await promote(both)
    back = (await both.triggers.rollback(RollbackRequest(WEB, sha("a"), "staging"))).id
    await finish(both, back)
    with pytest.raises(Refused, match="by now"):
        await promote(both, digest=Digest("b" * 64))
    shown = await both.show(await promote(both))
    assert shown.release == (await both.show(first)).release
    with pytest.raises(Unprocessable, match="two environments"):
        await both.triggers.promote(PromoteRequest(WEB, "staging", "staging"))


async def test_what_is_required_has_succeeded_before_or_somebody_says_why_not(both: Company) -> None:
    await register(both.database, replace(SPEC, requires="staging"))
    with pytest.raises(Refused, match=r"requires that it succeeded in staging.*release promote web staging production"):
        await deploy(both, "a", None)
    staged = await deploy(both, "a")
    await both.make("a")
    with pytest.raises(Refused, match="requires"):
        await deploy(both, "a", None)
    await finish(both, staged)
    await finish(both, await promote(both))
    await stage(both, "b")
    await finish(both, await deploy(both, "b", None))
    back = (await both.triggers.rollback(RollbackRequest(WEB))).id
    assert (await both.show(back)).commit_sha == sha("a"), "going back asks for nothing"
    await finish(both, back)
    hotfix = await deploy(both, "c", None, override="the shop is down")
    assert (await both.show(hotfix)).override == "the shop is down"
    async with both.database.reading() as reading:
        said = (await reading.execute(select(events.c.text).where(events.c.subject == hotfix))).scalars().first()
    assert said is not None
    assert said.endswith(", whatever production requires: the shop is down")
    with pytest.raises(Unprocessable, match="say why, with --override, in 1 to 500 printable"):
        await deploy(both, "c", None, override="why\x1b[2J")
    staged = await deploy(both, "b", None, override="not needed")
    assert (await both.show(staged)).override == "", "what holds need not be overridden"


async def test_what_was_rolled_back_there_has_not_succeeded(both: Company) -> None:
    await register(both.database, replace(SPEC, requires="staging"))
    await stage(both, "a")
    await stage(both, "b")
    await finish(both, (await both.triggers.rollback(RollbackRequest(WEB, environment="staging"))).id)
    with pytest.raises(Refused, match="requires"):
        await deploy(both, "b", None)


async def test_no_machine_is_meant_by_two(company: Company) -> None:
    with pytest.raises(Refused, match="env=staging, env=production"):
        await register_environment(company.database, STAGING)
    await register(company.database, SPEC)
    await register_environment(company.database, STAGING)
    with pytest.raises(Refused, match="meant by production and by staging"):
        await register(company.database, replace(SPEC, selector=Selector()))
    with pytest.raises(Refused, match="meant by qa and by staging"):
        await register_environment(company.database, EnvironmentSpec(WEB, "qa", Selector(regions=(US,), labels={"a": "b"})))
    with pytest.raises(Refused, match="service add describes it"):
        await register_environment(company.database, replace(STAGING, name="production"))


async def test_nobody_gets_a_second_one_while_a_goal_of_before_means_them(company: Company) -> None:
    await company.succeed("a")  # everywhere
    await register(company.database, SPEC)
    await register_environment(company.database, STAGING)
    with pytest.raises(Refused, match="deploy to production once more"):
        await deploy(company, "a")
    await finish(company, await deploy(company, "a", None))
    await finish(company, await deploy(company, "a"))


async def test_it_is_told_which_there_are(both: Company) -> None:
    await register_environment(both.database, replace(STAGING, takes_pushes=True))
    await stage(both, "a")
    async with both.database.reading() as reading:
        own, staging = await environments_of(reading, WEB)
    assert (own.name, own.default, own.takes_pushes, own.machines, own.runs) == ("production", True, False, 2, None)
    assert (staging.name, staging.default, staging.takes_pushes, staging.machines) == ("staging", False, True, 1)
    assert staging.runs is not None
    assert staging.runs.commit_sha == sha("a")
    with pytest.raises(NotFound, match="it has production, staging"):
        await deploy(both, "a", "prod")
    with pytest.raises(NotFound, match="could require"):
        await register(both.database, replace(SPEC, requires="qa"))
    with pytest.raises(Unprocessable, match="itself"):
        await register_environment(both.database, replace(STAGING, requires="staging"))


async def test_a_push_is_deployed_where_pushes_go(both: Company) -> None:
    await register(both.database, replace(SPEC, on_push=OnPush.DEPLOY))
    await register_environment(both.database, replace(STAGING, takes_pushes=True))
    qa = EnvironmentSpec(WEB, "qa", Selector(regions=(RegionName("ap"),)), takes_pushes=True)
    with pytest.raises(Refused, match="pushes of web go to staging"):
        await register_environment(both.database, qa)
    async with both.database.transaction() as tx:
        pushed = DeploymentId(await both.triggers.order(tx, WEB, sha("a"), OnPush.DEPLOY))
    assert (await both.show(pushed)).environment == "staging"


async def test_removed_it_ends_on_its_machines_alone(both: Company) -> None:
    await finish(both, await _produced(both, "a"))
    await stage(both, "b")
    await register(both.database, replace(SPEC, requires="staging"))

    async def remove(name: str) -> int:
        async with both.database.transaction() as tx:
            return (await remove_environment(tx, WEB, name, goal_lifetime_s=3600)).machines

    with pytest.raises(Refused, match="production of web requires staging"):
        await remove("staging")
    with pytest.raises(Refused, match="service remove web"):
        await remove("production")
    await register(both.database, SPEC)
    going = await deploy(both, "c")
    with pytest.raises(Refused, match=f"fleetcast abort {going}"):
        await remove("staging")
    await both.triggers.abort(going)
    assert await remove("staging") == 1
    await both.step()
    assert ((await goal(both, "staging")).removed, (await goal(both, "production")).removed) == (True, False)
    with pytest.raises(NotFound):
        await deploy(both, "b")
    async with both.database.reading() as reading:
        assert [one.environment for one in await newest_of_each(reading)] == ["production"]
    await register_environment(both.database, STAGING)
    with pytest.raises(Refused, match="runs nothing yet"):
        await promote(both)
    await finish(both, await deploy(both, "b"))
    assert not (await goal(both, "staging")).removed


async def test_with_the_service_all_of_them_go(both: Company) -> None:
    await finish(both, await _produced(both, "a"))
    await stage(both, "b")
    async with both.database.transaction() as tx:
        assert (await remove_service(tx, WEB, goal_lifetime_s=3600)).machines == 3
    await both.step()
    assert (await goal(both, "staging")).removed
    assert (await goal(both, "production")).removed
    await register(both.database, replace(SPEC, selector=Selector()))
    async with both.database.reading() as reading:
        assert [one.name for one in await environments_of(reading, WEB)] == ["production"]


async def test_machines_try_again_in_the_environment_that_is_named(both: Company) -> None:
    await finish(both, await _produced(both, "a"))
    staged = await deploy(both, "b")
    await both.make("b")
    await both.step()
    await both.active(staged, {}, {"us": 1})
    await both.step()
    assert await both.state(staged) is DeploymentState.FAILED
    before = await goal(both, "production"), await goal(both, "staging")
    with pytest.raises(Refused, match="no machine has failed"):
        await both.triggers.retry(RetryRequest(WEB))
    with pytest.raises(NotFound, match="it has production, staging"):
        await both.triggers.retry(RetryRequest(WEB, "prod"))
    again = await both.triggers.retry(RetryRequest(WEB, "staging"))
    assert (again.environment, again.commit_sha) == ("staging", sha("b"))
    await both.step()
    assert (await goal(both, "production")) == before[0]
    assert (await goal(both, "staging")).generation > before[1].generation
    await finish(both, again.id)
