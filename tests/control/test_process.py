"""The process itself: several of one installation, what stops it from starting, how it ends."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from fleetcast.http import serving
from fleetcast.http.tokens import Role
from fleetcast.model.errors import Invalid, Refused, Unavailable
from fleetcast.model.ids import CommitSha, ServiceName
from fleetcast.model.messages.deployments import DeployRequest
from fleetcast.model.messages.services import ServiceSpec

pytestmark = pytest.mark.one_engine

WEB, A = ServiceName("web"), CommitSha("a" * 40)


async def test_two_processes_are_one_control(control: Any) -> None:
    async with control() as one, control(claim_poll_interval_s=0.1) as other:
        admin = await one.client(Role.ADMIN)
        await one.region()
        await admin.put_service(ServiceSpec(WEB, "/srv/web.git", trunk=""))
        worker = await other.client(Role.WORKER)
        waiting = asyncio.create_task(worker.claim("w1", wait_s=10))
        deployment = await admin.deploy(DeployRequest(WEB, A))
        claimed = await asyncio.wait_for(waiting, 15)
        assert claimed is not None
        assert claimed.build == deployment.build
        await other.publish(worker, claimed, "one")
        assert (await admin.artifact(f"web/{A}")).name == claimed.name


async def test_a_taken_port_is_refused_in_words(control: Any) -> None:
    with serving.bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Refused, match=str(port)):
            async with control(port=port):
                pass
        with pytest.raises(Refused, match=str(port)):
            async with control(data_port=port):
                pass


async def test_a_key_that_is_none_is_named_and_nothing_is_left_open(control: Any, tmp_path: Any) -> None:
    (tmp_path / "other.pub").write_text("no key\n")
    with pytest.raises(Invalid, match=r"other\.pub"):
        async with control(worker_public_keys=(tmp_path / "other.pub",)):
            pass
    async with control() as installation:
        assert installation.addresses["api"].startswith("http://127.0.0.1:")


async def test_stop_before_the_start_is_over_still_ends_it(control: Any) -> None:
    async with control() as installation:
        installation.stop.set()
        began = time.monotonic()
    assert time.monotonic() - began < 15


async def test_every_held_call_is_answered_at_stop(control: Any) -> None:
    async with control() as installation:
        admin = await installation.client(Role.ADMIN)
        region = await installation.region()
        await admin.put_service(ServiceSpec(WEB, "/srv/web.git", trunk=""))
        deployment = await admin.deploy(DeployRequest(WEB, A))
        worker = await installation.client(Role.WORKER)
        await worker.claim("w1", wait_s=5)
        revision = max((await region.client.kv_page("", 0)).revision, 1)
        seen = (await admin.deployment(deployment.id)).version
        held = [
            asyncio.create_task(worker.claim("w1", wait_s=30)),
            asyncio.create_task(admin.deployment(deployment.id, wait_s=30, seen=seen)),
            asyncio.create_task(region.client.kv_page("none/", revision, wait_s=30)),
        ]
        await worker.claim("w2", wait_s=0.2)
        began = time.monotonic()
        installation.stop.set()
        answers = await asyncio.wait_for(asyncio.gather(*held, return_exceptions=True), 15)
    assert time.monotonic() - began < 15
    assert answers[0] is None
    for answer in answers[1:]:  # an answer, or a clear "ask again": never a cut connection
        assert not isinstance(answer, BaseException) or (isinstance(answer, Unavailable) and answer.code == "stopping"), answer
