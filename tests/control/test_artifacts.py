"""Builds without a deployment, lists page by page, where artifacts are read from, and what control sees of the rest."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from fleetcast.http.tokens import Role
from fleetcast.model.build import BuildStatus, Recipe
from fleetcast.model.errors import Invalid, NotFound, Refused
from fleetcast.model.ids import ArtifactName, BuildId, CommitSha, ServiceName
from fleetcast.model.limits import PAGE_ITEMS_MAX
from fleetcast.model.messages.artifacts import BuildRequest
from fleetcast.model.messages.deployments import DeployRequest
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.stores.transfer import GrantConnection

WEB, API = ServiceName("web"), ServiceName("api")
COMMITS = tuple(CommitSha(digit * 40) for digit in "abcdef")
A, B, C, *_ = COMMITS


async def _people(installation: Any) -> Any:
    admin = await installation.client(Role.ADMIN)
    for name in (WEB, API):
        await admin.put_service(ServiceSpec(name, "/srv/web.git", recipe=Recipe(build="make")))
    return admin


async def test_a_build_needs_no_machines_and_a_deploy_takes_what_it_made(control: Any) -> None:
    async with control() as installation:
        admin, worker = await _people(installation), await installation.client(Role.WORKER)
        ordered = await admin.order_build(BuildRequest(WEB, A))
        assert (ordered.status, ordered.name) == (BuildStatus.QUEUED, f"web/{A}")
        assert (await admin.order_build(BuildRequest(WEB, A))).id == ordered.id, "shared while it waits"
        await installation.publish(worker, await worker.claim("w1", wait_s=5), "one")
        assert (await admin.order_build(BuildRequest(WEB, A))).status is BuildStatus.SUCCEEDED
        await installation.region()
        deployment = await admin.deploy(DeployRequest(WEB, A))
        assert (deployment.build, deployment.artifact, deployment.build_s) == (None, f"web/{A}", 0)
        assert (await admin.artifact(ArtifactName(f"web/{A}"))).build == ordered.id


async def test_a_build_on_other_terms_is_refused_or_made_again(control: Any) -> None:
    async with control() as installation:
        admin, worker = await _people(installation), await installation.client(Role.WORKER)
        with pytest.raises(NotFound):
            await admin.order_build(BuildRequest(ServiceName("none"), A))
        with pytest.raises(Invalid):
            await admin.order_build(BuildRequest(WEB, CommitSha("main")))
        await admin.order_build(BuildRequest(WEB, A, allow_unmerged=True))
        with pytest.raises(Refused, match="another repository, trunk or recipe"):
            await admin.order_build(BuildRequest(WEB, A))
        await installation.publish(worker, await worker.claim("w1", wait_s=5), "one")
        with pytest.raises(Refused, match="--allow-unmerged"):
            await admin.order_build(BuildRequest(WEB, A))
        again = await admin.order_build(BuildRequest(WEB, A, rebuild=True))
        assert (again.status, again.name) == (BuildStatus.QUEUED, f"web/{A}.2")


async def test_a_build_is_followed_to_its_end(control: Any) -> None:
    async with control() as installation:
        admin, worker = await _people(installation), await installation.client(Role.WORKER)
        first = await admin.order_build(BuildRequest(WEB, A))
        second = await admin.order_build(BuildRequest(WEB, B))
        waiting = await admin.build(second.id)
        assert (waiting.ahead, waiting.log_bytes) == (1, 0)
        held = asyncio.create_task(admin.build(second.id, wait_s=30, seen=waiting.version))
        claimed = await worker.claim("w1", wait_s=5)
        assert claimed.build == first.id
        nearer = await asyncio.wait_for(held, 10)
        assert (nearer.build.status, nearer.ahead) == (BuildStatus.QUEUED, 0)
        await worker.append_log(claimed.build, claimed.token, 0, "last words\n")
        await worker.fail(claimed.build, claimed.token, "exit code 3")
        ended = await admin.build(first.id)
        assert (ended.build.status, ended.build.reason, ended.log_bytes) == (BuildStatus.FAILED, "exit code 3", 11)
        with pytest.raises(NotFound):
            await admin.build(BuildId(99))


async def test_lists_come_page_by_page_newest_first(control: Any) -> None:
    async with control() as installation:
        admin, worker = await _people(installation), await installation.client(Role.WORKER)
        for number, commit in enumerate(COMMITS[:3]):
            await admin.order_build(BuildRequest(WEB, commit))
            await installation.publish(worker, await worker.claim("w1", wait_s=5), f"text {number}")
        other = await admin.order_build(BuildRequest(API, A))
        first = await admin.build_page(service=WEB, limit=2)
        rest = await admin.build_page(service=WEB, limit=2, after=first.next)
        assert [build.commit_sha for build in (*first.items, *rest.items)] == [C, B, A]
        assert rest.next is None
        assert (await admin.build_page()).items[0].id == other.id, "of every service"
        assert [build.id for build in (await admin.build_page(status=BuildStatus.QUEUED)).items] == [other.id]
        assert [build.service for build in (await admin.build_page(commit=A)).items] == [API, WEB]
        newest = await admin.artifact_page(service=WEB, limit=1)
        assert [(item.commit_sha, item.deployable) for item in newest.items] == [(C, False)]
        assert [item.commit_sha for item in (await admin.artifact_page(after=newest.next)).items] == [B, A]
        assert (await admin.artifact_page(service=API)).items == ()


async def test_a_list_that_cannot_be_is_refused(control: Any) -> None:
    refused: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"limit": 0}, Invalid),
        ({"limit": PAGE_ITEMS_MAX + 1}, Invalid),
        ({"after": "yesterday"}, Invalid),
        ({"after": "9" * 30}, Invalid),
        ({"service": "none"}, NotFound),
        ({"service": "No!"}, Invalid),
    ]
    async with control() as installation:
        admin = await _people(installation)
        for asked, kind in refused:
            for ask in (admin.build_page, admin.artifact_page):
                with pytest.raises(kind):
                    await ask(**asked)
        with pytest.raises(Invalid, match="QUEUED"):
            await admin.build_page(status=cast(Any, "DONE"))


async def test_commits_are_found_by_their_beginning(control: Any) -> None:
    near = CommitSha("abc1" + "0" * 36)
    far = CommitSha("abc2" + "0" * 60)
    async with control() as installation:
        admin = await _people(installation)
        for commit in (far, near, B):
            await admin.order_build(BuildRequest(WEB, commit))
        await admin.order_build(BuildRequest(API, A))
        assert (await admin.commit_page(WEB)).items == (near, far, B)
        assert (await admin.commit_page(WEB, prefix="abc")).items == (near, far)
        assert (await admin.commit_page(WEB, prefix=near)).items == (near,)
        page = await admin.commit_page(WEB, limit=1)
        assert (await admin.commit_page(WEB, after=page.next)).items == (far, B)
        assert (await admin.commit_page(WEB, prefix="aaaa")).items == (), "another service's"
        with pytest.raises(Invalid):
            await admin.commit_page(WEB, prefix="%")
        with pytest.raises(NotFound):
            await admin.commit_page(ServiceName("none"), prefix="abc")


async def test_people_are_granted_the_main_stores_copy(control: Any) -> None:
    async with control() as installation:
        admin, worker = await _people(installation), await installation.client(Role.WORKER)
        await admin.order_build(BuildRequest(WEB, A))
        await installation.publish(worker, await worker.claim("w1", wait_s=5), "one")
        grants = await admin.artifact_source(ArtifactName(f"web/{A}"))
        buffer = memoryview(bytearray(8))

        def read() -> None:
            with GrantConnection() as connection:
                connection.read_into(grants.manifest, 0, buffer)

        await asyncio.to_thread(read)
        assert bytes(buffer) == b"FCMANIF\n"
        with pytest.raises(NotFound, match="artifact list"):
            await admin.artifact_source(ArtifactName(f"web/{B}"))


async def test_a_diagnosis_names_what_cannot_be_reached(control: Any) -> None:
    async with control() as installation:
        admin = await _people(installation)
        assert (await admin.diagnosis()).regions == ()
        region = await installation.region()
        diagnosis = await admin.diagnosis()
        assert (diagnosis.machines, diagnosis.silent, diagnosis.main_bucket_error) == (2, (), "")
        await asyncio.to_thread(region.port.close)
        assert "cannot reach" in (await admin.diagnosis()).regions[0].bucket_error
