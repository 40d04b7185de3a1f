"""The fleet as people see it through the API: one machine, one region, labels, services that go."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from fleetcast.http import messages
from fleetcast.http.tokens import Role
from fleetcast.model.deployment import ByteCounts
from fleetcast.model.errors import Conflict, Invalid, NotFound, Refused
from fleetcast.model.generation import Generation
from fleetcast.model.goal import ReleaseRef
from fleetcast.model.ids import ArtifactName, CommitSha, DeploymentId, Digest, MachineId, RegionName, ServiceName
from fleetcast.model.machine import GivenLabels
from fleetcast.model.messages.deployments import DeployRequest
from fleetcast.model.messages.fleet import Kind, LabelsRequest, Named
from fleetcast.model.messages.regions import MachineAnswered, RegionReport
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.replication import CopyProgress
from fleetcast.model.report import MachineAnswer, Phase, ServiceReport

EU, M1, WEB = RegionName("eu-west"), MachineId("m1"), ServiceName("web")
RELEASE = ReleaseRef(ArtifactName("web/" + "a" * 40), Digest("a" * 64), Digest("b" * 64))
REPORT = ServiceReport(
    WEB, "production", Generation(0, 1), DeploymentId("d1"), RELEASE, Phase.ACTIVE, RELEASE, ByteCounts(peer=5), 5, 1000
)


async def wanted(region: Any) -> tuple[MachineId, ...]:
    """Report, and be told what somebody asks."""
    accepted = await region.client.report(RegionReport(EU, region.machines, (), ()))
    found: tuple[MachineId, ...] = accepted.wanted
    return found


async def test_a_machine_is_shown_with_what_its_region_says_of_it(control: Any) -> None:
    async with control() as installation:
        region, admin = await installation.region(), await installation.client(Role.ADMIN)
        assert await wanted(region) == ()
        asking = [asyncio.create_task(admin.machine(M1, wait_s=30)) for _ in range(3)]
        asked: tuple[MachineId, ...] = ()
        for _ in range(1000):  # reports, each a round trip
            asked = asked or await wanted(region)
        assert asked == (M1,)
        told = MachineAnswer(M1, 200, (REPORT,), ("clock is off",))
        await region.client.answer(MachineAnswered(EU, told))
        details = await asyncio.wait_for(asyncio.gather(*asking), 10)
        assert [detail.answer for detail in details] == [told] * 3
        assert (details[0].machine, details[0].retired_at_ms, details[0].region_drained) == (region.machines[0], None, False)
        assert details[0].joined_at_ms <= details[0].last_seen_at_ms <= details[0].now_ms
        assert await wanted(region) == ()


async def test_a_region_that_does_not_answer_is_waited_for_and_no_longer(control: Any) -> None:
    async with control() as installation:
        region, admin = await installation.region(), await installation.client(Role.ADMIN)
        unasked = await admin.machine(M1)
        assert (unasked.waited_s, unasked.answer) == (0, None)
        assert await wanted(region) == (), "who does not wait does not ask"
        silent = await admin.machine(M1, wait_s=0.1)
        assert (silent.waited_s, silent.answer) == (0.1, None)
        with pytest.raises(NotFound, match="no machine 'm9'"):
            await admin.machine(MachineId("m9"), wait_s=30)


async def test_labels_are_given_as_a_whole_and_reach_the_regions(control: Any) -> None:
    async with control() as installation:
        region, admin = await installation.region(), await installation.client(Role.ADMIN)
        for _ in range(2):
            detail = await admin.label(M1, LabelsRequest({"role": "web"}, instead_of={}))
            assert (detail.given, detail.machine.labels) == ({"role": "web"}, {})
        with pytest.raises(Conflict):
            await admin.label(M1, LabelsRequest({"gpu": "yes"}, instead_of={}))
        with pytest.raises(Invalid):
            await admin.label(M1, LabelsRequest({"": "yes"}))
        with pytest.raises(NotFound):
            await admin.label(MachineId("m9"), LabelsRequest({"role": "web"}))
        page = await region.client.kv_page("labels/", 0)
        for _ in range(1000):  # each a round trip
            page = page if page.entries else await region.client.kv_page("labels/", 0)
        assert [entry.key for entry in page.entries] == ["labels/m1"]
        assert messages.decode(page.entries[0].value, GivenLabels) == GivenLabels(M1, {"role": "web"})


async def test_a_region_is_shown_with_what_goes_on_there(control: Any) -> None:
    async with control() as installation:
        region, admin = await installation.region(), await installation.client(Role.ADMIN)
        await admin.put_service(ServiceSpec(WEB, "/srv/web.git", trunk=""))
        deployment = await admin.deploy(DeployRequest(WEB, CommitSha("a" * 40)))
        copy = CopyProgress(Digest("c" * 64), 5, 10, "disk full")
        await region.client.report(RegionReport(EU, region.machines, (), (copy,), ("its clock is wrong",)))
        detail = await admin.region(EU)
        assert detail.region.alarms == ("its clock is wrong",)
        assert [detail.region] == [
            replace(each, last_report_age_s=detail.region.last_report_age_s) async for each in admin.regions()
        ]
        assert (detail.region.name, detail.region.machines, detail.silent, detail.copies) == (EU, 2, 0, (copy,))
        (part,) = detail.deployments
        assert (part.deployment.id, part.expected, part.active) == (deployment.id, 2, 0)
        with pytest.raises(NotFound, match="no region 'moon'"):
            await admin.region(RegionName("moon"))
        assert (await admin.names("eu-west")).named == (Named(Kind.REGION, "eu-west"),)
        assert (await admin.names("a/b c?")).named == ()


async def test_a_service_is_removed_and_added_again(control: Any) -> None:
    spec = ServiceSpec(WEB, "/srv/web.git", trunk="")
    async with control() as installation:
        await installation.region()
        admin = await installation.client(Role.ADMIN)
        with pytest.raises(NotFound):
            await admin.remove_service(WEB)
        await admin.put_service(spec)
        deployment = await admin.deploy(DeployRequest(WEB, CommitSha("a" * 40)))
        with pytest.raises(Refused, match=f"fleetcast abort {deployment.id}"):
            await admin.remove_service(WEB)
        await admin.abort(deployment.id)
        assert (await admin.remove_service(WEB)).machines == 0
        with pytest.raises(NotFound, match="was removed"):
            await admin.service(WEB)
        assert [build.id for build in (await admin.build_page(service=WEB)).items] == [deployment.build], "it stays on record"
        assert (await admin.artifact_page(service=WEB)).items == ()
        assert (await admin.commit_page(WEB)).items == (deployment.commit_sha,)
        assert (await admin.service_page()).items == ()
        gone = (await admin.event_page(after="", limit=500)).items[-1]
        assert (gone.kind, gone.subject) == ("service.removed", "web")
        assert [it.id for it in (await admin.deployment_page(service=WEB)).items] == [deployment.id]
        with pytest.raises(Refused, match="environment"):
            await admin.put_service(ServiceSpec(WEB, "/srv/web.git", environment="staging"))
        assert await admin.put_service(spec) == spec
        assert (await admin.deploy(DeployRequest(WEB, CommitSha("a" * 40)))).sequence > deployment.sequence
