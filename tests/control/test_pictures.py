"""What people are shown of a deployment's regions."""

from __future__ import annotations

from typing import Any

from fleetcast.http.tokens import Role
from fleetcast.model.build import BuildStatus
from fleetcast.model.deployment import ByteCounts
from fleetcast.model.generation import Generation
from fleetcast.model.ids import CommitSha, MachineId, RegionName, ServiceName
from fleetcast.model.messages.deployments import DeploymentDetail, DeployRequest
from fleetcast.model.messages.regions import RegionReport
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.replication import CopyProgress
from fleetcast.model.report import DeploymentRollup, MachineProgress, NamedFailure, Phase

WEB, EU = ServiceName("web"), RegionName("eu-west")
A, B = CommitSha("a" * 40), CommitSha("b" * 40)


async def _triggered(installation: Any, *commits: CommitSha) -> tuple[Any, Any, list[Any]]:
    admin, region = await installation.client(Role.ADMIN), await installation.region()
    await region.report()
    await admin.put_service(ServiceSpec(WEB, "/srv/web.git", trunk=""))
    return admin, region, [await admin.deploy(DeployRequest(WEB, commit)) for commit in commits]


def _rollup(detail: DeploymentDetail, **more: Any) -> DeploymentRollup:
    shown = detail.deployment
    counts = {"selected": 2, "reporting": 2, "fetched": 1, "active": 0, "failed": 1, "bytes": ByteCounts(1, 2, 3)}
    known: dict[str, Any] = {**counts, "last_active_age_ms": 0, **more}
    return DeploymentRollup(shown.id, WEB, "production", Generation(0, 1), **known)


async def test_a_queued_build_shows_how_many_come_before_it(control: Any) -> None:
    async with control() as installation:
        admin, _, (first, second) = await _triggered(installation, A, B)
        ahead = [(await admin.deployment(each.id)).builds_ahead for each in (first, second)]
        assert ahead == [0, 1]
        worker = await installation.client(Role.WORKER)
        await worker.claim("w1", wait_s=5)
        shown = await admin.deployment(second.id)
        assert (shown.builds_ahead, shown.build.status) == (0, BuildStatus.QUEUED)


async def test_regions_show_copy_machines_and_what_they_wait_for(control: Any) -> None:
    async with control() as installation:
        admin, region, (deployment,) = await _triggered(installation, A)
        before = await admin.deployment(deployment.id)
        (picture,) = before.regions
        assert (picture.name, picture.expected, picture.copy, picture.machines) == (EU, 2, "", ())
        worker = await installation.client(Role.WORKER)
        claimed = await worker.claim("w1", wait_s=5)
        await installation.publish(worker, claimed, "one")

        seen = before.version
        while not (detail := await admin.deployment(deployment.id, wait_s=5, seen=seen)).deployment.release:
            seen = detail.version
        size = detail.deployment.artifact_bytes
        copying = CopyProgress(detail.deployment.release.digest, size // 2, size)
        machines = (
            MachineProgress(MachineId("m1"), Phase.FAILED, note="exit 1"),
            MachineProgress(MachineId("m2"), Phase.FETCHING, ByteCounts(peer=1), size, "pieces"),
        )
        rollup = _rollup(detail, phases={"FAILED": 1, "FETCHING": 1}, machines=machines)
        await region.client.report(RegionReport(EU, region.machines, (rollup,), (copying,)))
        (picture,) = (await admin.deployment(deployment.id)).regions
        assert (picture.reporting, picture.fetched, picture.failed, picture.bytes) == (2, 1, 1, ByteCounts(1, 2, 3))
        assert (picture.copy, picture.copy_bytes, picture.copy_bytes_total) == ("PENDING", size // 2, size)
        assert (dict(picture.phases), picture.machines) == ({"FAILED": 1, "FETCHING": 1}, machines)
        assert picture.last_report_age_s is not None


async def test_a_region_of_an_older_version_names_who_failed_and_who_waits(control: Any) -> None:
    async with control() as installation:
        admin, region, (deployment,) = await _triggered(installation, A)
        detail = await admin.deployment(deployment.id)
        failures, waiting = (NamedFailure(MachineId("m1"), "exit 1"),), (NamedFailure(MachineId("m2"), "a permit"),)
        await region.report(_rollup(detail, failures=failures, waiting=waiting))
        (picture,) = (await admin.deployment(deployment.id)).regions
        assert [(each.machine, each.phase, each.note) for each in picture.machines] == [
            ("m1", Phase.FAILED, "exit 1"),
            ("m2", None, "a permit"),
        ]


async def test_an_age_makes_no_news(control: Any) -> None:
    async with control() as installation:
        admin, region, (deployment,) = await _triggered(installation, A)
        seen = ""
        while (detail := await admin.deployment(deployment.id, wait_s=1, seen=seen)).version != seen:
            seen = detail.version
        await region.report()
        again = await admin.deployment(deployment.id, wait_s=0.2, seen=seen)
        assert again.version == seen
        assert again.age_s > detail.age_s
        assert again.regions[0].last_report_age_s < detail.regions[0].last_report_age_s
