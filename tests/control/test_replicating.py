"""A copy that somebody asks for: the region is told until it says that it follows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fleetcast.http.tokens import Role
from fleetcast.model.build import Recipe
from fleetcast.model.errors import NotFound, Refused
from fleetcast.model.ids import ArtifactName, CommitSha, RegionName, ServiceName
from fleetcast.model.messages.artifacts import BuildRequest
from fleetcast.model.messages.deployments import DeployRequest
from fleetcast.model.messages.regions import RegionReport, ReportAccepted
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.replication import CopyDemand, CopyProgress

WEB, EU = ServiceName("web"), RegionName("eu-west")
SHA = CommitSha("a" * 40)
NAME = ArtifactName(f"web/{SHA}")
LOOKS_MAX = 2000
"""Each a round trip."""


async def built(installation: Any) -> tuple[Any, Any]:
    """Somebody who may ask, and a region; ``web`` is built and not deployed."""
    admin, worker = await installation.client(Role.ADMIN), await installation.client(Role.WORKER)
    await admin.put_service(ServiceSpec(WEB, "/srv/web.git", recipe=Recipe(build="make")))
    await admin.order_build(BuildRequest(WEB, SHA))
    await installation.publish(worker, await worker.claim("w1", wait_s=5), "one")
    return admin, await installation.region()


async def deployed(admin: Any, region: Any) -> None:
    """Until regions can know of the artifact."""
    await admin.deploy(DeployRequest(WEB, SHA))

    async def known() -> bool:
        return bool((await region.client.kv_page("artifacts/", 0)).entries)

    await until(known)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(LOOKS_MAX):
        if await condition():
            return
    pytest.fail(f"not in {LOOKS_MAX} looks")


async def told(region: Any, *copies: CopyProgress, demands: tuple[CopyDemand, ...] = ()) -> tuple[CopyDemand, ...]:
    """What a region is to attempt, by the answer to its report."""
    accepted = await region.client.report(RegionReport(EU, region.machines, (), copies, demands=demands))
    assert isinstance(accepted, ReportAccepted)
    return accepted.demands


async def test_a_copy_is_demanded_of_its_regions(control: Any) -> None:
    async with control() as installation:
        admin, region = await built(installation)
        with pytest.raises(Refused, match="no region is to have"):
            await admin.replicate(NAME)
        await deployed(admin, region)
        asked = await admin.replicate(NAME)
        assert (asked.name, asked.regions) == (NAME, (EU,))
        assert (await admin.replicate(NAME, [EU])).regions == (EU,)
        [demand] = await told(region)
        assert demand.digest == asked.digest
        assert await told(region) == (demand,), "the answer may have been lost"
        assert await told(region, demands=(demand,)) == ()
        with pytest.raises(NotFound, match="no region 'mars'"):
            await admin.replicate(NAME, [RegionName("mars")])
        with pytest.raises(NotFound, match="no artifact"):
            await admin.replicate(ArtifactName(f"web/{'b' * 40}"))


async def test_what_a_region_has_given_up_is_shown_with_its_reason(control: Any) -> None:
    async with control() as installation:
        admin, region = await built(installation)
        await deployed(admin, region)
        digest = (await admin.replicate(NAME)).digest
        for given_up, expected in (
            (False, ("PENDING", "the last attempt failed: disk full")),
            (True, ("FAILED", "disk full")),
        ):
            await told(region, CopyProgress(digest, 0, 10, "disk full", given_up))

            async def shown(expected: tuple[str, str] = expected) -> bool:
                return [(copy.status, copy.reason) for copy in (await admin.artifact(NAME)).replicas] == [expected]

            await until(shown)
            [copy] = (await admin.region(EU)).copies
            assert (copy.error, copy.given_up) == ("disk full", given_up)
