"""Workers and control: claims that wait, uploads through the data port, tokens that go stale."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from fleetcast.http.tokens import Role
from fleetcast.model.build import BuildStatus, Recipe
from fleetcast.model.errors import Refused, Stale, Unprocessable
from fleetcast.model.ids import CommitSha, ServiceName, Token
from fleetcast.model.limits import BUILD_FINISH_S_MAX, BUILD_SOURCE_S_MAX
from fleetcast.model.messages.builds import CommitRequest
from fleetcast.model.messages.deployments import DeployRequest
from fleetcast.model.messages.services import ServiceSpec

pytestmark = pytest.mark.one_engine

WEB, A, B = ServiceName("web"), CommitSha("a" * 40), CommitSha("b" * 40)
SPEC = ServiceSpec(WEB, "/srv/web.git", trunk="main", recipe=Recipe(build="make", environment={"PORT": "80"}))
FAR_S = 600.0
"""Polling that never comes in a test: whatever is noticed was told."""


async def _deployable(installation: Any) -> Any:
    admin = await installation.client(Role.ADMIN)
    await installation.region()
    await admin.put_service(SPEC)
    return admin


async def test_a_waiting_claim_is_woken_by_a_deploy(control: Any) -> None:
    async with control(claim_poll_interval_s=FAR_S, heartbeat_interval_s=1.5) as installation:
        admin = await _deployable(installation)
        worker = await installation.client(Role.WORKER)
        waiting = asyncio.create_task(worker.claim("w1", wait_s=30))
        await worker.claim("w2", wait_s=0.2)  # by the time this one has come back empty, the other is being held
        assert not waiting.done()
        deployment = await admin.deploy(DeployRequest(WEB, A))
        claimed = await asyncio.wait_for(waiting, 15)
    assert claimed is not None
    assert (claimed.build, claimed.commit_sha, claimed.attempt) == (deployment.build, A, 1)
    assert (claimed.name, claimed.trunk, claimed.recipe) == (f"web/{A}", "main", SPEC.recipe)
    assert claimed.heartbeat_interval_s == 1.5


async def test_builds_are_claimed_oldest_first_and_once(control: Any) -> None:
    async with control() as installation:
        admin = await _deployable(installation)
        worker = await installation.client(Role.WORKER)
        for commit in (A, B):
            await admin.deploy(DeployRequest(WEB, commit))
        await admin.deploy(DeployRequest(WEB, A))  # shares the build that is queued
        claims = await asyncio.gather(*(worker.claim(f"w{n}", wait_s=0) for n in range(4)))
        assert sorted(claim.commit_sha for claim in claims if claim is not None) == [A, B]


async def test_a_worker_that_watches_its_build_is_told_when_nobody_wants_it(control: Any) -> None:
    async with control(claim_poll_interval_s=FAR_S) as installation:
        admin = await _deployable(installation)
        worker = await installation.client(Role.WORKER)
        deployment = await admin.deploy(DeployRequest(WEB, A))
        claimed = await worker.claim("w1", wait_s=5)
        watching = asyncio.create_task(worker.watch(claimed.build, claimed.token, 30))
        assert (await worker.watch(claimed.build, claimed.token, 0.2)).status == BuildStatus.RUNNING
        assert not watching.done()
        await worker.append_log(claimed.build, claimed.token, 0, "making")
        following = admin.follow_build_log(claimed.build)
        assert (await anext(following)).text == "making"
        await admin.abort(deployment.id)
        with pytest.raises(Stale):
            await asyncio.wait_for(watching, 15)
        rest = [piece async for piece in following]
        assert "".join(piece.text for piece in rest) == (
            "\n==> stopped: nobody wants it any more: its deployment was aborted\n"
        )
        assert rest[-1].finished


async def test_a_person_aborts_a_build(control: Any) -> None:
    async with control(claim_poll_interval_s=FAR_S) as installation:
        admin = await _deployable(installation)
        worker = await installation.client(Role.WORKER)
        deployment = await admin.deploy(DeployRequest(WEB, A))
        claimed = await worker.claim("w1", wait_s=5)
        watching = asyncio.create_task(worker.watch(claimed.build, claimed.token, 30))
        await worker.watch(claimed.build, claimed.token, 0.2)
        assert (await admin.abort_build(claimed.build)).reason == "aborted"
        with pytest.raises(Stale):
            await asyncio.wait_for(watching, 15)
        async with asyncio.timeout(10):
            seen = ""
            while not (detail := await admin.deployment(deployment.id, wait_s=5, seen=seen)).deployment.state.ended:
                seen = detail.version
        assert detail.deployment.reason == f"build {claimed.build} was aborted"
        with pytest.raises(Refused):
            await admin.abort_build(claimed.build)


def _change(home: Path, sql: str) -> None:
    with contextlib.closing(sqlite3.connect(home / "fleetcast.db")) as database, database:
        database.execute(sql)


async def test_an_attempt_that_never_ends_is_ended_by_what_the_settings_allow_it(control: Any, tmp_path: Path) -> None:
    async with control(build_command_s_max=1, build_pack_upload_s_max=1, reaper_interval_s=0.05) as installation:
        admin = await _deployable(installation)
        worker = await installation.client(Role.WORKER)
        deployment = await admin.deploy(DeployRequest(WEB, A))
        claimed = await worker.claim("w1", wait_s=5)
        began_ms_ago = 1000 * (BUILD_SOURCE_S_MAX + BUILD_FINISH_S_MAX + 3)
        await asyncio.to_thread(_change, tmp_path, f"UPDATE jobs SET claimed_at = claimed_at - {began_ms_ago}")
        async with asyncio.timeout(10):
            seen = ""
            while (detail := await admin.deployment(deployment.id, wait_s=5, seen=seen)).build.status is BuildStatus.RUNNING:
                seen = detail.version
        assert "not finished within 422 s" in detail.build.reason
        with pytest.raises(Stale):
            await worker.heartbeat(claimed.build, claimed.token)


async def test_a_worker_that_left_gets_no_build(control: Any) -> None:
    async with control(claim_poll_interval_s=0.05) as installation:
        admin = await _deployable(installation)
        leaver, worker = await installation.client(Role.WORKER), await installation.client(Role.WORKER)
        waiting = asyncio.create_task(leaver.claim("leaver", wait_s=30))
        await worker.claim("w1", wait_s=0.2)
        waiting.cancel()
        await leaver.aclose()
        await worker.claim("w1", wait_s=0.2)  # several polls of the one who left
        await admin.deploy(DeployRequest(WEB, A))
        claimed = await worker.claim("w1", wait_s=5)
    assert claimed is not None
    assert claimed.attempt == 1


async def test_an_upload_becomes_an_artifact_and_may_be_committed_again(control: Any) -> None:
    async with control() as installation:
        admin = await _deployable(installation)
        worker = await installation.client(Role.WORKER)
        deployment = await admin.deploy(DeployRequest(WEB, A))
        claimed = await worker.claim("w1", wait_s=5)
        await worker.heartbeat(claimed.build, claimed.token)
        request = await installation.publish(worker, claimed, "one")
        again = await worker.commit(claimed.build, request)
        assert again.status == BuildStatus.SUCCEEDED
        artifact = await admin.artifact(f"web/{A}")
        assert artifact.envelope == request.envelope
        detail = await admin.deployment(deployment.id)
        assert detail.build is not None
        assert detail.build.status is BuildStatus.SUCCEEDED
        assert detail.build.blob == f"builds/{claimed.build}/1/content"
        with pytest.raises(Stale):
            await worker.heartbeat(claimed.build, claimed.token)


async def test_what_another_signed_is_no_artifact(control: Any) -> None:
    async with control() as installation:
        admin = await _deployable(installation)
        worker = await installation.client(Role.WORKER)
        await admin.deploy(DeployRequest(WEB, A))
        claimed = await worker.claim("w1", wait_s=5)
        good = await installation.publish(worker, claimed, "one")
        await admin.deploy(DeployRequest(WEB, B))
        claimed = await worker.claim("w1", wait_s=5)
        forged = good.envelope.replace('"sig":"', '"sig":"AAAA')
        with pytest.raises(Unprocessable):
            await worker.commit(claimed.build, CommitRequest(claimed.token, forged, good.content, good.manifest))


async def test_a_stale_token_is_refused_everywhere(control: Any) -> None:
    async with control() as installation:
        admin = await _deployable(installation)
        worker = await installation.client(Role.WORKER)
        await admin.deploy(DeployRequest(WEB, A))
        old = await worker.claim("w1", wait_s=5)
        handed_back = await worker.fail(old.build, old.token, "the worker stops", hand_back=True)
        assert handed_back.status == BuildStatus.QUEUED
        new = await worker.claim("w2", wait_s=5)
        assert (new.build, new.attempt) == (old.build, 2)
        calls = [
            worker.heartbeat(old.build, old.token),
            worker.append_log(old.build, old.token, 0, "late"),
            worker.open_upload(old.build, old.token, "content"),
            worker.fail(old.build, old.token, "late"),
            worker.heartbeat(old.build, Token("guessed")),
        ]
        for call in calls:
            with pytest.raises(Stale) as caught:
                await call
            assert caught.value.code == "stale_token"
        await worker.heartbeat(new.build, new.token)


async def test_a_silent_worker_loses_its_build(control: Any) -> None:
    async with control(heartbeat_silence_s_max=0.3, reaper_interval_s=0.1, claim_poll_interval_s=FAR_S) as installation:
        admin = await _deployable(installation)
        worker = await installation.client(Role.WORKER)
        await admin.deploy(DeployRequest(WEB, A))
        first = await worker.claim("w1", wait_s=5)
        second = await worker.claim("w2", wait_s=10)  # held until the reaper has given the build back
        assert second is not None
        assert (second.build, second.attempt) == (first.build, 2)
        with pytest.raises(Stale):
            await worker.heartbeat(first.build, first.token)


async def test_a_log_is_read_while_it_grows(control: Any) -> None:
    async with control() as installation:
        admin = await _deployable(installation)
        worker = await installation.client(Role.WORKER)
        await admin.deploy(DeployRequest(WEB, A))
        claimed = await worker.claim("w1", wait_s=5)
        await worker.append_log(claimed.build, claimed.token, 0, "größe\n")
        await worker.append_log(claimed.build, claimed.token, 0, "größe\nmore\n")  # a repeat that brings something new
        first = await admin.build_log(claimed.build)
        assert (first.text, first.finished) == ("größe\nmore\n", False)
        await worker.append_log(claimed.build, claimed.token, first.next_offset, "done\n")
        await worker.fail(claimed.build, claimed.token, "make: exit 2")
        rest = await admin.build_log(claimed.build, first.next_offset)
        assert (rest.text, rest.finished) == ("done\n", True)


async def test_stopping_answers_a_held_claim_at_once(control: Any) -> None:
    async with control() as installation:
        worker = await installation.client(Role.WORKER)
        other = await installation.client(Role.REGION)
        page = await other.kv_page("", 0)
        waiting = asyncio.create_task(worker.claim("w1", wait_s=30))
        await worker.claim("w2", wait_s=0.2)
        assert not waiting.done()
        began = time.monotonic()
        installation.stop.set()
        assert await asyncio.wait_for(waiting, 5) is None
        assert page.snapshot
    assert time.monotonic() - began < 15
