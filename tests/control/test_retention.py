"""What people are told of retention over the API, and what a control process collects by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fleetcast.http.tokens import Role
from fleetcast.model.build import BuildStatus, Recipe
from fleetcast.model.errors import Forbidden, Invalid, NotFound, Refused
from fleetcast.model.event import EventKind
from fleetcast.model.ids import ArtifactName, CommitSha, Digest, RegionName, ServiceName
from fleetcast.model.limits import PAGE_ITEMS_MAX, SURPLUS_ASKED_MAX
from fleetcast.model.messages.artifacts import BuildRequest
from fleetcast.model.messages.regions import Surplus
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.retention import Tier

WEB = ServiceName("web")
FIRST, SECOND = (ArtifactName(f"web/{digit * 40}") for digit in "ab")
NEEDLESS = {"main_retention_count": 0, "region_retention_count": 0, "retention_grace_s": 0.0}


@asynccontextmanager
async def _two_built(control: Any, **settings: Any) -> AsyncIterator[tuple[Any, Any]]:
    """Nobody deploys them. Control looks by itself once an hour, or as ``settings`` say."""
    async with control(**{"retention_interval_s": 3600.0, **settings}) as installation:
        admin, worker = await installation.client(Role.ADMIN), await installation.client(Role.WORKER)
        await admin.put_service(ServiceSpec(WEB, "/srv/web.git", recipe=Recipe(build="make")))
        for name in (FIRST, SECOND):
            await admin.order_build(BuildRequest(WEB, CommitSha(name.partition("/")[2])))
            await installation.publish(worker, await worker.claim("w1", wait_s=5), name[-1])
        yield installation, admin


async def test_the_plan_says_what_would_go_and_changes_nothing(control: Any) -> None:
    async with _two_built(control, **NEEDLESS) as (_, admin):
        await admin.pin(FIRST, pinned=True)
        page = await admin.retention_page(limit=1)
        rest = await admin.retention_page(after=page.next)
        (first,), (second,) = page.items, rest.items

        assert (first.artifacts, first.main.collect, first.main.reason) == ((FIRST,), False, "it is pinned")
        assert (second.artifacts, second.main.collect, second.regions) == ((SECOND,), True, None)
        assert second.main.reason == "more than 0 of web are there that nobody needs"
        with pytest.raises(Invalid):
            await admin.retention_page(after="nowhere")
        stored = (await admin.status()).stored
        assert (stored.main_artifacts, stored.region_artifacts, stored.pinned) == (2, 0, 1)


async def test_what_is_collected_is_gone_at_once_and_said_everywhere(control: Any) -> None:
    async with _two_built(control, **NEEDLESS) as (installation, admin):
        await admin.pin(FIRST, pinned=True)
        collected = await admin.collect()
        assert (collected.main, collected.regions) == ((SECOND,), ())
        assert collected.main_bytes > 0
        assert (await admin.collect()).main == ()

        listed = {item.name: item for item in (await admin.artifact_page()).items}
        assert (listed[FIRST].pinned, listed[FIRST].collected) == (True, None)
        assert (listed[SECOND].pinned, listed[SECOND].collected) == (False, Tier.MAIN)
        assert (await admin.artifact(SECOND)).collected_why == "more than 0 of web are there that nobody needs"
        blobs = sorted(path.parent.parent.name for path in (installation.home / "bucket" / "blobs").rglob("content"))
        assert blobs == ["1"]
        with pytest.raises(NotFound, match="was collected") as gone:
            await admin.artifact_source(SECOND)
        assert gone.value.code == "artifact_collected"
        with pytest.raises(Refused, match="was collected"):
            await admin.pin(SECOND, pinned=True)
        with pytest.raises(Refused, match=f"fleetcast build web@{'b' * 40} --rebuild"):
            await admin.order_build(BuildRequest(WEB, CommitSha("b" * 40)))
        again = await admin.order_build(BuildRequest(WEB, CommitSha("b" * 40), rebuild=True))
        assert again.status is BuildStatus.QUEUED

        told = [(event.kind, event.subject, event.text) for event in (await admin.event_page(limit=PAGE_ITEMS_MAX)).items]
        assert (EventKind.ARTIFACT_PINNED, FIRST, "") in told
        assert (
            EventKind.ARTIFACT_COLLECTED,
            SECOND,
            "from the main store: more than 0 of web are there that nobody needs",
        ) in told


async def test_control_collects_by_itself(control: Any) -> None:
    async with _two_built(control, **{**NEEDLESS, "retention_interval_s": 0.1}) as (_, admin):
        deadline = time.monotonic() + 10
        while [item.collected for item in (await admin.artifact_page()).items] != [Tier.MAIN] * 2:
            assert time.monotonic() < deadline, "nothing was collected"
            await asyncio.sleep(0.05)


async def test_with_the_settings_as_they_come_nothing_of_today_goes(control: Any) -> None:
    async with _two_built(control) as (_, admin):
        assert (await admin.collect()).main == ()
        assert {item.main.reason for item in (await admin.retention_page()).items} == {"it was used less than 1 day ago"}


async def test_pins_are_of_artifacts_that_there_are(control: Any) -> None:
    async with _two_built(control) as (installation, admin):
        with pytest.raises(NotFound):
            await admin.pin(ArtifactName(f"web/{'c' * 40}"), pinned=True)
        for pinned in (True, True, False, False):
            assert (await admin.pin(FIRST, pinned=pinned)).pinned is pinned
        with pytest.raises(Forbidden):
            await (await installation.client(Role.REGION)).pin(FIRST, pinned=True)


async def test_a_region_asks_in_bounds_and_under_its_own_name(control: Any) -> None:
    async with _two_built(control) as (installation, _):
        region = await installation.client(Role.REGION)
        with pytest.raises(NotFound, match="has not said hello"):
            await region.surplus(Surplus(RegionName("eu-west"), ()))
        await installation.region()
        digests = tuple(Digest(f"{number:064x}") for number in range(SURPLUS_ASKED_MAX + 1))
        assert (await region.surplus(Surplus(RegionName("eu-west"), digests[1:]))).delete == ()
        with pytest.raises(Invalid, match="500"):
            await region.surplus(Surplus(RegionName("eu-west"), digests))
        with pytest.raises(Invalid):
            await region.surplus(Surplus(RegionName("eu-west"), (Digest("none"),)))
