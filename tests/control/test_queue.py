"""The queue through the API: who passes whom, what it shows, what monitoring scrapes."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from fleetcast.http.tokens import Role, load_or_create
from fleetcast.model.build import Recipe
from fleetcast.model.errors import NotFound
from fleetcast.model.ids import CommitSha, ServiceName
from fleetcast.model.messages.artifacts import BuildRequest
from fleetcast.model.messages.deployments import DeployRequest
from fleetcast.model.messages.services import ServiceSpec

WEB, API = ServiceName("web"), ServiceName("api")
A, B, C, D = (CommitSha(letter * 40) for letter in "abcd")
FAR_S = 600.0


async def _admin(installation: Any) -> Any:
    admin = await installation.client(Role.ADMIN)
    await installation.region()
    for service in (WEB, API):
        await admin.put_service(ServiceSpec(service, "/srv/x.git", trunk="main", recipe=Recipe(build="make")))
    return admin


async def test_an_urgent_deploy_passes_and_lifts_the_build_it_shares(control: Any) -> None:
    async with control() as installation:
        admin, worker = await _admin(installation), await installation.client(Role.WORKER)
        for commit in (A, B):
            await admin.deploy(DeployRequest(WEB, commit))
        await admin.order_build(BuildRequest(WEB, C, urgent=True))
        await admin.deploy(DeployRequest(WEB, B, urgent=True))
        waiting = (await admin.queue()).waiting
        assert [(one.build.commit_sha, one.build.lane, one.lands_in) for one in waiting] == [
            (B, "urgent", ("production",)),
            (C, "urgent", ()),
            (A, "ordinary", ("production",)),
        ]
        claimed = [await worker.claim("w1", wait_s=0) for _ in range(3)]
        assert [claim.commit_sha for claim in claimed] == [B, C, A]


async def test_a_service_at_its_bound_leaves_workers_to_others(control: Any) -> None:
    async with control(build_service_running_max=1) as installation:
        admin, worker = await _admin(installation), await installation.client(Role.WORKER)
        for commit in (A, B):
            await admin.deploy(DeployRequest(WEB, commit))
        await admin.deploy(DeployRequest(API, C))
        first, second = [await worker.claim("w1", wait_s=0) for _ in range(2)]
        assert [(one.service, one.commit_sha) for one in (first, second)] == [(WEB, A), (API, C)]
        assert await worker.claim("w1", wait_s=0) is None
        status = await admin.queue()
        assert [(one.build.commit_sha, one.waits_for) for one in status.waiting] == [(B, "service")]
        assert (status.running, status.ready, status.wanted_workers) == (2, 0, 2)
        await worker.fail(first.build, first.token, "no compiler")
        assert (await worker.claim("w1", wait_s=0)).commit_sha == B


async def test_a_build_whose_next_attempt_is_due_is_found_by_whoever_waits(control: Any) -> None:
    """Nobody rings for it: control's own look does."""
    async with control(claim_poll_interval_s=0.05, build_retry_s=0.2) as installation:
        admin, worker = await _admin(installation), await installation.client(Role.WORKER)
        await admin.deploy(DeployRequest(WEB, A))
        for _ in range(2):
            claim = await worker.claim("w1", wait_s=5)
            await worker.fail(claim.build, claim.token, "no disk", hand_back=True)
        assert (await asyncio.wait_for(worker.claim("w1", wait_s=30), 20)).attempt == 3


async def test_workers_that_wait_are_idle_slots_and_monitoring_sees_the_same(control: Any) -> None:
    async with control(claim_poll_interval_s=FAR_S, build_service_running_max=1) as installation:
        admin, worker = await _admin(installation), await installation.client(Role.WORKER)
        waiting = asyncio.create_task(worker.claim("w1", wait_s=30))
        async with asyncio.timeout(10):
            while (await admin.queue()).idle != 1:  # a round trip each
                pass
        for commit in (A, B):
            await admin.deploy(DeployRequest(WEB, commit))
        await admin.deploy(DeployRequest(WEB, D, urgent=True))
        assert (await asyncio.wait_for(waiting, 10)).commit_sha == A
        status = await admin.queue()
        assert (status.idle, status.running, status.wanted_workers) == (0, 1, 2)
        assert status.why.startswith("1 running, 1 could run")
        token = load_or_create(installation.home, Role.ADMIN)
        async with httpx2.AsyncClient(base_url=installation.addresses["api"]) as http:
            answer = await http.get("/metrics", headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        figures = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
        assert float(figures['fleetcast_queue_builds{lane="ordinary"}']) == 1
        assert float(figures['fleetcast_queue_builds{lane="urgent"}']) == 1
        assert float(figures['fleetcast_queue_waiting_for{what="service"}']) == 1
        assert float(figures["fleetcast_builds_running"]) == 1
        assert float(figures["fleetcast_worker_slots_wanted"]) == 2
        assert float(figures["fleetcast_queue_oldest_seconds"]) >= 0


async def test_history_is_told_by_service_and_day(control: Any) -> None:
    async with control() as installation:
        admin, worker = await _admin(installation), await installation.client(Role.WORKER)
        for service, commit in ((WEB, A), (API, B)):
            await admin.order_build(BuildRequest(service, commit))
            claim = await worker.claim("w1", wait_s=5)
            await worker.fail(claim.build, claim.token, "no compiler")
        found = await admin.build_history(days=2)
        assert [(one.service, one.builds, one.failed, one.succeeded, one.attempts) for one in found.items] == [
            ("api", 1, 1, 0, 1),
            ("web", 1, 1, 0, 1),
        ]
        assert [one.service for one in (await admin.build_history(service=WEB)).items] == [WEB]
        with pytest.raises(NotFound):
            await admin.build_history(service=ServiceName("nobody"))
