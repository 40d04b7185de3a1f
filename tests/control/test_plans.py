"""Plans through the API: kept with the service, shown before anything happens, stepped in on the way."""

from __future__ import annotations

from typing import Any

import pytest

from fleetcast.http.tokens import Role
from fleetcast.model.errors import Refused, Unprocessable
from fleetcast.model.ids import CommitSha, RegionName, ServiceName
from fleetcast.model.machine import Selector
from fleetcast.model.messages.deployments import DeployRequest, PreviewRequest
from fleetcast.model.messages.environments import EnvironmentSpec
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.plan import Policy, Preset, Stage, WhenBusy

pytestmark = pytest.mark.one_engine

WEB, A = ServiceName("web"), CommitSha("a" * 40)
HALF = Policy(stages=(Stage("half", percent=50, bake_s=30),), region_order=(RegionName("mars"),))


async def test_a_plan_is_the_services_unless_a_deployment_has_its_own(control: Any) -> None:
    async with control() as installation:
        admin = await installation.client(Role.ADMIN)
        await installation.region()
        stored = await admin.put_service(ServiceSpec(WEB, "/repo", plan=Policy(Preset.CAUTIOUS)))
        assert stored.plan == (await admin.service(WEB)).plan == Policy(Preset.CAUTIOUS)
        assert (await admin.deploy(DeployRequest(WEB, A))).plan == "cautious"
        assert (await admin.deploy(DeployRequest(WEB, A, plan=Policy()))).plan == "all-at-once"
        for illegal in (Policy(failed_percent=-1), Policy(stages=(Stage(percent=1, count=1),))):
            with pytest.raises(Unprocessable, match="the plan cannot be taken"):
                await admin.put_service(ServiceSpec(WEB, "/repo", plan=illegal))
            with pytest.raises(Unprocessable, match="the plan cannot be taken"):
                await admin.deploy(DeployRequest(WEB, A, plan=illegal))
            with pytest.raises(Unprocessable, match="the plan cannot be taken"):
                await admin.preview(PreviewRequest(WEB, illegal))


async def test_a_preview_says_what_would_happen_and_changes_nothing(control: Any) -> None:
    async with control() as installation:
        admin = await installation.client(Role.ADMIN)
        await installation.region()
        await admin.put_service(ServiceSpec(WEB, "/repo"))
        before = await admin.status()
        preview = await admin.preview(PreviewRequest(WEB, HALF))
        assert [(planned.wave.name, dict(planned.wave.machines)) for planned in preview.waves] == [
            ("half", {"eu-west": 1}),
            ("everyone else", {"eu-west": 1}),
        ]
        assert [planned.starts_s for planned in preview.waves] == [0, 930]
        assert (preview.machines, preview.ends_s, preview.budget_s) == (2, 990, 1800)
        assert preview.remarks == ("it names region mars, which is not there",)
        assert (await admin.preview(PreviewRequest(WEB))).plan == "all-at-once"
        assert (await admin.status()).deployments == before.deployments == ()


async def test_a_preview_says_what_becomes_of_deployments_that_are_under_way(control: Any) -> None:
    queues = Policy(when_busy=WhenBusy.QUEUE)
    async with control() as installation:
        admin = await installation.client(Role.ADMIN)
        await installation.region()
        await admin.put_service(ServiceSpec(WEB, "/repo", selector=Selector(regions=(RegionName("eu-west"),))))
        await admin.put_environment(EnvironmentSpec(WEB, "staging", Selector(regions=(RegionName("mars"),))))
        idle = await admin.preview(PreviewRequest(WEB, queues))
        assert (idle.unfinished, idle.busy) == ((), "")
        first = (await admin.deploy(DeployRequest(WEB, A))).id
        second = (await admin.deploy(DeployRequest(WEB, CommitSha("b" * 40)))).id
        takes = await admin.preview(PreviewRequest(WEB))
        assert (takes.unfinished, takes.when_busy) == ((first, second), WhenBusy.SUPERSEDE)
        assert takes.busy == (
            f"it would supersede deployment {first}, which is BUILDING; deployment {second}, which is BUILDING, "
            "unless they have ended when its release is deployable"
        )
        waits = await admin.preview(PreviewRequest(WEB, queues))
        assert (waits.unfinished, waits.when_busy) == ((first, second), WhenBusy.QUEUE)
        assert (
            waits.busy
            == f"it would stand in line behind deployment {first}, which is BUILDING, and 1 more, until they have ended"
        )
        assert (await admin.preview(PreviewRequest(WEB, queues, "staging"))).busy == "", "nothing is under way there"


async def test_pause_and_resume_and_nothing_to_promote(control: Any) -> None:
    async with control() as installation:
        admin = await installation.client(Role.ADMIN)
        await installation.region()
        await admin.put_service(ServiceSpec(WEB, "/repo", plan=HALF))
        deployment = (await admin.deploy(DeployRequest(WEB, A))).id
        assert (await admin.pause(deployment)).paused
        with pytest.raises(Refused, match="no wave that bakes"):
            await admin.promote(deployment)
        assert not (await admin.resume(deployment)).paused
        with pytest.raises(Refused, match="not paused"):
            await admin.resume(deployment)
        await admin.abort(deployment)
        with pytest.raises(Refused, match="ABORTED already"):
            await admin.pause(deployment)


async def test_whoever_steps_in_is_told_within_what_it_ends_by_what_control_is_set_to(control: Any) -> None:
    async with control(replicate_s_max=70, distribute_s_max=500) as installation:
        admin = await installation.client(Role.ADMIN)
        await installation.region()
        await admin.put_service(ServiceSpec(WEB, "/repo", plan=HALF))
        triggered = await admin.deploy(DeployRequest(WEB, A))
        assert triggered.bound_s == 70 + (500 + 30) + 500, "from its build on: the copies and two waves"
        assert (await admin.deploy(DeployRequest(WEB, A, plan=Policy()))).bound_s == 70 + 500
        assert (await admin.pause(triggered.id)).bound_s == triggered.bound_s
        assert (await admin.abort(triggered.id)).bound_s is None
        assert (await admin.deployment(triggered.id)).deployment.bound_s is None
